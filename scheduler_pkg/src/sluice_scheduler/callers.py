"""Who asks, and what they may do. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sluice_scheduler import policy

TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Scope(StrEnum):
    """What a caller may do."""

    INFER = "infer"  # ask for an answer and wait for it
    SUBMIT = "submit"  # queue tasks, cancel them and try them again
    READ = "read"  # look at models, tasks, statistics
    ADMIN = "admin"  # all of it, of every tenant


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is. As it stands: whoever reaches a scheduler that has no API keys."""

    tenant: str = ""
    ceiling: int = policy.HIGHEST  # the most urgent priority that the caller's tasks have
    scopes: frozenset[Scope] = frozenset(Scope)
    key: str = ""  # the id of the API key, empty where there was none

    def may(self, scope: Scope) -> bool:
        """Whether something is allowed."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def sees(self, tenant: str) -> bool:
        """Whether a tenant's tasks are the caller's business."""
        return tenant == self.tenant or Scope.ADMIN in self.scopes

    @property
    def only(self) -> str | None:
        """The one tenant whose tasks the caller sees; None: all."""
        return None if Scope.ADMIN in self.scopes else self.tenant

    def priority(self, asked: int) -> int:
        """Give the priority that a task asked for, or the most urgent one that is allowed."""
        return max(asked, self.ceiling)


ANYONE: Final = Caller()
NOBODY: Final = Caller(scopes=frozenset())
