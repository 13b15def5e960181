"""Build, lock, realise and verify conda environments whose answers can be replayed byte for byte."""

from importlib.metadata import version

__version__ = version("sluice")
