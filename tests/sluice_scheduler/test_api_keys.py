"""API keys: made, found, revoked, and never kept."""

import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler import api_keys
from sluice_scheduler.api_keys import SECRET, ApiKey, ApiKeys, create, read, revoke
from sluice_scheduler.callers import ANYONE, Caller, Scope
from sluice_scheduler.errors import ApiKeyError
from sluice_scheduler.rates import Rate

ALL = frozenset(Scope)


def make(state, **more):
    return create(state, **{"tenant": "t", "scopes": ALL, "now": 1000.0, **more})


def test_a_key_is_found_by_its_secret_and_kept_as_a_hash(tmp_path):
    state = tmp_path / "state"
    made, secret = make(state, ceiling=3, rate=Rate(2.5, 4), expires=2000.0, note="for the search")
    assert SECRET.fullmatch(secret)
    path = state / api_keys.NAME
    assert secret not in path.read_text()
    assert secret[4:] not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    keys = ApiKeys(state)
    assert keys.configured
    assert keys.find(secret, 1999.0) == made
    assert made.caller == Caller("t", 3, ALL, made.id)
    assert keys.find(secret, 2000.0) is None
    assert keys.find(api_keys.PREFIX + "0" * 64, 1500.0) is None
    assert read(state) == (made,)
    assert "hash" not in made.document()


def test_what_is_created_and_revoked_counts_at_once(tmp_path):
    keys = ApiKeys(tmp_path)
    assert not keys.configured
    made, secret = make(tmp_path)
    assert keys.configured
    assert keys.find(secret, 1001.0) == made
    assert revoke(tmp_path, made.id, now=1002.0).revoked == 1002.0
    assert revoke(tmp_path, made.id, now=1003.0).revoked == 1002.0
    assert keys.configured  # not open again
    assert keys.find(secret, 1001.0) is None


def test_keys_that_are_gone_or_damaged_stay_as_they_were(tmp_path, caplog):
    _, secret = make(tmp_path)
    keys = ApiKeys(tmp_path)
    path = tmp_path / api_keys.NAME
    path.write_text("{}")
    assert keys.configured
    path.unlink()
    assert keys.configured
    assert keys.find(secret, 1001.0)
    keys.reload()
    assert keys.find(secret, 1001.0)
    assert caplog.text.count("keeping the API keys as they were") == 2
    assert secret not in caplog.text


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "keys": [{}]}', "[" * 100000]
)
def test_a_damaged_file_is_one_line(tmp_path, text):
    path = tmp_path / api_keys.NAME
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(ApiKeyError, match="damaged"):
        ApiKeys(tmp_path)


def test_a_file_that_others_may_read_is_refused(tmp_path):
    make(tmp_path)
    (tmp_path / api_keys.NAME).chmod(0o640)
    with pytest.raises(ApiKeyError, match="others may read or change it"):
        ApiKeys(tmp_path)


def test_only_what_has_sense_can_be_made(tmp_path):
    for more in (
        {"tenant": "a b"},
        {"tenant": "x" * 64},
        {"scopes": frozenset()},
        {"ceiling": 0},
        {"ceiling": 10},
        {"rate": Rate(0.0, 1)},
        {"rate": Rate(float("nan"), 1)},
        {"rate": Rate(1.0, 0)},
        {"note": "a\nb"},
        {"note": "x" * 201},
    ):
        with pytest.raises(ApiKeyError):
            make(tmp_path, **more)
    assert not (tmp_path / api_keys.NAME).exists()
    with pytest.raises(ApiKeyError, match="no API key has the id"):
        revoke(tmp_path, "0" * 12, now=1.0)


@given(
    st.builds(
        ApiKey,
        id=st.from_regex("[0-9a-f]{12}", fullmatch=True),
        hash=st.from_regex("[0-9a-f]{64}", fullmatch=True),
        tenant=st.sampled_from(["", "a", "team-1"]),
        scopes=st.frozensets(st.sampled_from(Scope), min_size=1),
        created=st.floats(0, 1e10),
        ceiling=st.integers(1, 9),
        rate=st.none() | st.builds(Rate, st.floats(0.001, 1e6), st.integers(1, 10**6)),
        expires=st.none() | st.floats(0, 1e10),
        revoked=st.none() | st.floats(0, 1e10),
        note=st.just("") | st.just("é"),
    )
)
def test_what_is_written_is_read(key):
    document = json.loads(json.dumps({**key.document(), "hash": key.hash}))
    assert ApiKey.parse(document) == key


def test_who_may_and_who_sees():
    own = Caller("a", 4, frozenset({Scope.READ}))
    assert own.may(Scope.READ)
    assert not own.may(Scope.INFER)
    assert (own.sees("a"), own.sees("b"), own.only) == (True, False, "a")
    admin = Caller("a", scopes=frozenset({Scope.ADMIN}))
    assert all(map(admin.may, Scope))
    assert (admin.sees("b"), admin.only) == (True, None)
    assert ANYONE.only is None
    assert [own.priority(asked) for asked in (1, 4, 9)] == [4, 4, 9]
