"""Errors as statuses of gRPC: one table over that of HTTP.

https://grpc.github.io/grpc/core/md_doc_statuscodes.html
"""

from __future__ import annotations

from typing import Final

from grpc import StatusCode

from sluice.errors import SluiceError
from sluice_scheduler.api import problems
from sluice_scheduler.errors import ExpiredError, RefusedError, UnknownModelError

CODES: Final = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    409: StatusCode.FAILED_PRECONDITION,
    413: StatusCode.RESOURCE_EXHAUSTED,
    422: StatusCode.ALREADY_EXISTS,
    429: StatusCode.RESOURCE_EXHAUSTED,
    500: StatusCode.INTERNAL,
    501: StatusCode.UNIMPLEMENTED,
    502: StatusCode.UNAVAILABLE,
    503: StatusCode.UNAVAILABLE,
}
MAX_DETAILS: Final = 1000  # characters: escaped, they fit into the 8 KB of trailers that every client takes


class Problem(Exception):  # noqa: N818 - it is an answer
    """A request that cannot be answered as it was asked."""

    def __init__(
        self, status: int, told: str, *, code: StatusCode | None = None, retry_after: int | None = None
    ) -> None:
        """Take the status of HTTP that means the same, and one of gRPC where that says more."""
        super().__init__(told)
        self.status = status
        self.code = code or CODES[status]
        self.details = " ".join(told.split())[:MAX_DETAILS]
        self.trailers = (("retry-after", str(retry_after)),) if retry_after else ()  # seconds, as in HTTP


def problem(error: SluiceError) -> Problem:
    """Find the statuses of an error."""
    if isinstance(error, UnknownModelError):  # the message that names it is the path
        return Problem(404, str(error))
    status = problems.status_of(error)
    code = StatusCode.DEADLINE_EXCEEDED if isinstance(error, ExpiredError) else None
    wait = error.retry_after if isinstance(error, RefusedError) else None
    return Problem(status, str(error), code=code, retry_after=wait)
