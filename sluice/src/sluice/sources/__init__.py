"""Pinned sources: what to fetch, how it can be had, and the store that keeps it under its digest."""

from sluice.sources.source import DebianSource, Pip, Source, SourceError, Url, Way, WrongDigestError
from sluice.sources.store import Store

__all__ = ["DebianSource", "Pip", "Source", "SourceError", "Store", "Url", "Way", "WrongDigestError"]
