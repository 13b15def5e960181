"""Stand-ins for the two names that conda-index 0.13 imports from conda without requiring it.

conda is not on PyPI. Where the real one can be imported it is used; else two tiny modules take its
place in this process only. See docs/decisions/0006-channel.md.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import rattler

from sluice_channel import subdir


def supply() -> bool:
    """Make `import conda_index` work in this process; True when the real conda does it."""
    try:
        importlib.import_module("conda.models.version")
        importlib.import_module("conda.base.constants")
    except ImportError:
        # rattler orders versions as conda does.
        _stand_in("conda.models.version", VersionOrder=rattler.Version)
        _stand_in("conda.base.constants", PLATFORM_DIRECTORIES=tuple(sorted(subdir.KNOWN)))
        return False
    return True


def _stand_in(dotted: str, **names: object) -> None:
    parent: ModuleType | None = None
    path = ""
    for part in dotted.split("."):
        path = f"{path}.{part}" if path else part
        module = sys.modules.get(path)
        if module is None:
            module = ModuleType(path, "A stand-in for conda; see sluice_channel.indexers.conda_names.")
            module.__path__ = []
            sys.modules[path] = module
        if parent is not None:
            setattr(parent, part, module)
        parent = module
    assert parent is not None
    for name, value in names.items():
        setattr(parent, name, value)
