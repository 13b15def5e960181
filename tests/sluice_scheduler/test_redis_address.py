"""A Redis server's address: read strictly, and shown without its password."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler.errors import SettingsError
from sluice_scheduler.queues.redis_address import RedisAddress


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", RedisAddress("localhost")),
        ("redis://localhost:7000/3", RedisAddress("localhost", 7000, 3)),
        ("rediss://queue.example/", RedisAddress("queue.example", tls=True)),
        ("redis://:pass%2Fword%40@h", RedisAddress("h", password="pass/word@")),
        ("redis://user:pw@[::1]:6380/1", RedisAddress("::1", 6380, 1, username="user", password="pw")),
    ],
)
def test_addresses(url, expected):
    assert RedisAddress.parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis",
        "redis://",
        "redis:///1",
        "http://h",
        "unix:///run/redis.sock",
        "redis://h:port",
        "redis://h:99999",
        "redis://h/db",
        "redis://h/-1",
        "redis://h?password=secret",
        "redis://h#secret",
        "redis://[::1",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(url):
    with pytest.raises(SettingsError, match=r"^queue is sqlite, memory or redis") as caught:
        RedisAddress.parse(url)
    assert "secret" not in str(caught.value)


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=9))
def test_no_text_of_an_address_has_its_password(password):
    address = RedisAddress.parse(f"redis://u:{password}@host:1/0")
    assert password not in f"{address}{address!r}"
    assert address.password == password


def test_a_password_beside_the_address_takes_the_place_of_its_own():
    assert RedisAddress.parse("redis://:one@h", password="two").password == "two"


def test_certificates_are_for_tls():
    assert RedisAddress.parse("rediss://h", ca=Path("ca.pem")).ca == Path("ca.pem")
    with pytest.raises(SettingsError, match="rediss://"):
        RedisAddress.parse("redis://h", ca=Path("ca.pem"))
