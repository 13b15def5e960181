"""Which old shards may go (CEP 16): a client that has just read an index must still find its shards."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

KEEP = 86400.0  # seconds after an index last named it


@dataclass(frozen=True, slots=True)
class Retirement:
    """What to remove now, and since when the rest of the unnamed shards has been unnamed."""

    remove: frozenset[str]
    retired: Mapping[str, float]  # shard -> seconds since the epoch


def retire(
    present: AbstractSet[str], named: AbstractSet[str], retired: Mapping[str, float], now: float
) -> Retirement:
    """Decide from the shards that are there, those the index names, and what the last run returned."""
    since = {shard: retired.get(shard, now) for shard in sorted(present - named)}
    remove = frozenset(shard for shard, then in since.items() if not now - KEEP <= then <= now)
    return Retirement(remove, {shard: then for shard, then in since.items() if shard not in remove})
