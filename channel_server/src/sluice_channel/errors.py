"""Every error the channel raises on purpose; `problems` maps those a client may see to a status."""

from __future__ import annotations

from sluice.errors import SluiceError


class ChannelError(SluiceError):
    """The channel could not do what was asked."""


class NoChannelError(ChannelError):
    """There is no channel of this name."""


class NotServedError(ChannelError):
    """The channel has no such file."""


class UnreadableError(ChannelError):
    """A file of the channel cannot be read now; try again."""


class NoEnvironmentError(ChannelError):
    """The channel has no such environment."""


class NoPackageError(ChannelError):
    """The channel has no such package."""


class NoGenerationError(ChannelError):
    """The channel has no such generation."""


class ConflictError(ChannelError):
    """What was sent contradicts what the channel has; nothing was changed."""


class UnauthorizedError(ChannelError):
    """A token is needed; send one."""


class ForbiddenError(ChannelError):
    """The token does not allow this."""


class TooManyAttemptsError(ChannelError):
    """Too many attempts to sign in failed; try again later."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many attempts to sign in failed; try again in {retry_after} s")
        self.retry_after = retry_after  # seconds


class PackageError(ChannelError):
    """The file cannot be published as a package; build it again."""


class NoticeError(ChannelError):
    """The notices cannot be read; see CEP 6."""


class InstructionsError(ChannelError):
    """The patch instructions cannot be applied; nothing was changed."""


class ExchangeError(ChannelError):
    """The channel could not be imported or exported."""


class UploadError(ChannelError):
    """What was uploaded cannot be used; send it again."""


class OffsetError(UploadError):
    """An upload stands at another byte; ask where, and go on from there."""


class OverloadedError(ChannelError):
    """The server has as many uploads as it can take; try again in a moment."""


class FullError(ChannelError):
    """The channel's disk is too full for this; nothing was changed."""


class MirrorError(ChannelError):
    """A mirror's upstream could not be used."""


class CatalogueError(ChannelError):
    """The catalogue cannot be used now; try again."""


class IndexingError(ChannelError):
    """The channel could not be indexed; its old index is in place."""


class BusyError(ChannelError):
    """Another process is at work in this channel directory; run the command again when it has ended."""


class RegistrationError(ChannelError):
    """The environment could not be registered."""


class AdvisoryError(ChannelError):
    """A vulnerability database is a zip file or a folder of documents in the OSV format."""


class NoAdvisoriesError(ChannelError):
    """No vulnerability database is here; load one with `sluice channel vulnerabilities load ROOT osv.zip`."""


class ListenError(ChannelError):
    """The server could not listen on the address."""
