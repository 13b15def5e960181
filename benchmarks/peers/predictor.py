"""What every peer's app runs: nothing at all, or one of the quickstart's models. Standard library and torch only.

`PEER_MODEL` is a model package's folder, or empty for rows that come back as they are.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

MAX_BATCH = 8  # rows; what the models' packages say
BATCH_WAIT = 0.0  # seconds; no peer is made to wait for company

Row = Any
"""A text for minilm, 64 numbers for digits, anything for the app that does nothing."""


class Predictor:
    """Answers a batch of rows, one answer each."""

    def __init__(self) -> None:
        """Load the model."""
        self._model: Any = None
        folder = os.environ.get("PEER_MODEL", "")
        self._name = Path(folder).name
        if folder:
            import torch  # noqa: PLC0415 - the app that does nothing needs none

            torch.set_num_threads(1)  # as a Sluice worker
            torch.set_grad_enabled(False)
            sys.path.append(folder)
            self._model = importlib.import_module(f"{self._name}_model").load(Path(folder))

    def __call__(self, rows: list[Row]) -> list[Any]:
        """Return the rows' answers, as what JSON can say."""
        if self._name == "minilm":
            return self._all(self._model.predict({"text": [row.encode() for row in rows]})["embedding"])
        if self._name == "digits":
            import torch  # noqa: PLC0415 - as above

            pixels = torch.tensor(rows, dtype=torch.float32).view(-1, 1, 8, 8)
            return self._all(self._model.predict({"pixels": pixels})["probabilities"])
        return rows

    @staticmethod
    def _all(tensor: Any) -> list[Any]:  # noqa: ANN401 - of the peer's torch
        return list(tensor.tolist())
