"""A job's provenance as the text a store keeps."""

from __future__ import annotations

import orjson

from sluice.digest import Digest
from sluice_scheduler.job import Provenance

_DIGESTS = ("environment", "tree", "model", "profile", "output")


def to_text(provenance: Provenance) -> str:
    """Write it as one line of JSON."""
    digests = {name: getattr(provenance, name) for name in _DIGESTS}
    return orjson.dumps(
        {
            **{name: digest.hex if digest else None for name, digest in digests.items()},
            "lock_url": provenance.lock_url,
            "profile_document": provenance.profile_document,
            "bucket": provenance.bucket,
            "deterministic": provenance.deterministic,
        }
    ).decode()


def from_text(text: str) -> Provenance:
    """Read what `to_text` wrote."""
    document = orjson.loads(text)
    for name in _DIGESTS:
        document[name] = Digest(document[name]) if document[name] else None
    # Before there were buckets the profile alone decided what is promised.
    document.setdefault("deterministic", document["profile_document"].get("deterministic") is True)
    return Provenance(**document)
