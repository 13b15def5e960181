import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.digest import Digest, DigestError
from sluice.package import PackageId, PackageNameError


@given(st.binary(max_size=3_000_000))
def test_a_file_and_its_bytes_have_one_digest(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("d") / "f"
    path.write_bytes(data)
    assert Digest.of_file(path) == Digest.of(data) == Digest(hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64])
def test_what_is_not_a_sha256_is_refused(text):
    with pytest.raises(DigestError):
        Digest(text)


def test_a_file_name_is_read_from_the_right():
    package = PackageId.parse("typing-extensions-4.16.0-pyhcf101f3_0.conda")
    assert (package.name, package.version, package.build) == ("typing-extensions", "4.16.0", "pyhcf101f3_0")
    assert package.filename == "typing-extensions-4.16.0-pyhcf101f3_0.conda"
    assert PackageId.parse("a-1-0.tar.bz2") == PackageId("a", "1", "0")


@pytest.mark.parametrize(
    "text",
    [
        "a-1.conda",
        "a-1-0.zip",
        "A-1-0.conda",
        "../a-1-0.conda",
        "a/b-1-0.conda",
        "a-1-0\n.conda",
        "-1-0.conda",
        f"{'a' * 65}-1-0.conda",
    ],
)
def test_what_is_not_a_package_file_name_is_refused(text):
    with pytest.raises(PackageNameError):
        PackageId.parse(text)
