"""The version log: its chain, and what a crash or a hand leaves of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.digest import Digest
from sluice_scheduler.versions import Entry, Head, Outcome, VersionLog, VersionLogError, check

LOCK = "ab" * 32


def entry(number, environment="a"):
    return Entry(
        1.5 * number, environment, number, Outcome.DEPLOYED, "channel", lock=LOCK, models={"m": LOCK}
    )


def chain(count):
    lines, head = [], Head()
    for number in range(1, count + 1):
        line = entry(number).line(number, head.digest)
        lines.append(line)
        head = head.after(line)
    return lines, head


@given(st.integers(0, 8))
def test_what_was_written_is_whole(count):
    lines, head = chain(count)
    assert check(lines, head) == head


@given(st.data(), st.integers(1, 8))
def test_a_changed_line_is_found(data, count):
    lines, head = chain(count)
    place = data.draw(st.integers(0, count - 1))
    document = json.loads(lines[place])
    key = data.draw(st.sampled_from(sorted(document)))
    document[key] = [document[key], "changed"]
    lines[place] = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(VersionLogError):
        check(lines, head)


@given(st.data(), st.integers(1, 8))
def test_a_removed_line_is_found_also_the_last(data, count):
    lines, head = chain(count)
    del lines[data.draw(st.integers(0, count - 1))]
    with pytest.raises(VersionLogError):
        check(lines, head)


@given(st.data(), st.integers(1, 8))
def test_an_inserted_line_is_found(data, count):
    lines, head = chain(count)
    place = data.draw(st.integers(0, count - 1))
    previous = Digest.of(lines[place - 1]).hex if place else Head().digest
    lines.insert(place, entry(99).line(place + 1, previous))
    with pytest.raises(VersionLogError):
        check(lines, head)


@given(st.integers(0, 5), st.integers(2, 3))
def test_lines_added_behind_the_head_are_found_but_one(count, more):
    lines, _ = chain(count + more)
    head = chain(count)[1]
    assert check(lines[: count + 1], head) == chain(count + 1)[1]  # killed between the line and the head
    with pytest.raises(VersionLogError, match="only"):
        check(lines, head)


@given(st.binary(max_size=60) | st.sampled_from((b"[]", b'{"count": -1, "digest": ""}', b"[" * 9999)))
def test_a_damaged_head_is_refused(text):
    with pytest.raises(VersionLogError, match="damaged"):
        Head.parse(text)


@pytest.fixture
def log(tmp_path):
    log = VersionLog(tmp_path)
    for number in (1, 2, 3):
        log.append(entry(number, "ab"[number % 2]))
    return log


def test_entries_are_listed_newest_first(log):
    assert [one["generation"] for one in log.latest()] == [3, 2, 1]
    assert [one["generation"] for one in log.latest(environment="b", limit=1)] == [3]
    assert log.verify().count == 3
    assert VersionLog(log.path.parent / "nowhere").latest() == []


def test_a_torn_last_line_is_cut_and_told(log):
    torn = log.path.read_bytes()[:57]
    with log.path.open("ab") as file:
        file.write(torn)
    with pytest.raises(VersionLogError):
        log.verify()
    log.open(now=9.0)
    assert log.verify().count == 4
    (mended, *_) = log.latest()
    assert (mended["outcome"], mended["time"]) == ("mended", 9.0)
    assert f"57 bytes of a torn last line were cut, sha256 {Digest.of(torn).hex}" in mended["reason"]


def test_a_line_whose_head_was_not_written_is_kept(log):
    head = (log.path.parent / "versions.head").read_bytes()
    log.append(entry(4))
    (log.path.parent / "versions.head").write_bytes(head)  # killed between the two
    log.open(now=9.0)
    log.append(entry(5))
    assert log.verify().count == 5


def test_a_full_disk_leaves_whole_lines(log, monkeypatch):
    before = log.path.read_bytes()

    class Full:
        def __init__(self, file):
            self._file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, data):
            return self._file.write(data[:10])

    opened = type(log.path).open
    monkeypatch.setattr(type(log.path), "open", lambda *a, **k: Full(opened(*a, **k)))
    with pytest.raises(OSError, match="No space left"):
        log.append(entry(4))
    monkeypatch.undo()
    assert log.path.read_bytes() == before
    assert log.verify().count == 3


def test_a_log_that_was_changed_stays_found_out(log):
    log.path.write_bytes(log.path.read_bytes().replace(b'"generation":2', b'"generation":7'))
    log.open(now=9.0)
    log.append(entry(4))
    with pytest.raises(VersionLogError, match=r"line 3 .* changed, removed or inserted"):
        log.verify()
