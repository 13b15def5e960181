"""What pages are made of: links, releases, generations, parts of lists."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rattler import MatchSpec

from sluice.digest import Digest
from sluice_channel import address, history, release
from sluice_channel.catalogue import Generation, Project, chained
from sluice_channel.entry import Entry, Package, Patch, Publish, Yank, canonical
from sluice_channel.links import Links, install
from sluice_channel.pager import Pager
from sluice_channel.pages import human_size, visible


def package(filename, subdir="noarch", about=None, **record):
    sha256 = Digest.of(f"{subdir}/{filename}".encode())
    return Package(sha256, 10, subdir, filename, canonical(record), "{}", canonical(about or {}))


def entry(filename, subdir="noarch", *, yanked=None, patch=None, about=None, **record):
    return Entry(package(filename, subdir, about, **record), 1_700_000_000_000, 1, None, yanked, patch)


@pytest.mark.parametrize("token", ["", "/t/secret"])
@pytest.mark.parametrize("label", ["", "/label/dev"])
@pytest.mark.parametrize("chosen", ["", "/@7", "/@7d"])
@pytest.mark.parametrize(
    "resource",
    ["/", "/packages/numpy", "/packages/numpy/noarch/x-1-0.conda", "/generations", "/generations/3"],
)
def test_links_lead_where_they_say_and_keep_the_token(token, label, chosen, resource):
    path = f"{token}/main{label}{chosen}{resource}"
    links = Links.of(address.parse(path))

    def target(link):
        return urljoin(f"http://x/below{path}", link).removeprefix("http://x/below")

    assert target(links.here) == f"{token}/main{label}{chosen}/"
    assert target(links.newest) == f"{token}/main{label}/"
    assert target(links.channel) == f"{token}/main/"
    assert target(links.home) == f"{token}/"
    assert target(links.package("a")) == f"{token}/main{label}{chosen}/packages/a"
    assert target(links.at(9)) == f"{token}/main{label}/@9/"
    assert target(links.generation(9)) == f"{token}/main{label}/generations/9"
    assert target(links.label("rc")) == f"{token}/main/label/rc/"
    assert target(links.environment("e")) == f"{token}/main{label}{chosen}/environments/e"


def test_links_of_the_home_page_stay_there():
    assert Links.of(address.parse("/")).home == "./"
    assert Links.of(address.parse("/t/secret/")).here == "./"


def test_commands_can_be_pasted_and_name_what_was_meant():
    commands = {
        each.client: each.text for each in install("https://x/main/@7", "numpy", "1!2.0", "py311h1_0")
    }
    assert commands["conda"] == "conda install -c https://x/main/@7 'numpy==1!2.0=py311h1_0'"
    assert commands["pixi"].splitlines()[0] == "pixi workspace channel add https://x/main/@7"
    spec = MatchSpec("numpy==1!2.0=py311h1_0")
    assert (spec.name.normalized, str(spec.version), spec.build) == ("numpy", "==1!2.0", "py311h1_0")
    quoted = install("https://x/$(reboot)/main", "a")[0].text
    assert quoted == "conda install -c 'https://x/$(reboot)/main' a"


def test_a_sheet_orders_versions_as_conda_does():
    sheet = release.sheet(
        "a",
        [
            entry("a-1.9-0.conda", build_number=0),
            entry(
                "a-1.10-0.conda", about={"summary": "the  newest\n"}, build_number=0, depends=["b >=1", "C"]
            ),
            entry("a-1.10-1.conda", "linux-64", yanked="broken", build_number=1),
            entry("a-1.9-0.conda", "linux-64", build_number=3),
        ],
    )
    assert [each.version for each in sheet.releases] == ["1.10", "1.9"]
    assert [(f.subdir, f.filename) for f in sheet.releases[0].files] == [
        ("linux-64", "a-1.10-1.conda"),
        ("noarch", "a-1.10-0.conda"),
    ]
    assert sheet.newest.filename == "a-1.10-0.conda"
    assert sheet.newest.depends == (release.Need("b", ">=1"), release.Need("c", ""))
    assert sheet.about.summary == "the newest"
    assert sheet.subdirs == ("linux-64", "noarch")
    assert [[f.filename for f in part.files] for part in sheet.part(1, 2)] == [
        ["a-1.10-0.conda"],
        ["a-1.9-0.conda"],
    ]
    assert sheet.part(9, 2) == ()


def test_a_sheet_without_a_visible_file_says_so():
    sheet = release.sheet("a", [entry("a-1-0.conda", yanked="no")])
    assert (sheet.newest, sheet.subdirs, sheet.files) == (None, (), 1)
    assert release.row("a", [entry("a-1-0.conda", yanked="no")]) is None


def test_a_patched_record_is_shown_as_the_index_has_it():
    file = release.File.of(entry("a-1-0.conda", depends=["b"], patch=canonical({"depends": ["c"]})))
    assert file.depends == (release.Need("c", ""),)
    assert file.patched == ("depends",)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_FIELDS = ("license", "timestamp", "depends", "constrains", "build_number", "version", "name")


@given(
    st.dictionaries(st.sampled_from(_FIELDS), _JSON),
    st.dictionaries(st.sampled_from(("summary", "description", "home", "doc_url", "dev_url")), _JSON) | _JSON,
)
def test_whatever_a_package_says_can_be_shown(record, about):
    made = package("a-1-0.conda", **record)
    made = Package(made.sha256, 1, "noarch", "a-1-0.conda", made.record, "{}", json.dumps(about))
    sheet = release.sheet("a", [Entry(made, 1)])
    assert sheet.newest.name == "a"
    assert all(url.startswith(("http://", "https://")) for _, url in sheet.about.links)
    assert release.row("a", [Entry(made, 1)]).version == "1"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1_700_000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (1_700_000_000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (0, None),
        (-5, None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        ("1700000000", None),
        (None, None),
    ],
)
def test_moments(value, shown):
    assert release.moment(value) == shown


def test_rows_show_the_newest_of_all_platforms():
    found = release.rows(
        [
            Project("linux-64", "a", 2, "1.10", "new", 1000),
            Project("noarch", "a", 1, "1.9", "old", 3000),
            Project("noarch", "b", 1, "not/a version", "", 2000),
        ]
    )
    assert [(row.name, row.version, row.summary, row.subdirs, row.packages) for row in found] == [
        ("a", "1.10", "new", ("linux-64", "noarch"), 3),
        ("b", "not/a version", "", ("noarch",), 1),
    ]
    assert found[0].changed == datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC)


def test_a_generation_says_what_it_changed_and_proves_its_digest():
    first = package("a-1-0.conda")
    changes = [
        Publish(first),
        Yank("noarch", "a-1-0.conda", "why"),
        Patch.of("noarch", "b-1-0.conda", {"depends": []}),
        Yank("noarch", "no name", "x"),
    ]
    text, digest = chained(None, [change.event() for change in changes])
    one = Generation(1, 1000, digest, text)
    text, digest = chained(one.digest, [changes[1].event()])
    two = Generation(2, 2000, digest, text)
    events = history.events(one)
    assert [(event.done, event.name, event.detail) for event in events] == [
        ("published", "a", first.sha256.hex),
        ("yanked", "a", "why"),
        ("patched", "b", '{"depends": []}'),
        ("yanked", "", "x"),
    ]
    step = history.Step.of(one)
    assert step.counts == (("published", 1), ("yanked", 2), ("patched", 1))
    assert (len(step.first), step.more) == (3, 1)
    assert history.follows(one, None)
    assert history.follows(two, one)
    assert not history.follows(two, None)
    assert not history.follows(Generation(2, 2000, two.digest, one.changes), one)


def test_a_pager_knows_its_part():
    pager = Pager(2, 50, 120)
    assert (pager.start, pager.stop, pager.last) == (50, 100, 3)
    assert (Pager(3, 50, 120).stop, Pager(1, 50, 0).last, Pager(1, 50, 50).last) == (120, 1, 1)


def test_what_cannot_be_seen_is_shown():
    assert visible("a\u202eb\x00\n") == "a\ufffdU+202E b\ufffdU+0000 \n"
    assert visible("שלום, é") == "שלום, é"
    assert visible(7) == 7


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (24_100_000, "24.1 MB"), (7e9, "7.0 GB")]
)
def test_sizes(size, text):
    assert human_size(size) == text
