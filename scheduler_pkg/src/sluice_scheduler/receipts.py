"""Makes the receipt of an answer."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from sluice.digest import Digest, DigestError
from sluice.receipt import Answer
from sluice.receipt.answer import moment
from sluice.receipt.dsse import Envelope
from sluice.receipt.form import Form
from sluice.receipt.statement import PAYLOAD_TYPE
from sluice_scheduler.job import Job, Provenance
from sluice_scheduler.keys import Keys

DISTRIBUTION: Final = "sluice-scheduler"
MAX_FORMS: Final = 256  # deployments' models whose receipts' common parts are remembered
MAX_RECORD: Final = 64 << 20  # bytes of one conda-meta record


@dataclass(frozen=True, slots=True)
class Identity:
    """Which scheduler answers."""

    version: str
    package: Digest | None  # sha256 of its conda package; None where it was not installed from one


def identity(prefix: Path | None = None) -> Identity:
    """Say which scheduler this process is, by the records of the prefix it runs in."""
    folder = (prefix or Path(sys.prefix)) / "conda-meta"
    return Identity(metadata.version(DISTRIBUTION), _package(folder))


def answer(
    job: Job, provenance: Provenance, *, package: str, output: Digest, finished: float, by: Identity
) -> Answer:
    """Say what a leased job was answered with and under. Pure."""
    assert job.started_at is not None
    return Answer(
        task=job.id,
        model=job.model,
        environment=job.lane,
        deterministic=provenance.deterministic,
        enqueued=moment(job.enqueued_at),
        started=moment(job.started_at),
        finished=moment(finished),
        lock=provenance.environment,
        lock_url=provenance.lock_url,
        tree=provenance.tree,
        package=package,
        package_digest=provenance.model,
        profile=provenance.profile,
        profile_document=provenance.profile_document,
        input=job.input_digest,
        output=output,
        scheduler=DISTRIBUTION,
        scheduler_version=by.version,
        scheduler_digest=by.package,
        bucket=provenance.bucket,
    )


class Issuer:
    """Signs answers with the state folder's key."""

    def __init__(self, keys: Keys, by: Identity) -> None:
        self._keys = keys
        self._by = by
        self._forms: dict[tuple[object, ...], Form] = {}  # by what answers have in common

    def issue(self, job: Job, provenance: Provenance, *, package: str, finished: float) -> bytes:
        """Make the receipt of a leased job's answer; `finished` is when, in seconds since the epoch."""
        assert provenance.output is not None
        assert job.started_at is not None
        statement = self._form(job, provenance, package).statement(
            task=job.id,
            enqueued=moment(job.enqueued_at),
            started=moment(max(job.enqueued_at, job.started_at)),  # it may arrive while a lease is under way
            finished=moment(finished),
            input=job.input_digest,
            output=provenance.output,
        )
        return Envelope.sign(statement, PAYLOAD_TYPE, self._keys.ring.private).to_bytes()

    def _form(self, job: Job, provenance: Provenance, package: str) -> Form:
        shared = (
            job.model,
            job.lane,
            package,
            provenance.environment.hex,
            provenance.tree.hex,
            provenance.model.hex,
            provenance.profile.hex,
            provenance.lock_url,
            provenance.bucket,
            provenance.deterministic,
        )
        found = self._forms.get(shared)
        if found is None:
            if len(self._forms) == MAX_FORMS:
                self._forms.clear()
            assert provenance.output is not None
            sample = answer(
                job, provenance, package=package, output=provenance.output, finished=0.0, by=self._by
            )
            found = self._forms[shared] = Form(sample)
        return found


def _package(folder: Path) -> Digest | None:
    for path in sorted(folder.glob(f"{DISTRIBUTION}-*.json")):
        try:
            if path.stat().st_size <= MAX_RECORD:
                record = json.loads(path.read_bytes())
                if record["name"] == DISTRIBUTION:
                    return Digest(record["sha256"])
        except (OSError, ValueError, KeyError, TypeError, DigestError):
            continue  # a record that says nothing is no reason not to answer
    return None
