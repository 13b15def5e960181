"""Readers of locks: what tools write, and what nobody should."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.export import formats
from sluice_channel import lockfiles
from sluice_channel.errors import RegistrationError

A = "a" * 64
URL = "http://h/main/linux-64/x-1-0.conda"
NOARCH = "http://h/main/noarch/y-1-0.conda"


def explicit(*lines):
    return "\n".join(("@EXPLICIT", *lines, "")).encode()


def conda_lock(**change):
    item = {
        "name": "x",
        "version": "1",
        "manager": "conda",
        "platform": "linux-64",
        "dependencies": {"python": ">=3", "y": ""},
        "url": URL,
        "hash": {"md5": "b" * 32, "sha256": A},
    } | change
    document = {"version": 1, "metadata": {"channels": [{"url": "conda-forge"}]}, "package": [item]}
    return yaml.safe_dump(document).encode()


def refused(text, form=None):
    try:
        lockfiles.read(text, form)
    except RegistrationError as error:
        return str(error)
    return ""


def test_explicit_as_conda_and_micromamba_write_it():
    found = lockfiles.read(explicit(f"{URL}#sha256:{A}", f"{NOARCH}#{'b' * 32}", "# a remark", ""))
    assert (found.format, found.channels) == ("explicit", ("http://h/main",))
    first, second = found.pins
    assert (str(first.id), first.platform, first.subdir, first.sha256.hex) == (
        "x-1-0",
        "linux-64",
        "linux-64",
        A,
    )
    assert (second.subdir, second.sha256, second.md5) == ("noarch", None, "b" * 32)
    assert lockfiles.read(explicit(f"{URL}#{A}")).pins[0].sha256.hex == A


def test_the_platform_of_an_explicit_lock():
    noarch = f"{NOARCH}#{A}"
    with pytest.raises(RegistrationError, match="which platform"):
        lockfiles.read(explicit(noarch))
    assert lockfiles.read(explicit("# platform: osx-64", noarch)).pins[0].platform == "osx-64"
    with pytest.raises(RegistrationError, match="not a package for osx-64"):
        lockfiles.read(explicit("# platform: osx-64", f"{URL}#{A}"))


def test_conda_lock():
    found = lockfiles.read(conda_lock())
    assert found.format == "conda-lock"
    assert found.channels == ("conda-forge",)
    assert found.pins[0].depends == ("python >=3", "y")
    assert lockfiles.read(conda_lock(hash={"md5": "b" * 32})).pins[0].sha256 is None


def test_what_this_project_writes_is_read_back(parts):
    from sluice.lock import Lock

    lock = Lock.parse(parts.pixi("http://h/main", parts.TORCH, parts.DIGITS).encode())
    pins = lockfiles.read(parts.pixi("http://h/main", parts.TORCH, parts.DIGITS).encode()).pins
    for text in (formats.explicit(lock, "linux-64"), formats.conda_lock(lock)):
        assert lockfiles.read(text.encode()).pins == pins


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (explicit(URL), "no checksum"),
        (explicit(f"{URL}#{'g' * 64}"), "no checksum"),
        (explicit("# platform: linux-64"), "names 0 packages"),
        (explicit(f"{URL}#{A}", f"{URL}#{A}"), "has x twice"),
        (explicit(f"file:///main/linux-64/x-1-0.conda#{A}"), "other machines"),
        (explicit(f"/main/linux-64/x-1-0.conda#{A}"), "other machines"),
        (explicit(f"http://h/t/tok-en/main/linux-64/x-1-0.conda#{A}"), "plain URL"),
        (explicit(f"http://u:p@h/main/linux-64/x-1-0.conda#{A}"), "plain URL"),
        (explicit(f"http://h/main/linux-64/x-1-0.conda?a#{A}"), "plain URL"),
        (explicit(f"http://h/main/linux-64/x\x1b-1-0.conda#{A}"), "not a package name"),
        (explicit(f"http://h/main/linux-64/{'x' * 3000}-1-0.conda#{A}"), "not a package name"),
        (explicit(f"http://{'h' * 3000}/main/linux-64/x-1-0.conda#{A}"), "not a URL"),
        (explicit(f"http://h/main/mars-64/x-1-0.conda#{A}"), "not a platform"),
        (b"@EXPLICIT\n\xff", "explicit.txt"),
        (conda_lock(manager="pip"), "which a prefix is not made from"),
        (conda_lock(hash={}), "no checksum"),
        (conda_lock(hash={"md5": "x"}), "not an md5"),
        (conda_lock(hash={"sha256": "x"}), "not a sha256"),
        (conda_lock(dependencies={f"n{number}": "" for number in range(501)}), "too long"),
        (conda_lock(dependencies={"python": "\x1b[2J"}), "control characters"),
        (conda_lock(platform="noarch"), "not a platform"),
        (conda_lock(url=7), "expected a text"),
        (b"version: 2\npackage: []\n", "not a conda-lock.yml of version 1"),
        (b"package: 1\nversion: 1\n", "incomplete"),
        (b"version: 7\nenvironments: 3\n", "incomplete"),
        (b"", "version 7"),
        (b"\xff\xff", "not YAML"),
    ],
)
def test_what_is_refused_is_named(text, message):
    with pytest.raises(RegistrationError, match=message) as caught:
        lockfiles.read(text)
    assert "\n" not in str(caught.value)
    assert "tok-en" not in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_read_or_refused(data):
    for form in (None, *lockfiles.FORMATS):
        for text in (data, b"@EXPLICIT\n" + data, b"version: 1\npackage: " + data, b"version: 7\n" + data):
            assert "\n" not in refused(text, form)


yamlish = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from([URL, A, "conda", "linux-64"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["conda", "url", "hash", "sha256", "manager", "platform", "package", "metadata", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(yamlish, yamlish, yamlish)
def test_any_document_is_read_or_refused(first, second, third):
    for document in (
        {"version": 1, "metadata": first, "package": second},
        {"version": 1, "metadata": {"channels": first}, "package": [second, third]},
        {
            "version": 7,
            "environments": {"default": {"channels": first, "packages": second}},
            "packages": third,
        },
    ):
        assert "\n" not in refused(yaml.safe_dump(document).encode())
