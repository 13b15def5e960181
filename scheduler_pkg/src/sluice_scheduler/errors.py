"""The one root of every error that `sluice_scheduler` raises on purpose, and the kinds HTTP tells apart."""

from __future__ import annotations

from sluice.errors import SluiceError


class SchedulerError(SluiceError):
    """The scheduler could not do what was asked."""


class RequestError(SchedulerError):
    """The request is not one the scheduler takes; the message says what was expected."""


class TooLargeError(RequestError):
    """The request is larger than this scheduler takes."""


class UnknownModelError(RequestError):
    """No model of this name and version is served here."""


class ConflictError(RequestError):
    """The idempotency key stood for another request; take a new key for a new request."""


class UnsupportedError(SchedulerError):
    """The protocol knows this, but this scheduler does not do it."""


class ExpiredError(SchedulerError):
    """The task did not start within its timeout and was cancelled."""


class RefusedError(SchedulerError):
    """The scheduler does not take this task now."""

    def __init__(self, message: str | None = None, *, retry_after: int = 5) -> None:
        """Take also after how many seconds it is worth another try."""
        super().__init__(message)
        self.retry_after = retry_after


class QuotaError(RefusedError):
    """Too many tasks of this tenant are queued; wait for some to end."""


class FullError(RefusedError):
    """The lane is full; try again later."""


class LateError(RefusedError):
    """The task is predicted to end after its deadline."""


class UnknownTaskError(SchedulerError):
    """No task has this id; `sluice scheduler status` lists the latest ones."""


class TransitionError(SchedulerError):
    """A task's state does not allow this."""


class LeaseLostError(SchedulerError):
    """The task was leased again, cancelled or ended meanwhile; this answer is dropped."""


class QueueError(SchedulerError):
    """The queue could not be read or written; look at the state folder's disk."""


class BlobError(QueueError):
    """A task's payload is missing or damaged; submit the task again."""


class DrainingError(SchedulerError):
    """The scheduler is stopping and takes no more tasks; submit again once it is back."""


class ChannelError(SchedulerError):
    """The channel did not give what was asked of it."""


class DeploymentError(SchedulerError):
    """An environment of the channel could not be made ready to serve."""


class PrefixDiffersError(DeploymentError):
    """A prefix that was realised before is not what its lock says any more."""


class WorkerError(SchedulerError):
    """A worker process ended or spoke out of turn."""


class SettingsError(SchedulerError):
    """A setting has a value the scheduler does not take."""


class DaemonError(SchedulerError):
    """The scheduler could not start."""


class KeyRingError(SchedulerError):
    """The keys that receipts are signed with cannot be used; look at the state folder's keys.json."""


class ClientError(SchedulerError):
    """The scheduler did not answer as expected."""


class NotReadyError(SchedulerError):
    """The scheduler is still making its environments ready."""


class CrowdedError(SchedulerError):
    """Too many clients follow the scheduler's events; ask for tasks with ?wait= instead, or try again later."""


class ApiKeyError(SchedulerError):
    """An API key cannot be made, found or read."""


class ReloadError(SchedulerError):
    """The configuration cannot be changed like this while the scheduler runs; nothing was changed."""


class ForbiddenError(SchedulerError):
    """The API key does not allow this."""


class UnknownEnvironmentError(SchedulerError):
    """No environment of this name is served here."""


class OrderError(SchedulerError):
    """The environment's deployment cannot be changed like this now."""
