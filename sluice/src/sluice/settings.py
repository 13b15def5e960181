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

DEFAULT_CHANNELS = {"main": "http://127.0.0.1:8710/main"}
_KEYS = {"cache", "prefixes", "channels"}


class SettingsError(SluiceError):
    """A setting is not what it should be."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Resolved settings.

    `cache` may be deleted at any time; `prefixes` holds realised environments; `channels` gives
    the URLs of channels that environments name.
    """

    cache: Path
    prefixes: Path
    channels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, **flags: Any) -> Self:  # noqa: ANN401 - per setting
        """Resolve every setting; a flag that is None was not given.

        Raises:
            SettingsError: naming the file or variable and what was expected there.

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
        return cls(
            pick("cache", platformdirs.user_cache_path("sluice")),
            pick("prefixes", platformdirs.user_data_path("sluice") / "prefixes"),
            channels,
        )


def _pairs(texts: Any, where: str) -> dict[str, str]:  # noqa: ANN401 - an iterable of texts
    pairs = {}
    for text in texts:
        name, equals, url = text.partition("=")
        if not (name and equals and url):
            raise SettingsError(f"{where}: expected NAME=URL, got {text[:200]!r}")
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
    channels = document.get("channels", {})
    if not isinstance(channels, dict) or not all(isinstance(url, str) for url in channels.values()):
        raise SettingsError(f"{path}: 'channels' must be a table of names and URLs")
    for key in ("cache", "prefixes"):
        if not isinstance(document.get(key, ""), str):
            raise SettingsError(f"{path}: {key!r} must be a path")
    return document
