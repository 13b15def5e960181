import pytest

from sluice.clients import client


def test_a_client_of_ipv6_is_a_network():
    assert client("2001:db8:1:2:3:4:5:6") == client("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert client("2001:db8:1:3::1") != client("2001:db8:1:2::1")
    assert client("::ffff:10.0.0.1") == client("10.0.0.1") == "10.0.0.1"
    assert client("fe80::1%eth0") == "fe80::/64"
    assert len(client("x" * 5000)) == 100


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("x" * 500, "x" * 100),
    ],
)
def test_who_counts_as_one_client(address, expected):
    assert client(address) == expected
