"""Images on a base that has what conda environments take from the machine."""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile

import pytest
from tests.sluice.oci.test_image import blob, export, files_of, lock_of, manifest_of, put_model

from sluice.cli import assemble, run
from sluice.oci import OciError, export_image

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def lock(channel, tmp_path):
    put_model(channel[0], b"a")
    return lock_of(channel[1], tmp_path / "pixi.lock")


class Base:
    """A layout of one layer, whose documents can be changed before it is written."""

    def __init__(self, folder):
        self.folder = folder
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as tar:
            member = tarfile.TarInfo("lib/ld-linux.so")
            member.size = 4
            member.mtime, member.uid, member.gid = 315_532_800, 0, 0
            tar.addfile(member, io.BytesIO(b"glib"))
        self.layer = self.put(gzip.compress(plain.getvalue(), mtime=0), GZIP)
        self.config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Env": ["LANG=C.UTF-8", "PATH=/base/bin", "CONDA_PREFIX=/other"],
                "Cmd": ["sh"],
                "User": "1000",
                "Labels": {"who": "base"},
            },
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + sha256(plain.getvalue())]},
            "history": [{"created_by": "base"}, {"created_by": "ENV", "empty_layer": True}],
        }
        self.layers = [self.layer]

    def put(self, data, kind):
        place = self.folder / "blobs/sha256" / sha256(data)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{sha256(data)}", "size": len(data)}

    def manifest(self):
        config = self.put(json.dumps(self.config).encode(), "application/vnd.oci.image.config.v1+json")
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": self.layers}
        return self.put(json.dumps(document).encode(), MANIFEST)

    def write(self, *manifests):
        document = {"schemaVersion": 2, "manifests": list(manifests) or [self.manifest()]}
        (self.folder / "index.json").write_text(json.dumps(document))
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return self.folder


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def base(tmp_path):
    return Base(tmp_path / "base")


def put_on(lock, target, base):
    return export_image(lock, target, target.parent / "store", "linux-64", "a-model", base=base)


def test_the_layers_of_the_base_come_first_and_unchanged(lock, base, tmp_path):
    base.write()
    put_on(lock, tmp_path / "a", base.folder)
    export(lock, tmp_path / "alone", tmp_path / "store")
    manifest, alone = manifest_of(tmp_path / "a"), manifest_of(tmp_path / "alone")
    assert manifest["layers"] == [base.layer, *alone["layers"]]
    assert blob(tmp_path / "a", base.layer["digest"]) == blob(base.folder, base.layer["digest"])
    below = json.loads((base.folder / "index.json").read_bytes())["manifests"][0]["digest"]
    assert manifest["annotations"]["org.opencontainers.image.base.digest"] == below
    config = json.loads(blob(tmp_path / "a", manifest["config"]["digest"]))
    without = json.loads(blob(tmp_path / "alone", alone["config"]["digest"]))
    assert config["rootfs"]["diff_ids"] == base.config["rootfs"]["diff_ids"] + without["rootfs"]["diff_ids"]
    assert config["history"] == base.config["history"] + without["history"]
    assert config["config"] == {
        "Env": ["PATH=/opt/env/bin:/base/bin", "CONDA_PREFIX=/opt/env", "LANG=C.UTF-8"],
        "Cmd": ["sh"],
        "User": "1000",
        "Labels": {"who": "base"} | without["config"]["Labels"],
    }


def test_two_exports_are_equal_to_the_byte_from_a_folder_and_from_a_tar(lock, base, tmp_path):
    base.write()
    with tarfile.open(tmp_path / "base.tar", "w") as tar:
        for path in sorted(base.folder.rglob("*"), reverse=True):  # in any order
            if path.is_file():
                tar.add(path, f"./{path.relative_to(base.folder)}")
    first = put_on(lock, tmp_path / "a", base.folder)
    assert put_on(lock, tmp_path / "b", tmp_path / "base.tar") == first
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_the_image_for_the_platform_is_chosen_from_an_index(lock, base, tmp_path):
    mine = base.manifest() | {"platform": {"os": "linux", "architecture": "amd64"}}
    other = {"digest": "sha256:" + "0" * 64, "size": 5, "mediaType": MANIFEST}
    other["platform"] = {"os": "linux", "architecture": "arm64"}
    inner = base.put(json.dumps({"schemaVersion": 2, "manifests": [other, mine]}).encode(), INDEX)
    base.write(inner)
    put_on(lock, tmp_path / "a", base.folder)
    assert manifest_of(tmp_path / "a")["layers"][0] == base.layer


def test_a_base_without_history_is_given_one_so_that_layers_and_history_agree(lock, base, tmp_path):
    del base.config["history"], base.config["config"]
    base.write()
    put_on(lock, tmp_path / "a", base.folder)
    manifest = manifest_of(tmp_path / "a")
    config = json.loads(blob(tmp_path / "a", manifest["config"]["digest"]))
    assert len(config["history"]) == len(manifest["layers"]) == len(config["rootfs"]["diff_ids"])
    assert config["config"]["Env"][0].startswith("PATH=/opt/env/bin:/usr/local/sbin:")


def spoil(base, how):  # noqa: C901 - one line each
    """Damage a base, and say what is to be said of it."""
    place = base.folder / "blobs/sha256" / base.layer["digest"].removeprefix("sha256:")
    match how:
        case "architecture":
            base.config["architecture"] = "arm64"
            said = "is for linux/arm64, and the environment for linux/amd64"
        case "layer byte":
            data = bytearray(place.read_bytes())
            data[-1] ^= 1
            place.write_bytes(data)
            said = "is not what its digest and size say"
        case "layer cut":
            place.write_bytes(place.read_bytes()[:-1])
            said = "is not what its digest and size say"
        case "layer gone":
            place.unlink()
            said = "has no blobs/sha256/"
        case "layer pipe":
            place.unlink()
            os.mkfifo(place)
            said = "has no blobs/sha256/"
        case "layer kind":
            base.layers = [base.layer | {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip"}]
            said = "only tars of OCI images"
        case "layer size":
            base.layers = [base.layer | {"size": "5"}]
            said = "without a size"
        case "digest":
            base.layers = [base.layer | {"digest": "sha256:../../../etc/passwd"}]
            said = "names a blob by"
        case "layers":
            base.layers = [base.layer] * 101
            said = "has 101 layers"
        case "diff_ids":
            base.config["rootfs"]["diff_ids"] = []
            said = "names other layers"
        case "env":
            base.config["config"]["Env"] = "PATH=/"
            said = "Env is not understood"
    base.write()
    return said


HOWS = [
    "architecture", "layer byte", "layer cut", "layer gone", "layer pipe", "layer kind", "layer size",
    "digest", "layers", "diff_ids", "env",
]  # fmt: skip


@pytest.mark.parametrize("how", HOWS)
def test_a_base_that_is_for_another_machine_or_damaged_is_refused_in_one_line(lock, base, tmp_path, how):
    said = spoil(base, how)
    with pytest.raises(OciError, match=said) as error:
        put_on(lock, tmp_path / "a", base.folder)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "channel", "pixi.lock"]


@pytest.mark.parametrize("of", ["manifest", "config"])
def test_a_document_with_other_bytes_than_its_digest_is_refused(lock, base, tmp_path, of):
    descriptor = base.manifest()
    base.write(descriptor)
    if of == "config":
        descriptor = json.loads(blob(base.folder, descriptor["digest"]))["config"]
    place = base.folder / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")
    place.write_bytes(place.read_bytes().replace(b"linux", b"Linux").replace(b"{", b"[", 1))
    with pytest.raises(OciError, match="is not what its digest and size say"):
        put_on(lock, tmp_path / "a", base.folder)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "has no index.json|neither a folder nor a tar"),
        (b"\x1f\x8b" + bytes(2000), "neither a folder nor a tar"),
        (b"PK" * 5000, "neither a folder nor a tar"),
    ],
)
def test_what_is_no_layout_is_refused(lock, tmp_path, data, said):
    (tmp_path / "base.tar").write_bytes(data)
    with pytest.raises(OciError, match=said):
        put_on(lock, tmp_path / "a", tmp_path / "base.tar")
    with pytest.raises(OciError, match="No such file"):
        put_on(lock, tmp_path / "a", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OciError, match=r"has no index\.json"):
        put_on(lock, tmp_path / "a", tmp_path / "empty")


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"manifests": [1]}', "[" * 100_000, '{"manifests": []}', "\xff"]
)
def test_an_index_that_is_none_is_refused(lock, base, tmp_path, text):
    base.write()
    (base.folder / "index.json").write_text(text)
    with pytest.raises(OciError):
        put_on(lock, tmp_path / "a", base.folder)


def test_of_two_images_none_is_guessed(lock, base, tmp_path):
    first = base.manifest()
    base.config["config"]["User"] = "2"
    base.write(first, base.manifest())
    with pytest.raises(OciError, match="has 2 images for linux/amd64; copy one"):
        put_on(lock, tmp_path / "a", base.folder)


def test_a_large_base_is_not_held_in_memory(lock, base, tmp_path):
    with open(tmp_path / "noise", "wb") as file:  # noqa: PTH123
        file.writelines(os.urandom(1 << 20) for _ in range(300))
    digest = subprocess.run(["sha256sum", tmp_path / "noise"], capture_output=True, check=True, text=True)
    (tmp_path / "noise").rename(base.folder / "blobs/sha256" / digest.stdout.split()[0])
    noise = {"mediaType": GZIP, "digest": f"sha256:{digest.stdout.split()[0]}", "size": 300 << 20}
    base.layers = [base.layer, noise]
    base.config["rootfs"]["diff_ids"] *= 2
    base.write()
    code = (
        "import resource, sys; from pathlib import Path; from sluice.oci.base import Base;"
        "from sluice.oci.layout import open_layout; Path(sys.argv[2]).mkdir();"
        "b = Base.of(open_layout(Path(sys.argv[1])), {'os': 'linux', 'architecture': 'amd64'});"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; b.copy(Path(sys.argv[2]), lambda n: None);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, base.folder, tmp_path / "out"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert int(done.stdout) < 30_000  # kilobytes
    assert (tmp_path / "out" / digest.stdout.split()[0]).stat().st_size == 300 << 20


def test_the_command_takes_a_base_for_an_image_alone(lock, base, tmp_path, capsys, monkeypatch):
    base.write()
    monkeypatch.setenv("SLUICE_PREFIXES", str(tmp_path / "store"))
    target = tmp_path / "a.tar"
    monkeypatch.setattr(
        "sys.argv", ["sluice", "export", str(lock), "--oci", str(target), "--base", str(base.folder)]
    )
    assert run(assemble()) == 0
    assert "on sha256:" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["sluice", "export", str(lock), "-f", "explicit", "--base", "x"])
    assert run(assemble()) == 2


@pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")
def test_skopeo_makes_a_base_and_copies_what_is_put_on_it(lock, base, tmp_path):
    copy = ["skopeo", "--insecure-policy", "copy"]
    base.write()
    made = tmp_path / "made.tar"
    subprocess.run([*copy, f"oci:{base.folder}", f"oci-archive:{made}:1"], capture_output=True, check=True)
    image = put_on(lock, tmp_path / "a", made)
    subprocess.run([*copy, f"oci:{tmp_path / 'a'}", f"oci:{tmp_path / 'b'}"], capture_output=True, check=True)
    seen = subprocess.run(["skopeo", "inspect", f"oci:{tmp_path / 'b'}"], capture_output=True, check=True)
    assert json.loads(seen.stdout)["Digest"] == f"sha256:{image.manifest}"
    assert json.loads(seen.stdout)["Layers"][0] == base.layer["digest"]
    assert len(json.loads(seen.stdout)["Layers"]) == 5
