"""What a scope allows."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_channel.scope import Action, Scope, ScopeError, matches


@pytest.mark.parametrize(
    ("scope", "action", "channel", "package", "allowed"),
    [
        ("read:main", Action.READ, "main", None, True),
        ("read:main", Action.READ, "main/label/dev", None, True),
        ("read:main", Action.READ, "maine", None, False),
        ("read:main", Action.PUBLISH, "main", "a", False),
        ("read:main/label/dev", Action.READ, "main", None, False),
        ("read:main/label/dev", Action.READ, "main/label/dev", None, True),
        ("read:main/label/d*", Action.READ, "main/label/prod", None, False),
        ("read:*", Action.READ, "any/label/one", None, True),
        ("publish:team-*:torch-*", Action.PUBLISH, "team-a", "torch-cpu", True),
        ("publish:team-*:torch-*", Action.PUBLISH, "team-a", "torch", False),
        ("publish:team-*:torch-*", Action.PUBLISH, "team-a", None, False),
        ("publish:team-*:torch-*", Action.READ, "team-a", None, True),
        ("publish:team-*:torch-*", Action.ADMIN, "team-a", "torch-cpu", False),
        ("publish:main:env:mail-*", Action.PUBLISH, "main", "env:mail-x", True),
        ("publish:main:env:mail-*", Action.PUBLISH, "main", "mail-x", False),
        ("admin:main", Action.PUBLISH, "main", "anything", True),
        ("admin:main", Action.ADMIN, "main", None, True),
        ("admin:main:torch", Action.ADMIN, "main", None, False),
    ],
)
def test_allows(scope, action, channel, package, allowed):
    assert Scope.parse(scope).allows(action, channel, package) is allowed


def test_to_publish_something_is_less_than_to_publish_all():
    scope = Scope.parse("publish:main:torch-*")
    assert scope.covers(Action.PUBLISH, "main")
    assert not scope.covers(Action.ADMIN, "main")
    assert not scope.covers(Action.PUBLISH, "other")


@pytest.mark.parametrize(
    "text",
    ["", "read", "read:", "READ:main", "write:main", "read:main:torch", "read:Main", "read:a/b", "publish:main:",
     "read:main/label/", "publish:main:a b", "read:" + "a" * 200, "publish:main:../x", "read:\n"],
)  # fmt: skip
def test_what_is_no_scope(text):
    with pytest.raises(ScopeError):
        Scope.parse(text)


NAMES = st.from_regex(r"[a-z0-9_*]([a-z0-9._*-]{0,6}[a-z0-9_*])?", fullmatch=True)


@given(st.sampled_from(Action), NAMES, NAMES)
def test_a_scope_is_read_as_it_is_written(action, channels, packages):
    scope = Scope(action, channels, "*" if action is Action.READ else packages)
    assert Scope.parse(str(scope)) == scope


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_matching_is_what_the_regular_expression_says(pattern, text):
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert matches(pattern, text) is bool(re.fullmatch(expression, text))


def test_a_pattern_that_is_slow_for_regular_expressions_is_not():
    assert not matches("a*" * 60 + "b", "a" * 5000)
