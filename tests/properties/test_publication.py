"""Whatever is accepted from a stranger's package stays inside, and can be told to every client."""

import json
import os
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import msgpack
import pytest
from hypothesis import assume, given, settings

from sluice.archive import Member
from sluice.tree import Entry
from sluice_channel import plainjson, publication
from sluice_channel.entry import canonical
from sluice_channel.errors import PackageError

parts = st.sampled_from(["a", "b", "c"])
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)
targets = st.lists(st.one_of(parts, st.just(".."), st.just("."), st.just("")), min_size=1, max_size=5).map(
    "/".join
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(paths, targets, min_size=1, max_size=6))
def test_links_that_are_accepted_lead_nowhere_outside(links):
    links = {path: target for path, target in links.items() if target}
    members = {path: Member(Entry(path, "link", 0o777, target), 0, "pkg") for path, target in links.items()}
    listed = [{"_path": path, "path_type": "softlink"} for path in links]
    try:
        publication.check_members({"paths_version": 1, "paths": listed}, members, "x.conda")
    except PackageError:
        assume(False)
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(os.path.realpath(folder)) / "deep" / "prefix"
        prefix.mkdir(parents=True)
        for path, target in links.items():
            (prefix / path).parent.mkdir(parents=True, exist_ok=True)
            (prefix / path).symlink_to(target)
        for path in links:
            resolved = os.path.realpath(prefix / path)
            assert resolved == str(prefix) or resolved.startswith(f"{prefix}/"), (path, resolved)


def read(content):
    try:
        return plainjson.parse(content, "it"), ""
    except PackageError as error:
        return None, str(error)


documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), documents, max_size=3))
def test_json_that_is_accepted_can_be_told_in_every_form(document):
    parsed, said = read(json.dumps(document).encode())
    assert "\n" not in said
    assume(parsed is not None)
    assert parsed == document
    assert msgpack.unpackb(msgpack.packb(parsed)) == parsed
    assert json.loads(canonical(parsed).encode()) == parsed


@given(st.binary(max_size=40))
def test_bytes_are_refused_in_one_line_or_read(content):
    parsed, said = read(content)
    assert "\n" not in said
    assert isinstance(parsed, dict) == (not said)


@pytest.mark.parametrize("text", ["-1e400", "NaN", "-Infinity", str(2**63), str(-(2**63) - 1)])
def test_numbers_that_not_every_reader_can_hold(text):
    with pytest.raises(PackageError):
        plainjson.parse(f'{{"a": {text}}}'.encode(), "it")
