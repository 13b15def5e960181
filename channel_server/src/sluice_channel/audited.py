"""A catalogue and a registry whose changes are written into the audit log, in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from sluice_channel import audit
from sluice_channel.catalogue import Catalogue, ChannelState, Generation
from sluice_channel.entry import Change, Yank
from sluice_channel.ledger import Ledger
from sluice_channel.registry import Registration, Registry, Version


class AuditedCatalogue:
    """A catalogue with a line for every generation; for everything else it is the one behind it."""

    def __init__(self, catalogue: Catalogue, ledger: Ledger, now: Callable[[], int]) -> None:
        self._catalogue = catalogue
        self._ledger = ledger
        self._now = now

    def create(self, channel: str, *, private: bool = False, now: int) -> ChannelState:
        """Make a channel; see the port."""
        with self._ledger.together():
            known = any(state.name == channel for state in self._catalogue.channels())
            state = self._catalogue.create(channel, private=private, now=now)
            if not known:
                detail = "private" if private else ""
                audit.record(
                    self._ledger, audit.acting(), "channel create", now=now, channel=channel, detail=detail
                )
            return state

    def set_private(self, channel: str, *, private: bool) -> None:
        """Say whether strangers may know of a channel; see the port."""
        with self._ledger.together():
            if self._catalogue.channel(channel).private == private:
                return
            self._catalogue.set_private(channel, private=private)
            action = "channel private" if private else "channel public"
            audit.record(self._ledger, audit.acting(), action, now=self._now(), channel=channel)

    def change(self, channel: str, changes: Sequence[Change], *, now: int) -> Generation | None:
        """Make one generation of some changes; see the port."""
        with self._ledger.together():
            made = self._catalogue.change(channel, changes, now=now)
            if made is not None:
                kinds = {str(change.event()[0]) for change in changes}
                only = changes[0] if len(changes) == 1 else None
                said = only.reason if isinstance(only, Yank) else "" if only else f"{len(changes)} packages"
                audit.record(
                    self._ledger,
                    audit.acting(),
                    kinds.pop() if len(kinds) == 1 else "change",
                    now=now,
                    channel=channel,
                    package="/".join(only.key) if only else "",
                    generation=made.number,
                    detail=f"{made.digest} {said}".strip(),
                )
            return made

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the catalogue has
        return getattr(self._catalogue, name)


class AuditedRegistry:
    """A registry with a line for every new version of an environment."""

    def __init__(self, registry: Registry, ledger: Ledger) -> None:
        self._registry = registry
        self._ledger = ledger

    def register(self, channel: str, registration: Registration, *, now: int) -> tuple[Version, bool]:
        """Make a version; see the port."""
        with self._ledger.together():
            version, changed = self._registry.register(channel, registration, now=now)
            if changed:
                audit.record(
                    self._ledger,
                    audit.acting(),
                    "register",
                    now=now,
                    channel=channel,
                    package=f"env:{registration.name}",
                    generation=version.generation,
                    detail=f"{version.lock} version {version.number}",
                )
            return version, changed

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the registry has
        return getattr(self._registry, name)


def audited(catalogue: Catalogue, ledger: Ledger, now: Callable[[], int]) -> Catalogue:
    """Write down the changes of a catalogue that are made through what this returns; both lie in one file."""
    return cast("Catalogue", AuditedCatalogue(catalogue, ledger, now))


def audited_registry(registry: Registry, ledger: Ledger) -> Registry:
    """Write down the registrations that are made through what this returns; both lie in one file."""
    return cast("Registry", AuditedRegistry(registry, ledger))
