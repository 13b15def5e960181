from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.digest import Digest
from sluice.sources import DebianSource, Pip, Source, SourceError, Url

DIGEST = Digest("0" * 64)


@given(st.text())
def test_a_file_name_never_leads_out_of_the_store(name):
    try:
        source = Source("x", DIGEST, name, (Url("https://example.org/x"),))
    except SourceError:
        return
    assert PurePosixPath("store", source.filename).parent == PurePosixPath("store")
    assert not source.filename.startswith(".")
    assert "\0" not in source.filename


@pytest.mark.parametrize("url", ["", "ftp://example.org/x", "file:///etc/passwd", "https:///x", "x" * 5000])
def test_only_web_addresses_are_urls(url):
    with pytest.raises(SourceError, match="not an http"):
        Url(url)


def test_credentials_and_queries_are_not_shown():
    assert str(Url("https://user:secret@example.org/a/b?token=secret")) == "https://example.org/a/b"


@pytest.mark.parametrize(
    "requirement",
    [
        "torch",
        "torch>=2",
        "torch==2.*",
        "torch==2,==3",
        "torch[x]==2",
        "torch @ https://example.org/t.whl",
        "-r x",
    ],
)
def test_a_pip_source_is_pinned(requirement):
    with pytest.raises(SourceError):
        Pip(requirement)


@pytest.mark.parametrize("package", ["", "-x", "a b", "../x", "Python", "x=1"])
def test_a_debian_source_is_a_package_name(package):
    with pytest.raises(SourceError):
        DebianSource(package)


def test_a_source_has_a_way():
    with pytest.raises(SourceError, match="no way"):
        Source("x", DIGEST, "x", ())
