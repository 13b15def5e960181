"""What can be wrong with a wheel, or with a set of them."""

from __future__ import annotations

from sluice.errors import SluiceError


class WheelError(SluiceError):
    """The wheel cannot become a conda package."""

    def __init__(self, wheel: str, reason: str) -> None:
        """Take the wheel's file name and what is wrong with it, in a few words."""
        super().__init__(f"{wheel}: {reason}")
        self.wheel = wheel
        self.reason = reason

    def __reduce__(self) -> tuple[type[WheelError], tuple[str, str]]:
        """Cross a process boundary whole: conversions run in processes of their own."""
        return type(self), (self.wheel, self.reason)


class RequirementError(SluiceError):
    """A Python requirement has no conda equivalent."""


class WheelSetError(SluiceError):
    """A wheels.toml does not say what it should."""


class PinError(SluiceError):
    """The requirements could not be resolved to wheels for the target."""
