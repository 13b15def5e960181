"""Which workflows elsewhere may publish: what their signed claims must say. Pure.

The names of claims are GitHub's and GitLab's, as their documentation of OpenID Connect tokens lists them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from sluice_channel.errors import ChannelError
from sluice_channel.keyring import Publisher
from sluice_channel.scope import matches

GITHUB: Final = "https://token.actions.githubusercontent.com"
GITLAB: Final = "https://gitlab.com"
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_NAMED_BY: Final = frozenset({"repository", "repository_id", "project_path", "project_id", "sub"})
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")
_PROJECT: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}(?:/[A-Za-z0-9_.-]{1,200}){1,20}")
_FILE: Final = re.compile(r"[A-Za-z0-9_.-][A-Za-z0-9_./-]{0,199}")
_CLAIM: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LONGEST: Final = 300  # characters of a claim


class TrustError(ChannelError):
    """A trusted publisher cannot be described like this."""


def github(repository: str, workflow: str | None, environment: str | None, ref: str | None) -> dict[str, str]:
    """Return what GitHub's token of a workflow must claim; `workflow` is a file in .github/workflows."""
    _fits(_REPOSITORY, repository, "a repository is OWNER/NAME")
    demanded = {"repository": repository}
    if workflow is not None:
        _fits(_FILE, workflow, "a workflow is the name of a file in .github/workflows")
        demanded["workflow_ref"] = f"{repository}/.github/workflows/{workflow}@*"
    return _further(demanded, environment, ref)


def gitlab(
    project: str, issuer: str, config: str | None, environment: str | None, ref: str | None
) -> dict[str, str]:
    """Return what GitLab's token of a job must claim; `config` is the file of its pipeline."""
    _fits(_PROJECT, project, "a project is GROUP/NAME")
    demanded = {"project_path": project}
    if config is not None:
        _fits(_FILE, config, "a pipeline's file is a path such as .gitlab-ci.yml")
        demanded["ci_config_ref_uri"] = f"{urlsplit(issuer).netloc}/{project}//{config}@*"
    return _further(demanded, environment, ref)


def claims(environment: str | None, ref: str | None) -> dict[str, str]:
    """Return what any issuer's token must claim."""
    return _further({}, environment, ref)


def check(issuer: str, demanded: Mapping[str, str]) -> None:
    """Look whether a publisher is described well enough to be trusted.

    Raises:
        TrustError: its issuer is no https address, or its claims name no repository.

    """
    parts = urlsplit(issuer)
    near = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not (parts.scheme == "https" or near) or not parts.hostname or parts.query or parts.fragment:
        raise TrustError(f"an issuer is an https address without a query, not {issuer[:200]!r}")
    for name, value in demanded.items():
        if not _CLAIM.fullmatch(name):
            raise TrustError(f"no name of a claim: {name[:80]!r}")
        if not (0 < len(value) <= _LONGEST and value.isprintable()):
            raise TrustError(f"the claim {name} needs a value of 1 to {_LONGEST} printable characters")
    if not any(demanded.get(name, "*").strip("*") for name in _NAMED_BY):
        raise TrustError(f"the claims name no repository; demand one of {', '.join(sorted(_NAMED_BY))}")


def matching(
    publishers: Sequence[Publisher], audiences: Sequence[str], claimed: Mapping[str, Any]
) -> list[Publisher]:
    """Return the publishers, all of them of the claims' issuer, that signed claims fit."""
    return [
        each
        for each in publishers
        if each.audience in audiences
        and each.claims
        and all(_is(claimed.get(name), pattern) for name, pattern in each.claims.items())
    ]


def _is(value: object, pattern: str) -> bool:
    return isinstance(value, str) and matches(pattern, value)


def _further(demanded: dict[str, str], environment: str | None, ref: str | None) -> dict[str, str]:
    if environment is not None:
        demanded["environment"] = environment
    if ref is not None:
        demanded["ref"] = ref
    return demanded


def _fits(pattern: re.Pattern[str], text: str, advice: str) -> None:
    if not pattern.fullmatch(text):
        raise TrustError(f"{advice}, not {text[:80]!r}")
