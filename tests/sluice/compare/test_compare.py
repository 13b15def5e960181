"""What must hold of every comparison, whatever is compared."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.compare import Change, Comparison, Section, summary
from sluice.compare.locks import compare_environments, compare_locks, replaced
from sluice.compare.page import page
from sluice.compare.trees import Content, Tree, compare_packages, compare_trees
from sluice.digest import Digest
from sluice.lock import Lock, LockedPackage
from sluice.package import PackageId
from sluice.spec import EnvSpec
from sluice.tree import Entry

NAMES = st.sampled_from(["a", "b", "c"])
VERSIONS = st.sampled_from(["1.0", "2.0"])
DIGESTS = st.sampled_from(["a" * 64, "b" * 64])
URL = "http://one/main"


@st.composite
def packages(draw):
    name, version = draw(NAMES), draw(VERSIONS)
    depends = tuple(draw(st.lists(st.sampled_from(["x", "y >=1", "z"]), max_size=3)))
    return LockedPackage(
        PackageId(name, version, draw(st.sampled_from(["0", "h1_0"]))),
        "noarch",
        f"{URL}/noarch/{name}-{version}-0.conda",
        Digest(draw(DIGESTS)),
        size=draw(st.none() | st.integers(1, 2)),
        depends=depends,
    )


@st.composite
def locks(draw):
    held = {
        platform: tuple(sorted({package.name: package for package in draw(st.lists(packages()))}.values()))
        for platform in draw(st.sets(st.sampled_from(["linux-64", "osx-arm64"])))
    }
    channels = tuple(draw(st.lists(st.sampled_from([URL, "http://two/main"]), unique=True)))
    virtual = draw(st.dictionaries(st.sampled_from(sorted(held) or ["linux-64"]), st.just(("__cuda=13",))))
    return Lock(Digest("0" * 64), channels, held, {key: virtual[key] for key in virtual if key in held})


ENTRIES = st.builds(
    Entry,
    path=st.just(""),
    kind=st.sampled_from(["file", "link"]),
    mode=st.sampled_from([0o644, 0o755]),
    content=DIGESTS,
)
PATHS = st.sampled_from(["bin/x", "lib/y", "share/z", "evil\x1b[2J\n<b>", "broken\udcff"])
TREES = st.builds(
    Tree,
    entries=st.dictionaries(PATHS, ENTRIES),
    owners=st.dictionaries(PATHS, st.sampled_from(["p-1.0-0", "p-2.0-0", "q-1.0-0", "odd"])),
)
VALUES = (
    st.none() | st.text(max_size=4) | st.integers(0, 2) | st.lists(st.sampled_from(["u", "v"]), max_size=3)
)
CONTENTS = st.builds(
    Content,
    index=st.dictionaries(st.sampled_from(["name", "depends", "license"]), VALUES),
    metadata=st.dictionaries(PATHS, ENTRIES),
    files=st.dictionaries(PATHS, ENTRIES),
)
SPECS = st.builds(
    EnvSpec,
    name=st.just("x"),
    channels=st.sampled_from([("main",), ("main", "other"), ("other", "main")]),
    dependencies=st.sampled_from([("a",), ("a", "b"), ("a 1.*",)]),
)
KINDS = [
    pytest.param(locks(), compare_locks, id="locks"),
    pytest.param(st.tuples(SPECS, locks()), compare_environments, id="environments"),
    pytest.param(TREES, compare_trees, id="prefixes"),
    pytest.param(CONTENTS, compare_packages, id="packages"),
]


@pytest.mark.parametrize(("values", "compare"), KINDS)
def test_equal_things_do_not_differ(values, compare):
    @given(values)
    def holds(value):
        assert not compare(value, value)
        assert compare(value, value) == Comparison()

    holds()


@pytest.mark.parametrize(("values", "compare"), KINDS)
def test_the_other_way_round_is_the_mirror_image(values, compare):
    @given(values, values)
    def holds(one, two):
        forth, back = compare(one, two), compare(two, one)
        assert forth.mirrored() == back
        assert forth.mirrored().mirrored() == forth
        assert bool(forth) == bool(back)

    holds()


@given(locks(), locks())
def test_locks_that_do_not_differ_hold_the_same(one, two):
    if not compare_locks(one, two):
        assert one.channels == two.channels
        assert one.virtual == two.virtual
        kept = [{key: items for key, items in lock.packages.items() if items} for lock in (one, two)]
        assert kept[0] == kept[1]


@given(TREES, TREES)
def test_every_file_that_differs_is_told_of_once(one, two):
    said = [
        change.what
        for section in compare_trees(one, two).sections
        for item in section.changes
        for change in (item.inside if section.title == "packages" else (item,))
    ]
    differs = [
        path
        for path in one.entries.keys() | two.entries.keys()
        if _same(one.entries.get(path)) != _same(two.entries.get(path))
    ]
    assert len(said) == len(differs) == len(set(said))


def _same(entry):
    return entry and (entry.kind, entry.content, entry.mode if entry.kind == "file" else 0)


@given(TREES, TREES)
def test_nothing_said_acts_on_a_terminal(one, two):
    def walk(changes):
        for change in changes:
            assert change.text.isprintable()
            assert change.text.encode()
            walk(change.inside)

    for section in compare_trees(one, two).sections:
        walk(section.changes)


def lock_of(*items, channels=(URL,)):
    return Lock(Digest("0" * 64), channels, {"linux-64": items})


def locked(version, sha256="a", base=URL, build="0", depends=()):
    return LockedPackage(
        PackageId("a", version, build), "noarch", f"{base}/noarch/a-{version}-{build}.conda",
        Digest(sha256 * 64), depends=depends,
    )  # fmt: skip


def test_a_lock_of_another_version_says_so_down_to_the_bytes_and_needs():
    before, after = (
        lock_of(locked("1.0", depends=("x", "y"))),
        lock_of(locked("2.0", "b", depends=("y", "z"))),
    )
    comparison = compare_locks(before, after)
    assert summary(comparison) == "linux-64: a 1.0 0 → 2.0 0"
    change = comparison.sections[0].changes[0]
    assert [item.what for item in change.inside] == ["place", "sha256", "version", "depends"]
    assert [item.text for item in change.inside[-1].inside] == ["x", "z"]
    assert replaced(before, after) == ((before.packages["linux-64"][0], after.packages["linux-64"][0]),)


def test_files_are_told_below_their_package():
    files = {("a" * 64, "b" * 64): (Change("bin/x", "755", None),)}
    comparison = compare_locks(lock_of(locked("1.0")), lock_of(locked("1.0", "b")), files)
    assert comparison.sections[0].changes[0].inside[-1].what == "bin/x"


def test_a_channel_that_moved_is_one_difference():
    moved = lock_of(locked("1.0", base="http://two/main"), channels=("http://two/main",))
    assert summary(compare_locks(lock_of(locked("1.0")), moved)) == f"channels: 1 {URL} → http://two/main"


def test_a_summary_is_one_line():
    changes = tuple(Change(f"p{number}", None, "1.0") for number in range(9))
    said = summary(Comparison.of(Section("linux-64", changes)))
    assert said == ", ".join(f"linux-64: + p{number} 1.0" for number in range(4)) + " and 5 more"
    assert summary(Comparison()) == ""


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not any(key.startswith("on") or key in {"src", "href"} for key, _ in attrs)


@given(st.text(), st.text(), TREES, TREES)
def test_a_page_holds_every_text_escaped_and_no_script(before, after, one, two):
    text = page(before + "<script>alert(1)</script>", after, compare_trees(one, two))
    assert text.encode()
    reader = _Tags()
    reader.feed(text)
    assert reader.tags <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "ul", "li", "span", "code", "details", "summary",
    }  # fmt: skip
    assert page(before, after, compare_trees(one, two)) == page(before, after, compare_trees(one, two))
