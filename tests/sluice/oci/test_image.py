import hashlib
import io
import json
import shutil
import subprocess
import tarfile

import pytest
import zstandard

from sluice.cli import assemble, run
from sluice.lock import LockError, read
from sluice.oci import OciError, export_image
from sluice.realise import PrefixStore, realise
from sluice.solve import lock_spec
from sluice.spec import EnvSpec
from sluice.testing import File, TinyPackage, index

MODEL = "share/sluice/models/m/weights"


def put_model(root, weights):
    TinyPackage("model", build=weights.decode(), depends=["tool"], files={MODEL: File(weights)}).write(root)
    index(root)


def lock_of(url, path):
    path.write_bytes(lock_spec(EnvSpec("x", (url,), ("model",)), {}))
    return path


@pytest.fixture
def lock(channel, tmp_path):
    put_model(channel[0], b"a")
    return lock_of(channel[1], tmp_path / "pixi.lock")


def export(lock, target, root):
    return export_image(lock, target, root, "linux-64", "a-model")


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def blob(layout, digest):
    data = (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert hashlib.sha256(data).hexdigest() == digest.removeprefix("sha256:")
    return data


def manifest_of(layout):
    descriptor = json.loads((layout / "index.json").read_bytes())["manifests"][0]
    return json.loads(blob(layout, descriptor["digest"]))


def members_of(layout):
    """Unpack an image's layers, checking every digest, size and diff_id on the way."""
    manifest = manifest_of(layout)
    config = json.loads(blob(layout, manifest["config"]["digest"]))
    members = {}
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        data = blob(layout, layer["digest"])
        assert len(data) == layer["size"]
        plain = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        assert diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
        with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
            for member in tar:
                assert (member.uid, member.gid, member.mtime) == (0, 0, 315_532_800)
                members[member.name] = (member, tar.extractfile(member).read() if member.isreg() else b"")
    return members, config


def test_two_exports_from_two_caches_are_equal_to_the_byte(lock, tmp_path):
    first = export(lock, tmp_path / "a", tmp_path / "one")
    second = export(lock, tmp_path / "b", tmp_path / "another-cache")
    assert first == second
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert not list((tmp_path / "one/envs").iterdir())


def test_an_image_holds_the_environment_as_it_is_at_its_place(lock, tmp_path):
    image = export(lock, tmp_path / "a", tmp_path / "store")
    members, config = members_of(tmp_path / "a")
    assert members["opt/env/bin/tool"][1] == b"#!/opt/env/bin/python\n"
    assert members["opt/env/bin/tool"][0].mode == 0o755
    assert members["opt/env/bin/python"][0].linkname == "python3.11"
    assert b"/opt/env/lib\0" in members["opt/env/bin/python3.11"][1]
    assert str(tmp_path).encode() not in b"".join(content for _, content in members.values())
    assert config["config"]["Env"][0].startswith("PATH=/opt/env/bin:")
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    notes = manifest_of(tmp_path / "a")["annotations"]
    assert notes["urn.sluice.lock.sha256"] == read(lock).digest.hex
    assert image.tree == realise(lock, PrefixStore(tmp_path / "store"), prefix=tmp_path / "p").tree
    assert notes["urn.sluice.tree.sha256"] == image.tree.hex


def test_new_weights_ship_only_weights(channel, lock, tmp_path):
    export(lock, tmp_path / "a", tmp_path / "store")
    (channel[0] / "noarch/model-1.0-a.conda").unlink()
    put_model(channel[0], b"b")
    export(lock_of(channel[1], tmp_path / "later.lock"), tmp_path / "b", tmp_path / "store")
    before, after = (manifest_of(tmp_path / name)["layers"] for name in "ab")
    changed = [layer for layer in after if layer not in before]
    assert [layer["annotations"]["urn.sluice.packages"] for layer in changed] == ["model-1.0-b"]
    assert len(before) == len(after) == 4
    new = files_of(tmp_path / "b").keys() - files_of(tmp_path / "a").keys()
    assert len(new) == 3  # the layer, the configuration, the manifest


def test_a_tar_holds_the_same_layout(lock, tmp_path):
    export(lock, tmp_path / "a", tmp_path / "store")
    export(lock, tmp_path / "a.tar", tmp_path / "store")
    first = (tmp_path / "a.tar").read_bytes()
    export(lock, tmp_path / "a.tar", tmp_path / "store")
    assert (tmp_path / "a.tar").read_bytes() == first
    with tarfile.open(tmp_path / "a.tar") as tar:
        held = {member.name: tar.extractfile(member).read() for member in tar if member.isreg()}
    assert held == files_of(tmp_path / "a")


def test_what_cannot_be_is_refused_and_leaves_nothing(lock, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(OciError, match="is already there"):
        export(lock, tmp_path / "there", tmp_path / "store")
    with pytest.raises(LockError, match="osx-64"):
        export_image(lock, tmp_path / "new", tmp_path / "store", "osx-64", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["channel", "pixi.lock", "there"]


def test_a_damaged_cache_does_not_reach_the_image(lock, tmp_path):
    first = export(lock, tmp_path / "a", tmp_path / "store")
    cached = next((tmp_path / "store/pkgs").glob(f"model-*/{MODEL}"))
    cached.write_bytes(b"X")
    assert export(lock, tmp_path / "b", tmp_path / "store") == first


def test_the_command_writes_an_image(lock, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SLUICE_PREFIXES", str(tmp_path / "store"))
    monkeypatch.setattr("sys.argv", ["sluice", "export", str(lock), "--oci", str(tmp_path / "a.tar")])
    assert run(assemble()) == 0
    assert "4 layers" in capsys.readouterr().out


@pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")
def test_skopeo_reads_and_copies_it(lock, tmp_path):
    image = export(lock, tmp_path / "a", tmp_path / "store")
    seen = subprocess.run(["skopeo", "inspect", f"oci:{tmp_path / 'a'}"], capture_output=True, check=True)
    assert json.loads(seen.stdout)["Digest"] == f"sha256:{image.manifest}"
    copy = ["skopeo", "--insecure-policy", "copy", f"oci:{tmp_path / 'a'}", f"oci-archive:{tmp_path / 'b'}"]
    subprocess.run(copy, capture_output=True, check=True)
