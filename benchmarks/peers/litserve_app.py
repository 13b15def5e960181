"""LitServe: `python litserve_app.py PORT`."""

import os
import sys
from typing import Any

import litserve
from fastapi import Request
from predictor import BATCH_WAIT, MAX_BATCH, Predictor


class Api(litserve.LitAPI):
    """One row in, one answer out; rows run together where there is a model."""

    def setup(self, device: str) -> None:
        """Load the model."""
        del device
        self._predictor = Predictor()

    def decode_request(self, request: Request, **_: object) -> Any:  # noqa: ANN401 - a row
        """Take the row out of what LitServe has read by now: it looks at the annotation, whatever it gives."""
        content: Any = request
        return content["row"]

    def predict(self, x: Any, **_: object) -> Any:  # noqa: ANN401 - a row, or a list of them
        """Answer."""
        return self._predictor(x) if self.max_batch_size > 1 else self._predictor([x])[0]

    def encode_response(self, output: Any, **_: object) -> dict[str, Any]:  # noqa: ANN401 - an answer
        """Put the answer in."""
        return {"row": output}


if __name__ == "__main__":
    together = MAX_BATCH if os.environ.get("PEER_MODEL") else 1
    api = Api(max_batch_size=together, batch_timeout=BATCH_WAIT)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=60)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="error")
