"""`sluice channel register`: put an environment into a channel directory, a server's folder or a server."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from sluice.cli.console import out, print_json
from sluice.cli.options import Json
from sluice.compare.difference import printable
from sluice.spec import MAX_BYTES as MAX_SPEC
from sluice_channel import lockfiles, registration, settings
from sluice_channel import register as directories
from sluice_channel.cli.remote import Token, ask_json, is_url
from sluice_channel.errors import RegistrationError
from sluice_channel.site import is_site, open_site
from sluice_channel.versions import FOLDER, SPEC


def register(
    where: Annotated[
        str,
        typer.Argument(
            help="A channel's URL, a server's folder, or a channel's directory.",
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
        str, typer.Option("--name", envvar=settings.NAME_VARIABLE, help="The channel, of a server's folder.")
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
    elif is_site(Path(where)):
        told = _locally(Path(where), name, environment, lock, lock_format, url)
    elif lock or lock_format or url:
        raise RegistrationError(
            f"{where} is a channel's directory, which takes the folder's pixi.lock as it is"
        )
    else:
        done = directories.register(Path(where), environment)
        told = {"name": done.name, "lock_sha256": done.lock_sha256.hex, "changed": done.changed}
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
    root: Path, channel: str, environment: Path, lock: Path | None, form: str | None, urls: list[str] | None
) -> dict[str, Any]:
    name, spec, text = _read(environment, lock)
    with open_site(root) as site:
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
    pixi = folder / lockfiles.FILENAMES[lockfiles.PIXI]
    spec = _content(folder / SPEC, MAX_SPEC, "an environment's folder has an environment.yml")
    text = _content(lock or pixi, lockfiles.MAX_BYTES, f"make it with `sluice lock {environment}`")
    return folder.name, _decoded(spec, folder / SPEC), text


def _content(path: Path, limit: int, advice: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise RegistrationError(f"{path}: {error.strerror}; {advice}") from error
    if len(content) > limit:
        raise RegistrationError(f"{path}: larger than {limit} bytes")
    return content


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
