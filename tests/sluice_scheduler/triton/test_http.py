"""What is particular to NVIDIA's clients for HTTP."""

from contextlib import closing

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

ENVIRONMENT = "test-echo-pt213-cpu"
pytestmark = pytest.mark.parametrize("spoken", ["HTTP"], indirect=True)


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("echo")
    assert client.is_model_ready("echo", "1.0.0")
    assert not client.is_model_ready("nothing")
    assert "statistics" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("mirror")
    assert metadata["versions"] == ["2.1"]
    assert {"name": "half", "datatype": "FP16", "shape": [-1], "optional": True} in metadata["inputs"]


def test_repository_and_statistics(client, spoken):
    index = client.get_model_repository_index()
    assert [(item["name"], item["state"]) for item in index] == [("echo", "READY"), ("mirror", "READY")]
    (before,) = client.get_inference_statistics("echo", "1.0.0")["model_stats"]
    client.infer("echo", [spoken.texts(b"a", b"b")])
    (after,) = client.get_inference_statistics("echo")["model_stats"]
    assert after["inference_count"] == before["inference_count"] + 2
    assert after["execution_count"] == before["execution_count"] + 1
    assert len(client.get_inference_statistics()["model_stats"]) == 2


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("answered", [True, False, None])
def test_texts_come_back(client, spoken, binary, answered):
    outputs = None if answered is None else [spoken.api.InferRequestedOutput("text", binary_data=answered)]
    result = client.infer(
        "echo", [spoken.texts(b"one", "zwei\u00e4".encode(), binary_data=binary)], outputs=outputs
    )
    given = [
        element if isinstance(element, bytes) else element.encode() for element in result.as_numpy("text")
    ]
    assert given == [b"ONE", "ZWEI\u00e4".encode()]


def test_several_tensors_mixed(client, spoken):
    real, rows = np.array([1.0, 2.5]), np.array([[1, 2], [3, 4]], np.int32)
    inputs = [spoken.tensor("real", real, "FP64", binary_data=False), spoken.tensor("rows", rows, "INT32")]
    outputs = [
        spoken.api.InferRequestedOutput("rows", binary_data=False),
        spoken.api.InferRequestedOutput("real", binary_data=True),
    ]
    result = client.infer("mirror", inputs, outputs=outputs)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["rows", "real"]
    assert result.as_numpy("rows").tolist() == rows.tolist()
    assert result.as_numpy("real").tolist() == real.tolist()


def test_an_environment_may_be_named(client, spoken):
    result = client.infer("echo", [spoken.texts(b"x")], query_params={"environment": ENVIRONMENT})
    assert result.get_response()["parameters"]["environment"] == ENVIRONMENT


def test_what_is_compressed_is_refused(client, spoken):
    with pytest.raises(InferenceServerException, match="'gzip' is not taken") as refused:
        client.infer("echo", [spoken.texts(b"x")], request_compression_algorithm="gzip")
    assert refused.value.status() == "415"


def test_the_sync_clients_asynchronous_call(spoken):
    with closing(spoken.api.InferenceServerClient(spoken.address, concurrency=4)) as client:
        asked = [client.async_infer("echo", [spoken.texts(b"x%d" % number)]) for number in range(8)]
        assert [one.get_result().as_numpy("text").tolist() for one in asked] == [
            [b"X%d" % number] for number in range(8)
        ]
