"""A lock and everything it needs in one file, and such a file as a channel again."""

from sluice.bundle.contents import BundleError
from sluice.bundle.pack import pack
from sluice.bundle.unpack import Unpacked, unpack

__all__ = ["BundleError", "Unpacked", "pack", "unpack"]
