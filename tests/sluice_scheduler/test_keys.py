"""The key ring of a state folder."""

import json
import os
import stat
import threading
from dataclasses import replace

import pytest

from sluice.receipt.published import parse
from sluice_scheduler import keys
from sluice_scheduler.errors import KeyRingError
from sluice_scheduler.keys import KeyRing, Keys, rotate


def test_the_first_start_makes_a_key_that_only_its_owner_reads(tmp_path):
    old = os.umask(0)
    try:
        ring = Keys(tmp_path).ring
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    assert [one.until for one in ring.published] == [None]
    assert ring.published[0].key == ring.private.public
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys.json", "keys.lock"]


def test_the_next_start_has_the_same_key(tmp_path):
    assert Keys(tmp_path).ring == Keys(tmp_path).ring


def test_rotating_reaches_a_running_scheduler_and_keeps_the_old_public_keys(tmp_path):
    running = Keys(tmp_path)
    first = running.ring
    rotate(tmp_path)
    second = running.ring
    assert second.private != first.private
    (old, new) = second.published
    assert old == replace(first.published[0], until=new.since)
    assert (new.key, new.until) == (second.private.public, None)
    text = (tmp_path / "keys.json").read_text()
    rotate(tmp_path)
    assert json.loads(text)["private_key"] not in (tmp_path / "keys.json").read_text()
    assert len(Keys(tmp_path).ring.published) == 3
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600


def test_what_is_served_holds_no_secret_and_is_what_a_verifier_reads(tmp_path):
    ring = rotate(tmp_path) if Keys(tmp_path) else None
    served = json.dumps(ring.document())
    assert json.loads((tmp_path / "keys.json").read_text())["private_key"] not in served
    assert "private" not in served
    assert parse(served.encode(), "k") == ring.published
    assert json.loads((tmp_path / "keys.json").read_text())["private_key"] not in repr(ring)


def test_rotations_at_the_same_time_lose_no_key(tmp_path):
    Keys(tmp_path)
    threads = [threading.Thread(target=rotate, args=(tmp_path,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.key.keyid for one in Keys(tmp_path).ring.published}) == 9


def test_a_key_that_others_may_read_is_refused(tmp_path):
    Keys(tmp_path)
    (tmp_path / "keys.json").chmod(0o640)
    with pytest.raises(KeyRingError, match="chmod 600"):
        Keys(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"format": 2}', b"[" * 100_000, b"\xff"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, damage):
    Keys(tmp_path)
    (tmp_path / "keys.json").write_bytes(damage)
    for use in (Keys, rotate):
        with pytest.raises(KeyRingError, match="damaged") as raised:
            use(tmp_path)
        assert "\n" not in str(raised.value)
    assert (tmp_path / "keys.json").read_bytes() == damage


def test_a_private_key_that_is_not_the_public_one_s_is_refused_and_not_told(tmp_path):
    Keys(tmp_path)
    document = json.loads((tmp_path / "keys.json").read_text())
    document["private_key"] = "A" * 43 + "="
    (tmp_path / "keys.json").write_text(json.dumps(document))
    with pytest.raises(KeyRingError) as raised:
        Keys(tmp_path)
    assert "AAAA" not in str(raised.value)


def test_a_file_damaged_while_running_keeps_the_key_that_was_read(tmp_path, caplog):
    running = Keys(tmp_path)
    ring = running.ring
    (tmp_path / "keys.json").write_bytes(b"{}")
    assert running.ring == running.ring == ring
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "keeping the signing key as it was"
    ]


def test_there_is_nothing_to_rotate_before_the_first_start(tmp_path):
    with pytest.raises(KeyRingError, match="no keys in"):
        rotate(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_crash_before_the_rename_leaves_the_old_key(tmp_path, monkeypatch):
    before = Keys(tmp_path).ring
    monkeypatch.setattr(keys.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(KeyRingError, match="No space left"):
        rotate(tmp_path)
    monkeypatch.undo()
    assert Keys(tmp_path).ring == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys.json", "keys.lock"]
    assert isinstance(before, KeyRing)
