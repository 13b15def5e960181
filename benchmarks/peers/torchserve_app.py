"""TorchServe: a handler without a model archive's own model; it loads what `PEER_MODEL` names."""

from __future__ import annotations

import json
from typing import Any

from predictor import Predictor


class Handler:
    """Rows of several requests in, one answer each out."""

    def __init__(self) -> None:
        """Make it without a model."""
        self._predictor: Predictor | None = None

    def initialize(self, context: object) -> None:
        """Load the model."""
        del context
        self._predictor = Predictor()

    def handle(self, data: list[dict[str, Any]], context: object) -> list[dict[str, Any]]:
        """Answer a batch."""
        del context
        assert self._predictor is not None
        bodies = [item.get("body") or item.get("data") for item in data]
        rows = [(body if isinstance(body, dict) else json.loads(body))["row"] for body in bodies]
        return [{"row": answer} for answer in self._predictor(rows)]
