"""What a receipt says of an answer: our predicate, version 1. Pure.

docs/reference/receipts.md describes every field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from sluice.digest import Digest
from sluice.receipt.errors import ReceiptError
from sluice.receipt.fields import Fields
from sluice.receipt.statement import Statement

PREDICATE_TYPE: Final = "urn:sluice:answer:v1"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a scheduler, and every link it was made under."""

    task: str
    model: str
    environment: str
    deterministic: bool  # whether the deployment promises the same bytes again
    enqueued: datetime  # UTC, to the microsecond, as the two below
    started: datetime
    finished: datetime
    lock: Digest  # sha256 of the lock's text
    lock_url: str
    tree: Digest
    package: str  # file name of the model's package
    package_digest: Digest
    profile: Digest
    profile_document: Mapping[str, int | str | bool]
    input: Digest
    output: Digest
    scheduler: str  # the distribution that answered
    scheduler_version: str
    scheduler_digest: Digest | None = None  # of its conda package; None where it was not installed from one
    bucket: str | None = None  # the shape it was computed in, `rows=8` or `request`; older receipts name none

    def statement(self) -> Statement:
        """Say it as an in-toto statement about the output."""
        scheduler: dict[str, Any] = {"name": self.scheduler, "version": self.scheduler_version}
        if self.scheduler_digest is not None:
            scheduler["digest"] = _set(self.scheduler_digest)
        deployment: dict[str, Any] = {
            "environment": self.environment,
            "lock": {"uri": self.lock_url, "digest": _set(self.lock)},
            "tree": {"digest": _set(self.tree)},
            "model": {"name": self.package, "digest": _set(self.package_digest)},
            "profile": {"content": dict(self.profile_document), "digest": _set(self.profile)},
        }
        if self.bucket is not None:
            deployment["bucket"] = self.bucket
        return Statement(
            f"{self.model}/{self.task}",
            self.output,
            PREDICATE_TYPE,
            {
                "task": self.task,
                "model": self.model,
                "deterministic": self.deterministic,
                "times": {
                    "enqueued": spelled(self.enqueued),
                    "started": spelled(self.started),
                    "finished": spelled(self.finished),
                },
                "deployment": deployment,
                "input": {"digest": _set(self.input)},
                "output": {"digest": _set(self.output)},
                "scheduler": scheduler,
            },
        )

    @classmethod
    def parse(cls, statement: Statement) -> Self:
        """Read a statement; fields this version does not know are ignored.

        Raises:
            ReceiptError: it is of another kind or version, incomplete, or not about the output it names.

        """
        if statement.predicate_type != PREDICATE_TYPE:
            raise ReceiptError(
                f"a statement of type {statement.predicate_type[:80]!r}; this sluice reads {PREDICATE_TYPE}"
            )
        fields = Fields(statement.predicate, "predicate")
        deployment, times = fields.inside("deployment"), fields.inside("times")
        lock, package = deployment.inside("lock"), deployment.inside("model")
        profile, scheduler = deployment.inside("profile"), fields.inside("scheduler")
        answer = cls(
            task=fields.text("task"),
            model=fields.text("model"),
            environment=deployment.text("environment"),
            deterministic=fields.boolean("deterministic"),
            enqueued=times.moment("enqueued"),
            started=times.moment("started"),
            finished=times.moment("finished"),
            lock=lock.sha256("digest"),
            lock_url=lock.text("uri"),
            tree=deployment.inside("tree").sha256("digest"),
            package=package.text("name"),
            package_digest=package.sha256("digest"),
            profile=profile.sha256("digest"),
            profile_document=profile.object("content"),
            input=fields.inside("input").sha256("digest"),
            output=fields.inside("output").sha256("digest"),
            scheduler=scheduler.text("name"),
            scheduler_version=scheduler.text("version"),
            scheduler_digest=scheduler.sha256("digest") if scheduler.has("digest") else None,
            bucket=deployment.text("bucket") if deployment.has("bucket") else None,
        )
        if answer.output != statement.sha256:
            raise ReceiptError("receipt: its subject is not the output that its predicate describes")
        return answer


def moment(seconds: float) -> datetime:
    """Turn seconds since the epoch into what a receipt holds."""
    return datetime.fromtimestamp(seconds, UTC)


def spelled(time: datetime) -> str:
    """Write a time as a receipt has it: RFC 3339, UTC, to the microsecond."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _set(digest: Digest) -> dict[str, str]:
    return {"sha256": digest.hex}
