"""Locks that were edited by hand, or made to do harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.lock import Lock, LockError

URL = "http://h/c/noarch/a-1.0-0.conda"
OTHER = "http://h/c/noarch/a-2.0-0.conda"
SHA = "a" * 64


def text(used=(URL,), described=(URL,), extra=""):
    return "\n".join(
        (
            "version: 7",
            "platforms:\n- name: linux-64\n  virtual-packages:\n  - __cuda=13.0",
            "environments:\n  default:\n    channels:\n    - url: http://h/c\n    packages:\n      linux-64:",
            *(f"      - conda: {url}" for url in used),
            "packages:",
            *(f"- conda: {url}\n  sha256: {SHA}\n  depends:\n  - python >=3" for url in described),
            extra,
        )
    ).encode()


def test_a_lock_says_what_each_package_needs_and_what_it_was_locked_for():
    lock = Lock.parse(text())
    assert lock.on("linux-64")[0].depends == ("python >=3",)
    assert lock.virtual == {"linux-64": ("__cuda=13.0",)}


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        (text(described=(URL, URL)), "described twice"),
        (text(used=(URL, URL)), "linux-64 has a twice"),
        (text(used=(URL, OTHER), described=(URL, OTHER)), "linux-64 has a twice"),
        (text(used=(OTHER,)), "used but not described"),
        (text().replace(b"- conda: http://h/c/noarch/a-1.0-0.conda\n  sha", b"- pypi: a\n  sha"), "comes from PyPI"),
        (text().replace(SHA.encode(), b"1" * 63), "not a sha256"),
        (text().replace(b"version: 7", b"version: 8"), "expected a pixi.lock of version 7"),
        (b"&a [*a, *a]", "has an alias"),
        (b"\xff", "not YAML"),
        (b"version: 7\nx: 2026-99-99", "not YAML"),
        (text(used=("http://[h/a-1.0-0.conda",), described=("http://[h/a-1.0-0.conda",)), "incomplete lock"),
    ],
)  # fmt: skip
def test_a_lock_by_hand_is_refused_with_its_reason(lock, said):
    with pytest.raises(LockError, match=said) as caught:
        Lock.parse(lock)
    assert len(str(caught.value)) < 500


@given(st.data())
def test_a_damaged_lock_is_refused_or_read_never_worse(data):
    whole = text(extra="")
    place = data.draw(st.integers(0, len(whole) - 1))
    piece = data.draw(st.binary(max_size=8) | st.sampled_from([b": []", b"null", b"- {}", b"\n", b"*a"]))
    said = ""
    try:
        Lock.parse(whole[:place] + piece + whole[place + data.draw(st.integers(0, 30)) :])
    except LockError as error:
        said = str(error)
    assert len(said) < 500
