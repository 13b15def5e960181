"""Where things are kept and what channels are called: flag > environment > TOML file > default."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import platformdirs

from sluice.errors import SluiceError
from sluice.mirrors import NO_MIRRORS, Mirrors

DEFAULT_CHANNELS = {"main": "http://127.0.0.1:8710/main"}
_KEYS = {"cache", "prefixes", "channels", "mirrors"}


class SettingsError(SluiceError):
    """A setting is not what it should be."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Resolved settings.

    `cache` may be deleted at any time; `prefixes` holds realised environments; `channels` gives
    the URLs of channels that environments name; `mirrors` says where packages are fetched from in
    place of the URLs that locks name.
    """

    cache: Path
    prefixes: Path
    channels: Mapping[str, str] = field(default_factory=dict)
    mirrors: Mirrors = NO_MIRRORS

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, **flags: Any) -> Self:  # noqa: ANN401 - per setting
        """Resolve every setting; a flag that is None was not given.

        Raises:
            SettingsError: naming the file or variable and what was expected there.
            MirrorError: a mirror is not two URLs.

        """
        file = _toml(
            Path(environ.get("SLUICE_CONFIG") or platformdirs.user_config_path("sluice") / "config.toml")
        )

        def pick(name: str, default: Path) -> Path:
            value = flags.get(name) or environ.get(f"SLUICE_{name.upper()}") or file.get(name)
            return Path(value).expanduser().absolute() if value else default

        channels = {**DEFAULT_CHANNELS, **file.get("channels", {})}
        channels.update(_pairs(environ.get("SLUICE_CHANNELS", "").split(), "SLUICE_CHANNELS"))
        channels.update(_pairs(flags.get("channels") or (), "--channel"))
        mirrors = {
            **Mirrors.of(file.get("mirrors", {}), "mirrors").places,
            **Mirrors.of(
                _pairs(environ.get("SLUICE_MIRRORS", "").split(), "SLUICE_MIRRORS", "OLD=NEW"),
                "SLUICE_MIRRORS",
            ).places,
            **Mirrors.of(_pairs(flags.get("mirrors") or (), "--mirror", "OLD=NEW"), "--mirror").places,
        }
        return cls(
            pick("cache", platformdirs.user_cache_path("sluice")),
            pick("prefixes", platformdirs.user_data_path("sluice") / "prefixes"),
            channels,
            Mirrors(mirrors),
        )


def _pairs(texts: Any, where: str, form: str = "NAME=URL") -> dict[str, str]:  # noqa: ANN401 - an iterable of texts
    pairs = {}
    for text in texts:
        name, equals, url = text.partition("=")
        if not (name and equals and url):
            raise SettingsError(f"{where}: expected {form}, got {text[:200]!r}")
        pairs[name] = url
    return pairs


def _toml(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error
    if unknown := sorted(document.keys() - _KEYS):
        raise SettingsError(f"{path}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(_KEYS))}")
    for key, of in (("channels", "names and URLs"), ("mirrors", "URLs and URLs")):
        table = document.get(key, {})
        if not isinstance(table, dict) or not all(isinstance(url, str) for url in table.values()):
            raise SettingsError(f"{path}: {key!r} must be a table of {of}")
    for key in ("cache", "prefixes"):
        if not isinstance(document.get(key, ""), str):
            raise SettingsError(f"{path}: {key!r} must be a path")
    return document
