"""The one root of every error that `sluice` raises on purpose."""


class SluiceError(Exception):
    """Sluice could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        """Take what was wrong, where, and what to do next; by default the first line of the docstring."""
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
