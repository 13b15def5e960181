"""MLServer: `mlserver start FOLDER`; the folder's model-settings.json names this runtime."""

from __future__ import annotations

from typing import Any

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from predictor import Predictor


class Runtime(MLModel):  # type: ignore[misc] # untyped where this is checked
    """Rows are one input: texts for minilm, else FP32."""

    async def load(self) -> bool:
        """Load the model."""
        self._predictor = Predictor()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer all rows of a request."""
        import numpy as np  # noqa: PLC0415 - of the peer's environment

        given = payload.inputs[0]
        rows: list[Any]
        if given.datatype == "BYTES":
            rows = list(StringCodec.decode_input(given))
        else:
            rows = NumpyCodec.decode_input(given).tolist()
        answers = np.asarray(self._predictor(rows), dtype=np.float32)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("row", answers)])
