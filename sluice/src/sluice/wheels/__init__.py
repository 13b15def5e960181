"""Pinned wheels into conda packages of reproducible bytes."""

from sluice.wheels.convert import convert
from sluice.wheels.errors import PinError, RequirementError, WheelError, WheelSetError
from sluice.wheels.importing import Imported, import_set, import_sets
from sluice.wheels.manifest import PinnedWheel, WheelSet, load
from sluice.wheels.target import Target

__all__ = [
    "Imported",
    "PinError",
    "PinnedWheel",
    "RequirementError",
    "Target",
    "WheelError",
    "WheelSet",
    "WheelSetError",
    "convert",
    "import_set",
    "import_sets",
    "load",
]
