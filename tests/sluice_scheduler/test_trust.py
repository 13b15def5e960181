import hashlib
import io
import json
import pickle
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_scheduler.errors import SettingsError
from sluice_scheduler.trust import Kind, Trust, UntrustedError, look

URL = "http://127.0.0.1:8710/main/noarch/m-1-0.conda"


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return buffer.getvalue()


def safetensors(header_bytes):
    header = json.dumps({"w": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}).encode()
    return struct.pack("<Q", header_bytes) + header.ljust(header_bytes)


SAVED = zipped("weights/data.pkl", "weights/data/0", "weights/version")
SCRIPTED = zipped("net/data.pkl", "net/constants.pkl", "net/code/__torch__.py")
EXPORTED = zipped("net/archive_format", "net/models/model.json")
LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + b"\0" * 64  # torch before 1.6


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("w.safetensors", safetensors(640), None),
        ("w.safetensors", safetensors(0x280280), None),
        ("w.safetensors", safetensors(0x880), None),
        ("w.bin", b"\0" * 64, None),
        ("w.bin", SAVED, Kind.PICKLE),
        ("w.bin", pickle.dumps({"a": [1]}, 4), Kind.PICKLE),
        ("w.safetensors", pickle.dumps({"a": [1]}, 2), Kind.PICKLE),
        ("notes.txt", SAVED, Kind.PICKLE),
        ("w.pt", SAVED, Kind.PICKLE),
        ("w.pth", LEGACY, Kind.PICKLE),
        ("w.ckpt", b"anything", Kind.PICKLE),
        ("W.PKL", pickle.dumps([], 0), Kind.PICKLE),
        ("w.joblib", b"x\x9c", Kind.PICKLE),
        ("w.pt", SCRIPTED, Kind.PROGRAM),
        ("net.dat", SCRIPTED, Kind.PROGRAM),
        ("net.pt2", EXPORTED, Kind.PROGRAM),
        ("net.pt2", b"whatever", Kind.PROGRAM),
        ("table.npz", zipped("a.npy"), None),
        ("empty", b"", None),
        ("model.toml", b"format = 1", None),
    ],
)
def test_a_file_is_what_its_bytes_and_its_name_say(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    assert look(tmp_path / name) is kind


@settings(deadline=None, max_examples=30)
@given(
    st.recursive(
        st.integers() | st.text() | st.binary() | st.none() | st.booleans() | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    ),
    st.integers(2, 5),
)
def test_every_pickle_of_a_binary_protocol_is_seen(tmp_path_factory, value, protocol):
    path = tmp_path_factory.getbasetemp() / "weights"
    path.write_bytes(pickle.dumps(value, protocol))
    assert look(path) is Kind.PICKLE


@settings(deadline=None)
@given(st.integers(100, 1 << 20))
def test_no_safetensors_file_is_taken_for_a_pickle(tmp_path_factory, size):
    path = tmp_path_factory.getbasetemp() / "w.safetensors"
    path.write_bytes(safetensors(size)[:1024])
    assert look(path) is None


def test_the_line_says_which_file_and_what_to_do(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.pt").write_bytes(SAVED)
    digest = hashlib.sha256(SAVED).hexdigest()
    with pytest.raises(UntrustedError) as caught:
        Trust(("http://127.0.0.1:8710/main",)).check("m", tmp_path, URL)
    assert str(caught.value) == (
        "model m: sub/w.pt is a pickle, which runs code when it is loaded; convert it to safetensors, "
        f"or name its sha256 in allow_pickles: {digest}"
    )
    Trust(pickles=frozenset({digest})).check("m", tmp_path, URL)
    (tmp_path / "sub" / "w.pt").write_bytes(SAVED + b" ")
    with pytest.raises(UntrustedError):
        Trust(pickles=frozenset({digest})).check("m", tmp_path, URL)


def test_programs_come_from_trusted_channels_only(tmp_path):
    (tmp_path / "net.pt2").write_bytes(EXPORTED)
    for channels in ((), ("http://127.0.0.1:8710/mai",), ("https://127.0.0.1:8710/main",)):
        with pytest.raises(UntrustedError, match=f"trusted_channels: it came from {URL}"):
            Trust(channels).check("m", tmp_path, URL)
    for channel in ("http://127.0.0.1:8710/main", "http://127.0.0.1:8710/main/"):
        Trust((channel,)).check("m", tmp_path, URL)


def test_links_are_followed_once_and_broken_ones_are_nothing(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "w.pt").write_bytes(SAVED)
    model = tmp_path / "m"
    model.mkdir()
    (model / "gone").symlink_to(tmp_path / "nowhere")
    (model / "self").symlink_to(model)
    Trust().check("m", model, URL)
    (model / "there").symlink_to(outside)
    with pytest.raises(UntrustedError, match="there"):
        Trust().check("m", model, URL)


@pytest.mark.parametrize("wrong", [{"channels": ("main",)}, {"pickles": frozenset({"abc"})}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(SettingsError):
        Trust(**wrong)
