"""Taking a directory channel into a server's folder: every package is verified as an upload is."""

import io
import json
import tarfile

import pytest

from sluice_channel.errors import ExchangeError
from sluice_channel.exchange.importing import import_directory
from sluice_channel.site import open_site


@pytest.fixture
def site(tmp_path):
    with open_site(tmp_path / "site", create=True) as opened:
        yield opened


def swap(path, member, content):
    """Put other content of the same length under a member's name; the archive stays whole."""
    with tarfile.open(path) as archive:
        members = [(each, archive.extractfile(each).read()) for each in archive]
    with tarfile.open(path, "w:bz2") as archive:
        for each, known in members:
            data = content if each.name == member else known
            assert len(data) == len(known)
            archive.addfile(each, io.BytesIO(data))


@pytest.fixture
def tampered(channel, package):
    """A channel of five good packages, and one whose member is not what its paths.json says."""
    path = package(
        channel, "bad", subdir="linux-64", extension=".tar.bz2", files={"lib/bad.py": "good = True"}
    )
    swap(path, "lib/bad.py", b"evil = True")
    return channel


def test_a_member_that_is_not_what_paths_json_says_is_refused_and_the_others_are_there(site, tampered):
    done = import_directory(site, tampered, "main")
    assert (done.found, done.added) == (6, 5)
    assert done.refused == (
        "linux-64/bad-1.0-0.tar.bz2: 'lib/bad.py' has another sha256 than its paths.json says",
    )
    shown = {entry.package.filename for entry in site.catalogue.entries("main", "linux-64")}
    assert shown == {"native-0.1-h1_0.conda", "old-3.0-0.tar.bz2"}


def test_what_was_refused_can_be_mended_and_imported_then(site, tampered, package):
    import_directory(site, tampered, "main")
    package(tampered, "bad", subdir="linux-64", extension=".tar.bz2")
    done = import_directory(site, tampered, "main")
    assert (done.found, done.added, done.refused) == (6, 1, ())
    again = import_directory(site, tampered, "main")
    assert (again.added, again.generation) == (0, done.generation)


def test_every_other_kind_of_refusal_names_file_and_reason(site, channel, package):
    import_directory(site, channel, "main")
    package(channel, "base", files={"share/base.txt": "other"})  # the name is taken
    package(channel, "spec", depends=("a ==",))
    (channel / "noarch/app-2.0-0.conda").rename(channel / "linux-64/app-2.0-0.conda")
    (channel / "noarch/native-0.1-h1_0.conda").write_bytes(b"no package")
    (channel / "noarch/unnamed.conda").write_bytes(b"no package")
    whole = (channel / "noarch/base-1.10-0.conda").read_bytes()
    (channel / "noarch/base-2.0-0.conda").write_bytes(whole[: len(whole) // 2])
    done = import_directory(site, channel, "main")
    reasons = dict(each.split(": ", 1) for each in done.refused)
    assert done.added == 0
    assert reasons.keys() == {
        "linux-64/app-2.0-0.conda", "noarch/base-1.0-0.conda", "noarch/base-2.0-0.conda",
        "noarch/native-0.1-h1_0.conda", "noarch/spec-1.0-0.conda", "noarch/unnamed.conda",
    }  # fmt: skip
    assert reasons["linux-64/app-2.0-0.conda"] == "it belongs into noarch/"
    assert "other bytes of this name" in reasons["noarch/base-1.0-0.conda"]
    assert "not a whole conda package" in reasons["noarch/base-2.0-0.conda"]
    assert "which no client can read" in reasons["noarch/spec-1.0-0.conda"]


def test_a_yanked_package_stays_yanked(site, channel, command, tmp_path):
    import_directory(site, channel, "main")
    yanked = command("yank", tmp_path / "site", "noarch/app-2.0-0.conda", "--reason", "wrong")
    assert yanked.returncode == 0, yanked.stderr
    done = import_directory(site, channel, "main")
    assert (done.added, done.refused) == (0, ())
    assert site.catalogue.entry("main", "noarch", "app-2.0-0.conda").yanked == "wrong"


def test_what_is_no_directory(site, tmp_path):
    with pytest.raises(ExchangeError, match="not a directory"):
        import_directory(site, tmp_path / "nothing", "main")


def test_the_command_says_what_was_refused_and_ends_with_status_1(tampered, command, tmp_path):
    done = command("import", tmp_path / "site", tampered)
    assert done.returncode == 1
    assert "main  6 packages found, 5 added  generation 1" in done.stdout
    lines = done.stderr.splitlines()
    said = "refused  linux-64/bad-1.0-0.tar.bz2: 'lib/bad.py' has another sha256 than its paths.json says"
    assert said in lines
    assert lines[-1] == "error: 1 refused; everything else is there"
    assert "Traceback" not in done.stderr
    asked = command("import", tmp_path / "site", tampered, "--json")
    assert asked.returncode == 1
    document = json.loads(asked.stdout)
    assert (document["added"], len(document["refused"])) == (0, 1)
