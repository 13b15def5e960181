"""Put an environment's spec and lock into a channel directory."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sluice import atomic
from sluice.digest import Digest
from sluice.errors import SluiceError
from sluice.lock import MAX_BYTES as MAX_LOCK
from sluice.lock import Lock
from sluice.solve import check_promise
from sluice.spec import MAX_BYTES as MAX_SPEC
from sluice.spec import EnvironmentName, EnvSpec
from sluice_channel.directory import locked, private
from sluice_channel.environments import FOLDER, LOCK, SPEC, kept
from sluice_channel.errors import RegistrationError

WAIT = 60.0  # seconds for another process that works in the directory


@dataclass(frozen=True, slots=True)
class Registration:
    """An environment as it now stands in the channel."""

    name: str
    lock_sha256: Digest
    changed: bool


def register(channel_dir: Path, environment_dir: Path, *, wait_s: float = WAIT) -> Registration:
    """Copy `environment.yml` and `pixi.lock` of an environment's folder into the channel.

    The folder's name is the environment's. A new environment appears whole; of a known one the lock is
    replaced last. Equal files are left alone. Every lock that was ever registered stays under its digest:
    answers that name it can be replayed.

    Raises:
        RegistrationError: a file is missing, too large or malformed, or does not fit the name.
        BusyError: another process works in the channel directory.
        ChannelError: there is no such channel directory.

    """
    folder = environment_dir.resolve()
    spec = _content(folder / SPEC, MAX_SPEC, "an environment's folder has an environment.yml")
    lock = _content(folder / LOCK, MAX_LOCK, f"make it with `sluice lock {environment_dir}`")
    try:
        name = EnvironmentName.parse(folder.name)
        asked = EnvSpec.parse(spec.decode(), str(environment_dir / SPEC))
        parsed = Lock.parse(lock, str(environment_dir / LOCK))
        check_promise(name, parsed)
    except UnicodeDecodeError as error:
        raise RegistrationError(f"{environment_dir / SPEC}: not UTF-8 text") from error
    except SluiceError as error:
        raise RegistrationError(str(error)) from error
    if asked.name != str(name):
        raise RegistrationError(
            f"{environment_dir / SPEC}: its name is {asked.name[:140]!r} and its folder's {str(name)!r}; make them equal"
        )
    channel = channel_dir.resolve()
    with locked(channel, wait_s):
        try:
            files = {kept(parsed.digest): lock, SPEC: spec, LOCK: lock}
            changed = _place(channel, str(name), files)
        except OSError as error:
            raise RegistrationError(f"cannot write {name} into {channel_dir}: {error.strerror}") from error
    return Registration(str(name), parsed.digest, changed)


def _content(path: Path, limit: int, advice: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise RegistrationError(f"{path}: {error.strerror}; {advice}") from error
    if len(content) > limit:
        raise RegistrationError(f"{path}: larger than {limit} bytes")
    return content


def _place(channel: Path, name: str, files: dict[str, bytes]) -> bool:
    target = channel / FOLDER / name
    if target.is_dir():
        changed = False
        for filename, content in files.items():  # the lock comes last: it is what is acted on
            path = target / filename
            if not path.is_file() or path.read_bytes() != content:
                atomic.write(path, content)
                changed = True
        return changed
    (channel / FOLDER).mkdir(exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix="register-", dir=private(channel)))
    try:
        for filename, content in files.items():
            atomic.write(stage / filename, content)
        stage.chmod(0o755)
        os.replace(stage, target)  # noqa: PTH105 - a folder, which has to be new
        atomic.sync_directory(target.parent)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
    return True
