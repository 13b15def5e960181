import hashlib
import shutil
import threading

import pytest

from sluice.sources import DebianSource, SourceError, debian

needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="this machine has no apt")
TARBALL = b"not really a tarball"


@pytest.fixture
def apt(tmp_path):
    """A machine's apt configuration that names a repository in a folder, for binary packages only."""
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "demo_1.0.orig.tar.gz").write_bytes(TARBALL)
    (repository / "demo_1.0-1.dsc").write_bytes(b"Format: 3.0 (quilt)\n")
    lines = [
        f" {hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size} {path.name}"
        for path in sorted(repository.iterdir())
    ]
    # The patches of this package are listed but missing, as they are on some mirrors.
    lines.append(f" {'0' * 64} 100 demo_1.0-1.debian.tar.xz")
    listing = "\n".join(lines)
    (repository / "Sources").write_text(
        "Package: demo\nBinary: demo\nVersion: 1.0-1\nFormat: 3.0 (quilt)\nDirectory: .\n"
        f"Checksums-Sha256:\n{listing}\n"
    )
    folder = tmp_path / "etc"
    (folder / "sources.list.d").mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb [trusted=yes] file:{repository} ./\n")
    return folder


@needs_apt
def test_the_tarball_comes_from_the_sources_that_the_machine_has(tmp_path, apt):
    before = sorted((path, path.stat().st_mtime_ns) for path in apt.rglob("*"))
    files = debian.download(DebianSource("demo"), tmp_path / "work", threading.Event(), apt=apt)
    assert [(path.name, path.read_bytes()) for path in files] == [("demo_1.0.orig.tar.gz", TARBALL)]
    assert sorted((path, path.stat().st_mtime_ns) for path in apt.rglob("*")) == before


@needs_apt
def test_an_unknown_package_is_one_line(tmp_path, apt):
    with pytest.raises(SourceError, match="nonsuch") as caught:
        debian.download(DebianSource("nonsuch"), tmp_path / "work", threading.Event(), apt=apt)
    assert "\n" not in str(caught.value)


def test_without_apt_the_way_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="no apt-get"):
        debian.download(DebianSource("demo"), tmp_path / "work", threading.Event())


def test_one_line_sources_become_sources_of_source_packages():
    text = "# deb x\ndeb [arch=amd64 signed-by=/k] http://h/debian stable main # x\ndeb-src http://h stable main\n\n"
    assert debian.source_lines(text) == "deb-src [arch=amd64 signed-by=/k] http://h/debian stable main # x\n"


def test_deb822_sources_become_sources_of_source_packages():
    text = "Types: deb\nURIs: http://h/debian\nSuites: stable\n\n# x\nTypes: deb deb-src\nEnabled: no\n"
    converted = debian.source_stanzas(text)
    assert converted == (
        "Types: deb-src\nURIs: http://h/debian\nSuites: stable\n\n# x\nTypes: deb-src\nEnabled: no\n"
    )
