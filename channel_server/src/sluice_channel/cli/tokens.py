"""`sluice channel token` and `publisher`: who may do what."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from sluice.cli.console import err, out, print_json
from sluice.cli.options import Json
from sluice_channel import audit as audit_log
from sluice_channel import tokens, trust
from sluice_channel.errors import ChannelError
from sluice_channel.keyring import Publisher
from sluice_channel.routes.tokens import audience_of, described
from sluice_channel.scope import Scope
from sluice_channel.site import open_site

_DAY = 86_400_000  # ms

token = typer.Typer(help="Make, list and revoke the tokens of a server.", no_args_is_help=True)
publisher = typer.Typer(help="Trust workflows elsewhere to publish.", no_args_is_help=True)

Root = Annotated[
    Path, typer.Argument(help="The server's folder, which holds its catalogue.", show_default=False)
]
_SCOPE = (
    "ACTION:CHANNELS[:PACKAGES], ACTION one of read, publish, admin; * stands for any characters. "
    "read:main, publish:team-*:torch-*, publish:main:env:*, admin:*"
)


@token.command("add")
def add_token(
    root: Root,
    name: Annotated[str, typer.Argument(help="What it is for, such as 'release job'.", show_default=False)],
    scopes: Annotated[list[str], typer.Argument(help=_SCOPE, show_default=False)],
    days: Annotated[
        int, typer.Option(help="Days until it expires; 0: when it is revoked.", min=0, max=36500)
    ] = 365,
    json: Json = False,
) -> None:
    """Make a token and show it, this once: only its digest is kept.

    Each action contains the ones before it. In an address the token is spelled with `-` in place of `_`, as
    conda and mamba read no `_` there.

    Example: sluice channel token add /srv/sluice 'release job' publish:main --days 90
    """
    parsed = [Scope.parse(text) for text in scopes]
    with open_site(root) as site:
        made, secret = tokens.make(
            site.keyring,
            site.ledger,
            audit_log.local(),
            name,
            parsed,
            now=site.now(),
            lifetime=days * _DAY if days else None,
        )
    if json:
        print_json({"token": described(made), "secret": secret, "in_url": tokens.in_url(secret)})
        return
    out.print(secret, markup=False)
    until = f"until {_day(made.expires_at)}" if made.expires_at else "until it is revoked"
    err.print(f"{made.identity}  {' '.join(map(str, made.scopes))}  {until}", markup=False)
    err.print(f"in an address: http://HOST/t/{tokens.in_url(secret)}/CHANNEL", markup=False)
    err.print("This is shown once; keep it as you keep a password.")


@token.command("list")
def list_tokens(root: Root, json: Json = False) -> None:
    """List tokens with what they allow and when they were last used.

    Example: sluice channel token list /srv/sluice
    """
    with open_site(root) as site:
        found, now = site.keyring.tokens(), site.now()
    if json:
        print_json({"tokens": [described(each) for each in found]})
        return
    rows = [
        (
            each.identity,
            each.name,
            " ".join(map(str, each.scopes)),
            "revoked" if each.revoked_at else "valid" if each.valid(now) else "expired",
            _day(each.expires_at) if each.expires_at else "",
            shown_time(each.used_at) if each.used_at else "never",
        )
        for each in found
    ]
    _show(("id", "name", "scopes", "", "expires", "last used"), rows, "no tokens")


@token.command("revoke")
def revoke_token(
    root: Root,
    identity: Annotated[str, typer.Argument(help="Its id, as `list` shows it.", show_default=False)],
    json: Json = False,
) -> None:
    """Let a token be of no use from now on; a running server knows at once.

    Example: sluice channel token revoke /srv/sluice 151d7d5c68f0
    """
    with open_site(root) as site:
        gone = tokens.revoke(site.keyring, site.ledger, audit_log.local(), identity, now=site.now())
    if json:
        print_json({"token": described(gone)})
    else:
        out.print(f"{gone.identity}  {gone.name}  revoked {shown_time(gone.revoked_at or 0)}", markup=False)


@publisher.command("add")
def add_publisher(
    root: Root,
    scope: Annotated[
        str, typer.Argument(help="What it may do: publish:CHANNELS[:PACKAGES].", show_default=False)
    ],
    github: Annotated[
        str | None, typer.Option(help="A repository on GitHub: OWNER/NAME.", show_default=False)
    ] = None,
    gitlab: Annotated[
        str | None, typer.Option(help="A project on GitLab: GROUP/NAME.", show_default=False)
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option(
            help="The workflow's file: release.yml on GitHub, .gitlab-ci.yml on GitLab.", show_default=False
        ),
    ] = None,
    environment: Annotated[
        str | None, typer.Option(help="The environment that the job runs in.", show_default=False)
    ] = None,
    ref: Annotated[
        str | None,
        typer.Option(
            help="The branch or tag: refs/heads/main on GitHub, main on GitLab; * is allowed.",
            show_default=False,
        ),
    ] = None,
    claim: Annotated[
        list[str] | None, typer.Option(help="A further claim, NAME=VALUE; repeat it.", show_default=False)
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option(help="Who signs; GitHub's or GitLab's own unless you run one.", show_default=False),
    ] = None,
    audience: Annotated[
        str | None,
        typer.Option(
            help="For whom it is signed; this server's own, /api/v1/oidc/audience, unless named.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Trust a workflow to publish, without a secret: its signed claims are exchanged for a token of 15 minutes.

    Example: sluice channel publisher add /srv/sluice publish:main:torch-* --github acme/torch --workflow release.yml
    """
    if (github is not None) + (gitlab is not None) > 1:
        raise ChannelError("name one of --github and --gitlab")
    if github is not None:
        issuer = issuer or trust.GITHUB
        claims = trust.github(github, workflow, environment, ref)
    elif gitlab is not None:
        issuer = issuer or trust.GITLAB
        claims = trust.gitlab(gitlab, issuer, workflow, environment, ref)
    elif issuer is None or workflow is not None:
        raise ChannelError("name --github or --gitlab, or --issuer with --claim")
    else:
        claims = trust.claims(environment, ref)
    for each in claim or ():
        name, equals, value = each.partition("=")
        if not equals:
            raise ChannelError(f"a claim is NAME=VALUE, not {each[:80]!r}")
        claims[name] = value
    trust.check(issuer, claims)
    with open_site(root) as site:
        made = Publisher(
            secrets.token_hex(6),
            issuer,
            audience or audience_of(site),
            claims,
            Scope.parse(scope),
            site.now(),
        )
        tokens.trust(site.keyring, site.ledger, audit_log.local(), made)
    if json:
        print_json(_told(made))
    else:
        out.print(f"{made.identity}  {made.scope}  {_claims(made)}  audience {made.audience}", markup=False)


@publisher.command("list")
def list_publishers(root: Root, json: Json = False) -> None:
    """List the workflows that are trusted.

    Example: sluice channel publisher list /srv/sluice
    """
    with open_site(root) as site:
        found = site.keyring.publishers()
    if json:
        print_json({"publishers": [_told(each) for each in found]})
        return
    rows = [(each.identity, str(each.scope), each.issuer, _claims(each), each.audience) for each in found]
    _show(("id", "scope", "issuer", "claims", "audience"), rows, "no trusted publishers")


@publisher.command("remove")
def remove_publisher(
    root: Root,
    identity: Annotated[str, typer.Argument(help="Its id, as `list` shows it.", show_default=False)],
    json: Json = False,
) -> None:
    """Trust a workflow no more; the tokens that it holds are revoked.

    Example: sluice channel publisher remove /srv/sluice 5f0c2d1e7a90
    """
    with open_site(root) as site:
        gone = tokens.distrust(site.keyring, site.ledger, audit_log.local(), identity, now=site.now())
    if json:
        print_json(_told(gone))
    else:
        out.print(f"{gone.identity}  {_claims(gone)}  removed", markup=False)


def _show(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], nothing: str) -> None:
    if not rows:
        out.print(nothing)
        return
    table = Table(*head, box=None, header_style="dim", pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    out.print(table)


def _told(each: Publisher) -> dict[str, Any]:
    return {
        "id": each.identity,
        "issuer": each.issuer,
        "audience": each.audience,
        "claims": dict(each.claims),
        "scope": str(each.scope),
        "created_at": each.created_at,
    }


def _claims(each: Publisher) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(each.claims.items()))


def shown_time(ms: int) -> str:
    """Return a time in ms since the epoch as the user's clock shows it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))


def _day(ms: int) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(ms / 1000))
