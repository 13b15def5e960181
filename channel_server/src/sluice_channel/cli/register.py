"""`sluice channel register`: put an environment into a server's folder, a plain directory or a server."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from sluice.cli.console import out, print_json, progress
from sluice.cli.options import Json
from sluice.compare.difference import printable
from sluice.progress import Progress
from sluice_channel import lockfiles, registration, settings
from sluice_channel.cli import exchange
from sluice_channel.cli.remote import Token, ask_json, is_url
from sluice_channel.errors import RegistrationError
from sluice_channel.exchange import environments, plain
from sluice_channel.versions import FOLDER


def register(
    where: Annotated[
        str,
        typer.Argument(
            help="A channel's URL, a server's folder, or a plain directory of packages.",
            metavar="URL|ROOT|DIRECTORY",
            show_default=False,
        ),
    ],
    environment: Annotated[
        Path,
        typer.Argument(
            help="An environment's folder, with environment.yml and its lock.", show_default=False
        ),
    ],
    lock: Annotated[
        Path | None,
        typer.Option(
            help="The lock: pixi.lock, @EXPLICIT or conda-lock.yml.", show_default="the folder's pixi.lock"
        ),
    ] = None,
    lock_format: Annotated[
        str | None,
        typer.Option("--format", help="pixi, explicit or conda-lock.", show_default="as the lock looks"),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", envvar=settings.NAME_VARIABLE, help="The channel, of a folder.")
    ] = "main",
    url: Annotated[
        list[str] | None,
        typer.Option(help="A URL under which the lock knows this channel; repeat it.", show_default=False),
    ] = None,
    token: Token = None,
    json: Json = False,
) -> None:
    """Register an environment's spec and lock with a channel, where daemons find it.

    The folder is called {project}-{model}-{torch}-{device}. Doing it twice changes nothing; another lock
    makes another version. A server refuses a lock whose packages its channel should have and does not.

    Example: sluice channel register http://127.0.0.1:8710/main envs/nlp-minilm-pt213-cpu
    """
    if is_url(where):
        told = _remotely(where, environment, lock, lock_format, url, token)
    else:
        told = _locally(Path(where), name, environment, lock, lock_format, url, progress(json_output=json))
    if json:
        print_json(told)
    else:
        _print(told)


def _remotely(
    url: str,
    environment: Path,
    lock: Path | None,
    form: str | None,
    urls: list[str] | None,
    token: str | None,
) -> dict[str, Any]:
    name, spec, text = _read(environment, lock)
    document = {"spec": spec, "lock": _decoded(text, lock or environment), "addresses": urls or []}
    if form is not None:
        document["format"] = form
    told = ask_json("PUT", url, FOLDER, name, token=token, document=document)
    if not isinstance(told, dict):
        raise RegistrationError(f"{url} does not answer as a Sluice channel does; check the address")
    return told


def _locally(
    root: Path,
    channel: str,
    environment: Path,
    lock: Path | None,
    form: str | None,
    urls: list[str] | None,
    shown: Progress,
) -> dict[str, Any]:
    name, spec, text = _read(environment, lock)
    with plain.opened(root, channel, shown, exchange.show_refused) as site:
        own = [registration.own_address(each, channel) for each in urls] if urls else None
        checked = registration.check(
            site.catalogue, channel, name, spec, text, form=form, addresses=own, by=_user()
        )
        version, changed = site.registry.register(channel, checked.registration, now=site.now())
    return {
        "name": name,
        "lock_sha256": version.lock.hex,
        "version": version.number,
    } | registration.told(checked, changed=changed)


def _read(environment: Path, lock: Path | None) -> tuple[str, str, bytes]:
    folder = environment.resolve()
    path = lock or folder / environments.PIXI
    text = environments.content(path, lockfiles.MAX_BYTES, f"make it with `sluice lock {environment}`")
    return folder.name, environments.spec(folder), text


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise RegistrationError(f"{path}: not UTF-8 text") from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _print(told: dict[str, Any]) -> None:
    state = "registered" if told["changed"] else "unchanged"
    version = f"  version {told['version']}" if "version" in told else ""
    _line(f"{told['name']}{version}  lock {str(told['lock_sha256'])[:12]}  {state}")
    if count := told.get("elsewhere_count"):
        _line(f"  {count} packages are from other channels, such as {told['elsewhere'][0]}")
    if yanked := told.get("yanked"):
        _line(f"  yanked since: {', '.join(map(str, yanked))}")


def _line(text: str) -> None:
    out.print(Text(printable(text)))
