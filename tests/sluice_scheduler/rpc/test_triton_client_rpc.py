"""NVIDIA's own clients for gRPC, unmodified, against a real daemon."""

import numpy as np
import tritonclient.grpc as sync_client

ENVIRONMENT = "test-echo-pt213-cpu"


def tensor(name, array, datatype):
    made = sync_client.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def texts(*values):
    return tensor("text", np.array(values, dtype=np.object_), "BYTES")


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("echo")
    assert client.is_model_ready("echo", "1.0.0")
    assert not client.is_model_ready("nothing")
    assert "statistics" in client.get_server_metadata().extensions
    metadata = client.get_model_metadata("mirror")
    assert metadata.versions == ["2.1"]
    assert [(one.datatype, one.shape) for one in metadata.inputs if one.name == "half"] == [("FP16", [-1])]


def test_texts_come_back(client):
    result = client.infer("echo", [texts(b"one", "zwei\u00e4".encode())])
    assert result.as_numpy("text").tolist() == [b"ONE", "ZWEI\u00e4".encode()]
