"""YAML that would end the process or fill the memory is refused, wherever it is read."""

import pytest

from sluice import plainyaml
from sluice.lock import Lock, LockError
from sluice.spec import EnvSpec, SpecError

BOMB = "a0: &a0 [x,x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
HARMFUL = {
    "sequences": "[" * 50_000,
    "lines": "- " * 50_000,
    "mappings": "{a: " * 50_000,
    "keys": "? " * 50_000,
    "aliases": BOMB,
}


@pytest.mark.parametrize("text", HARMFUL.values(), ids=HARMFUL)
def test_it_is_refused_in_one_line(text):
    with pytest.raises(plainyaml.YamlError, match=r"nested too deeply|has an alias|not YAML") as caught:
        plainyaml.load(text.encode(), "x")
    assert "\n" not in str(caught.value)
    with pytest.raises(LockError):
        Lock.parse(text.encode())
    with pytest.raises(SpecError):
        EnvSpec.parse(text)


def test_what_is_plain_is_read():
    assert plainyaml.load(b"a: [1, {b: c}]", "x") == {"a": [1, {"b": "c"}]}
