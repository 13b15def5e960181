"""BentoML: `bentoml serve bentoml_app:Peer`."""

from __future__ import annotations

import os
from typing import Any

import bentoml
from predictor import MAX_BATCH, Predictor

BATCHES = bool(os.environ.get("PEER_MODEL"))


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Peer:
    """Rows in, answers out."""

    def __init__(self) -> None:
        """Load the model."""
        self._predictor = Predictor()

    @bentoml.api(batchable=BATCHES, max_batch_size=MAX_BATCH, max_latency_ms=1000)
    def predict(self, rows: list[Any]) -> list[Any]:
        """Answer; rows of several requests come together where they are batched."""
        return self._predictor(rows)
