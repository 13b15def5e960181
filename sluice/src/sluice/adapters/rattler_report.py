"""What rattler tells while it installs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from rattler import InstallerReporter

from sluice import confined
from sluice.confined import ConfinedError
from sluice.progress import Step


class Reporter(InstallerReporter):
    """Passes rattler's progress on, and looks at packages between their extraction and their linking.

    rattler waits for a report to return, and ignores what it raises: a package that is refused is removed.
    """

    refused: ConfinedError | None = None

    def __init__(self, step: Step, folders: Mapping[str, Path]) -> None:
        self._step = step
        self._folders = folders
        self._names: dict[int, str] = {}

    def on_populate_cache_start(self, operation: int, package_name: str) -> int:
        """Show which package is fetched."""
        self._step.describe(package_name)
        self._names[operation] = package_name
        return operation

    def on_populate_cache_complete(self, cache_entry: int) -> None:
        """Look at what was extracted."""
        folder = self._folders[self._names[cache_entry]]
        try:
            confined.check(folder)
        except ConfinedError as error:
            self.refused = error
            shutil.rmtree(folder)

    def on_transaction_operation_complete(self, operation: int) -> None:  # noqa: ARG002 - rattler's name
        """Count a package as installed."""
        self._step.advance()
