"""Ray Serve: `python ray_app.py PORT`."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import ray
from predictor import BATCH_WAIT, MAX_BATCH, Predictor
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1})
class Peer:
    """One row in, one answer out; rows run together where there is a model."""

    def __init__(self) -> None:
        """Load the model."""
        self._predictor = Predictor()
        self._batches = bool(os.environ.get("PEER_MODEL"))

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=BATCH_WAIT)
    async def together(self, rows: list[Any]) -> list[Any]:
        """Answer a batch."""
        return self._predictor(rows)

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Answer a request."""
        row = (await request.json())["row"]
        return {"row": await self.together(row) if self._batches else self._predictor([row])[0]}


if __name__ == "__main__":
    variables = {key: os.environ[key] for key in ("PEER_MODEL", "PYTHONPATH") if key in os.environ}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": variables})
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Peer.bind(), route_prefix="/")
    while True:
        time.sleep(60)
