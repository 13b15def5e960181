"""`sluice channel envs`: look at the environments of a server's folder, or of a server."""

from __future__ import annotations

import json as json_text
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from rich.text import Text

from sluice.cli.console import out, print_json
from sluice.cli.options import Json
from sluice.compare.difference import printable
from sluice_channel import settings, versions
from sluice_channel.cli.remote import Token, ask, ask_json, is_url
from sluice_channel.registry import Version
from sluice_channel.site import Site, open_site
from sluice_channel.vulnerabilities import loading

envs = typer.Typer(help="List, compare and audit registered environments.", no_args_is_help=True)

_Where = Annotated[
    str,
    typer.Argument(help="A channel's URL, or the server's folder.", metavar="URL|ROOT", show_default=False),
]
_Name = Annotated[str, typer.Argument(help="The environment's name.", metavar="NAME", show_default=False)]
_Channel = Annotated[
    str, typer.Option("--name", envvar=settings.NAME_VARIABLE, help="The channel, of a server's folder.")
]


class _Source(Protocol):
    """Where documents come from; a version is named by its number or its lock's sha256."""

    def listed(self) -> Any:  # noqa: ANN401 - JSON
        ...

    def history(self, name: str) -> Any:  # noqa: ANN401 - JSON
        ...

    def diff(self, name: str, before: str, after: str | None) -> tuple[Any, str]: ...

    def audit(self, name: str, version: str | None) -> tuple[Any, str]: ...

    def used_by(self, package: str, *, current: bool) -> Any:  # noqa: ANN401 - JSON
        ...


@dataclass(frozen=True)
class _Remote:
    url: str
    token: str | None

    def listed(self) -> Any:  # noqa: ANN401 - JSON
        return self._json("envs")

    def history(self, name: str) -> Any:  # noqa: ANN401 - JSON
        return self._json("envs", name, "history")

    def diff(self, name: str, before: str, after: str | None) -> tuple[Any, str]:
        params = {"from": before} | ({"to": after} if after else {})
        return self._both("envs", name, "diff", params=params)

    def audit(self, name: str, version: str | None) -> tuple[Any, str]:
        return self._both("envs", name, "audit", params={"version": version} if version else {})

    def used_by(self, package: str, *, current: bool) -> Any:  # noqa: ANN401 - JSON
        return self._json("packages", package, "used-by", params={"current": str(current).lower()})

    def _json(self, *parts: str, params: dict[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        return ask_json("GET", self.url, *parts, token=self.token, params=params)

    def _both(self, *parts: str, params: dict[str, str]) -> tuple[Any, str]:
        text = ask("GET", self.url, *parts, token=self.token, params=params | {"format": "text"})
        return self._json(*parts, params=params), text.decode(errors="replace")


@dataclass(frozen=True)
class _Local:
    site: Site
    channel: str

    def listed(self) -> Any:  # noqa: ANN401 - JSON
        self.site.catalogue.channel(self.channel)
        return [self._summary(each) for each in self.site.registry.environments(self.channel)]

    def history(self, name: str) -> Any:  # noqa: ANN401 - JSON
        return [self._summary(each) for each in self.site.registry.history(self.channel, name)]

    def diff(self, name: str, before: str, after: str | None) -> tuple[Any, str]:
        first, second = self._find(name, before), self._find(name, after)
        found = versions.difference(self.site.registry, self.channel, first, second)
        return versions.difference_json(first, second, found), versions.difference_text(first, second, found)

    def audit(self, name: str, version: str | None) -> tuple[Any, str]:
        found = self._find(name, version)
        told = loading.audited(self.site.registry, self.site.advisories, self.channel, found)
        return loading.audit_json(found, *told), loading.audit_text(found, *told)

    def used_by(self, package: str, *, current: bool) -> Any:  # noqa: ANN401 - JSON
        now = self.site.now()
        return versions.used_by(self.site.registry, self.channel, package, now=now, current=current)

    def _find(self, name: str, which: str | None) -> Version:
        if which is None:
            return self.site.registry.newest(self.channel, name)
        return self.site.registry.version(self.channel, name, versions.which(which))

    def _summary(self, version: Version) -> dict[str, Any]:
        return versions.summary(version, f"/{self.channel}")


@contextmanager
def _opened(where: str, channel: str, token: str | None) -> Iterator[_Source]:
    if is_url(where):
        yield _Remote(where, token)
        return
    with open_site(Path(where)) as site:
        yield _Local(site, channel)


@envs.command("list")
def listed(where: _Where, channel: _Channel = "main", token: Token = None, json: Json = False) -> None:
    """List environments with their newest version.

    Example: sluice channel envs list http://127.0.0.1:8710/main
    """
    with _opened(where, channel, token) as source:
        _print_versions(source.listed(), json=json, named=True)


@envs.command("history")
def history(
    where: _Where, name: _Name, channel: _Channel = "main", token: Token = None, json: Json = False
) -> None:
    """List the last hundred versions of an environment, the newest first.

    Example: sluice channel envs history /srv/sluice nlp-minilm-pt213-cpu
    """
    with _opened(where, channel, token) as source:
        _print_versions(source.history(name), json=json, named=False)


@envs.command("diff")
def diff(
    where: _Where,
    name: _Name,
    before: Annotated[
        str, typer.Argument(help="A version: its number, or the sha256 of its lock.", show_default=False)
    ],
    after: Annotated[
        str | None, typer.Argument(help="Another one; by default the newest.", show_default=False)
    ] = None,
    channel: _Channel = "main",
    token: Token = None,
    json: Json = False,
) -> None:
    """Say what differs between two versions of an environment. Status 1 where anything does.

    Example: sluice channel envs diff http://127.0.0.1:8710/main nlp-minilm-pt213-cpu 3
    """
    with _opened(where, channel, token) as source:
        document, text = source.diff(name, before, after)
    _print_both(document, text, json=json)
    if not document["equal"]:
        raise typer.Exit(1)


@envs.command("audit")
def audit(
    where: _Where,
    name: _Name,
    version: Annotated[
        str | None, typer.Option(help="Its number, or the sha256 of its lock.", show_default="the newest")
    ] = None,
    channel: _Channel = "main",
    token: Token = None,
    json: Json = False,
) -> None:
    """List known vulnerabilities of an environment's packages, the worst first. Status 1 where there are any.

    They are looked up in the database that `sluice channel vulnerabilities load` took in.

    Example: sluice channel envs audit /srv/sluice nlp-minilm-pt213-cpu
    """
    with _opened(where, channel, token) as source:
        document, text = source.audit(name, version)
    _print_both(document, text, json=json)
    if document["findings"]:
        raise typer.Exit(1)


@envs.command("used-by")
def used_by(
    where: _Where,
    package: Annotated[
        str, typer.Argument(help="A package's name, or the name of its file.", show_default=False)
    ],
    current: Annotated[
        bool, typer.Option("--current", help="Only the newest version of each environment.")
    ] = False,
    channel: _Channel = "main",
    token: Token = None,
    json: Json = False,
) -> None:
    """Say which environments and which deployments contain a package.

    Example: sluice channel envs used-by http://127.0.0.1:8710/main pytorch --current
    """
    with _opened(where, channel, token) as source:
        document = source.used_by(package, current=current)
    if json:
        print_json(document)
        return
    for environment in document["environments"]:
        for version in environment["versions"]:
            files = ", ".join(sorted({each["filename"] for each in version["packages"]}))
            age = "current" if version["current"] else "old"
            _print(f"{environment['name']}  version {version['version']} ({age})  {files}")
    for deployment in document["deployments"]:
        _print(
            f"served by {deployment['id']}  {deployment['environment']}  lock {deployment['lock_sha256'][:12]}"
        )
    if not document["environments"] and not document["deployments"]:
        _print(f"nobody uses {package}")


def _print_versions(found: list[dict[str, Any]], *, json: bool, named: bool) -> None:
    if json:
        print_json(found)
        return
    for each in found:
        when = datetime.fromtimestamp(each["made_at"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        name = f"{each['name']}  " if named else ""
        by = f"  by {each['by']}" if each["by"] else ""
        _print(
            f"{name}version {each['version']}  {when} UTC  lock {each['lock_sha256'][:12]} ({each['format']})  "
            f"{each['packages']} packages for {', '.join(each['platforms'])}  generation {each['generation']}{by}"
        )


def _print_both(document: object, text: str, *, json: bool) -> None:
    if json:
        print_json(json_text.loads(json_text.dumps(document)))
        return
    for line in text.splitlines():
        _print(line)


def _print(line: str) -> None:
    out.print(Text(printable(line)))
