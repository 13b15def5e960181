"""gRPC as part of a service: who may call, what is counted, how it stops, and that nobody else pays for it."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException
from typer.testing import CliRunner

from sluice_scheduler.cli import app
from sluice_scheduler.testing import eventually

ENVIRONMENT = "test-echo-pt213-cpu"
SERVICE = "/inference.GRPCInferenceService"
WRONG = "slk_" + "0" * 64


def texts(*values):
    made = triton.InferInput("text", [len(values)], "BYTES")
    made.set_data_from_numpy(np.array(values, dtype=np.object_))
    return [made]


def key(state, *more):
    result = CliRunner().invoke(app, ["key", "create", "--state", str(state), *more])
    assert result.exit_code == 0, result.output
    return result.output.strip()


@contextmanager
def client_of(daemon):
    with closing(triton.InferenceServerClient(daemon.rpc)) as client:
        yield client


def refused(call, *arguments, **more):
    with pytest.raises(InferenceServerException) as error:
        call(*arguments, **more)
    return error.value.status().removeprefix("StatusCode."), error.value.message()


def test_api_keys_are_wanted_as_over_http(start, tmp_path):
    state = tmp_path / "state"
    everything = {"x-api-key": key(state, "--scope", "admin")}
    infers = {"authorization": f"Bearer {key(state, '--scope', 'infer', '--tenant', 'm', '--ceiling', '4')}"}
    reads = {"authorization": f"bEARER {key(state, '--scope', 'read')}"}
    seldom = {"x-api-key": key(state, "--scope", "infer", "--rate", "0.01", "--burst", "1")}
    with start("--grpc-port", "0") as daemon:
        daemon.wait_ready()
        daemon.http.headers.update(everything)
        with client_of(daemon) as client:
            assert client.is_server_live()
            assert client.is_server_ready()
            assert refused(client.infer, "echo", texts(b"x")) == (
                "UNAUTHENTICATED",
                "this scheduler wants an API key: Authorization: Bearer KEY, or X-API-Key: KEY",
            )
            assert refused(client.is_model_ready, "echo")[0] == "UNAUTHENTICATED"
            assert (
                refused(client.infer, "echo", texts(b"x"), headers={"x-api-key": WRONG})[0]
                == "UNAUTHENTICATED"
            )
            assert (
                refused(client.infer, "echo", texts(b"x"), headers={"x-api-key": "x"})[0] == "UNAUTHENTICATED"
            )
            assert refused(client.infer, "echo", texts(b"x"), headers=reads) == (
                "PERMISSION_DENIED",
                "this API key has no scope infer; it has read",
            )
            assert client.is_model_ready("echo", headers=reads)
            assert refused(client.unload_model, "echo", headers=reads)[0] == "PERMISSION_DENIED"
            assert refused(client.get_model_metadata, "echo", headers=infers)[0] == "PERMISSION_DENIED"
            answer = client.infer("echo", texts(b"x"), priority=1, headers=infers).get_response()
            task = daemon.task(answer.parameters["task"].string_param)
            assert (task["tenant"], task["priority"]) == ("m", 4)
            assert client.infer("echo", texts(b"x"), headers=seldom).as_numpy("text").tolist() == [b"X"]
            status, told = refused(client.infer, "echo", texts(b"x"), headers=seldom)
            assert (status, "try again in" in told) == ("RESOURCE_EXHAUSTED", True)
            assert client.get_model_repository_index(headers=everything).models[0].state == "READY"
            for _ in range(12):
                last = refused(client.is_model_ready, "echo", headers={"x-api-key": WRONG})
            assert last[0] == "RESOURCE_EXHAUSTED"
            assert daemon.http.get("/v2", headers={"x-api-key": WRONG}).status_code == 429  # counted together


def test_what_is_refused_says_when_to_come_again(start, tmp_path):
    secret = key(tmp_path / "state", "--scope", "infer", "--rate", "0.01", "--burst", "1")
    with (
        start("--grpc-port", "0") as daemon,
        grpc.insecure_channel(daemon.wait_listening().rpc) as channel,
    ):
        ask = channel.unary_unary(f"{SERVICE}/ModelInfer")
        metadata = (("x-api-key", secret),)
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as error:
                ask(b"", metadata=metadata, timeout=10)
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert 90 <= int(dict(error.value.trailing_metadata())["retry-after"]) <= 100


def test_requests_are_counted_beside_those_of_http(start):
    with start("--grpc-port", "0") as daemon:
        daemon.wait_ready()
        with client_of(daemon) as client:
            client.infer("echo", texts(b"x"))
            refused(client.infer, "nothing", texts(b"x"))
            refused(client.get_model_config, "echo")
        found = {
            tuple(sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(daemon.http.get("/metrics").text)
            for sample in family.samples
            if sample.name == "sluice_scheduler_requests_total"
        }

        def counted(route, status):
            return found[("method", "POST"), ("route", route), ("status", status)]

        assert counted(f"{SERVICE}/ModelInfer", "200") == 1
        assert counted(f"{SERVICE}/ModelInfer", "404") == 1
        assert counted("none", "501") == 1


def test_it_drains_with_the_rest(start, tmp_path):
    with start("--grpc-port", "0") as daemon, ThreadPoolExecutor(2) as pool:
        daemon.wait_ready()
        with client_of(daemon) as client, client_of(daemon) as other:
            runs = pool.submit(client.infer, "echo", texts(f"hold:{tmp_path}/go".encode()))
            daemon.until(running=1)
            waits = pool.submit(refused, other.infer, "echo", texts(b"waits"))
            daemon.until(queued=1)
            daemon.process.send_signal(signal.SIGTERM)
            eventually(lambda: not client.is_server_ready())
            assert refused(client.infer, "echo", texts(b"late"))[0] == "UNAVAILABLE"
            (tmp_path / "go").touch()
            assert runs.result(20).as_numpy("text").tolist() == [f"hold:{tmp_path}/go".upper().encode()]
            status, told = waits.result(20)
            assert status == "UNAVAILABLE", told
        assert daemon.process.wait(20) == 0
        assert "Traceback" not in daemon.log()


def test_what_outlasts_the_drain_is_run_again(start, tmp_path):
    with start("--grpc-port", "0", "--drain-seconds", "0.2") as daemon, ThreadPoolExecutor(1) as pool:
        daemon.wait_ready()
        with client_of(daemon) as client:
            asked = pool.submit(refused, client.infer, "echo", texts(f"hold:{tmp_path}/go".encode()))
            daemon.until(running=1)
            task = daemon.http.get("/v1/tasks").json()[0]["id"]
            assert daemon.end() == 0
            assert asked.result(20)[0] in ("UNAVAILABLE", "CANCELLED")
        assert "Traceback" not in daemon.log()
        assert "never retrieved" not in daemon.log()
    (tmp_path / "go").touch()
    with start() as daemon:
        daemon.wait_ready()
        assert (daemon.task(task)["state"], daemon.task(task)["attempts"]) == ("succeeded", 2)


def test_an_environment_is_named_once(start):
    with (
        start("--grpc-port", "0") as daemon,
        grpc.insecure_channel(daemon.wait_ready().rpc) as channel,
    ):
        ask = channel.unary_unary(f"{SERVICE}/ModelReady")
        for metadata, expected in (
            ((("environment", ENVIRONMENT), ("environment", "x")), "given 2 times"),
            ((("x", "y" * 60_000),), "metadata"),
        ):
            with pytest.raises(grpc.RpcError) as error:
                ask(b"\x0a\x04echo", metadata=metadata, timeout=10)
            assert expected in error.value.details()
        assert ask(b"\x0a\x04echo", metadata=(("environment", ENVIRONMENT),), timeout=10) == b"\x08\x01"


def test_the_bound_of_a_request_may_become_smaller(start, tmp_path):
    config = tmp_path / "limits.toml"
    config.write_text("max_request_bytes = 100000\n")
    with start("--grpc-port", "0", "--config", str(config)) as daemon:
        daemon.wait_ready()
        with client_of(daemon) as client:
            assert refused(client.infer, "echo", texts(bytes(200_000)))[0] == "RESOURCE_EXHAUSTED"
            client.infer("echo", texts(b"x" * 50_000))
            config.write_text("max_request_bytes = 10000\n")
            assert daemon.http.post("/v1/reload").json() == {"changed": ["max_request_bytes"]}
            status, told = refused(client.infer, "echo", texts(b"x" * 50_000))
            assert (status, "larger than 10000 bytes" in told) == ("RESOURCE_EXHAUSTED", True)


def test_a_port_that_is_taken_is_told_at_once(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start("--grpc-port", str(port)) as daemon:
            assert daemon.process.wait(30) == 1
            last = daemon.log().strip().splitlines()[-1]
            assert last.startswith(f"error: cannot listen at 127.0.0.1 port {port} for gRPC")
            assert "Traceback" not in daemon.log()


def test_two_schedulers_do_not_share_a_port(start, daemons, channel, prefixes, tmp_path):
    with start("--grpc-port", "0") as daemon:
        daemon.wait_listening()
        port = daemon.rpc.rpartition(":")[2]
        other = daemons(
            channel, prefixes, tmp_path / "other", "--grpc-port", port, environments=(ENVIRONMENT,)
        )
        with other as second:
            assert second.process.wait(30) == 1
            assert "for gRPC" in second.log().strip().splitlines()[-1]


LIBRARIES = ("grpc/", "google/protobuf", "google/_upb", "cygrpc")


def test_nothing_of_it_is_loaded_where_it_is_not_asked_for(start):
    def loaded(daemon):
        maps = Path(f"/proc/{daemon.process.pid}/maps").read_text()
        return [name for name in LIBRARIES if name in maps]

    with start() as daemon:
        daemon.wait_ready()
        assert daemon.answer("x")["state"] == "succeeded"
        assert loaded(daemon) == []
        assert "gRPC" not in daemon.log()
    with start("--grpc-port", "0") as daemon:
        daemon.wait_ready()
        assert "cygrpc" in loaded(daemon)


def test_no_module_but_its_own_imports_it():
    code = (
        "import sys; import sluice_scheduler.cli, sluice_scheduler.daemon, sluice_scheduler.api.app; "
        "print([name for name in sys.modules if name.split('.')[0] == 'grpc' or 'protobuf' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_what_is_missing_is_named(launch, tmp_path, channel):
    """Without grpcio: its name leads nowhere."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "grpc.py").write_text("raise ImportError(\"No module named 'grpc'\")\n")
    path = os.pathsep.join([str(tmp_path / "hidden"), *filter(None, [os.environ.get("PYTHONPATH")])])
    arguments = [str(Path(sys.executable).parent / "sluice"), "scheduler", "serve", "--channel", channel]
    arguments += ["--env", ENVIRONMENT, "--state", str(tmp_path / "state"), "--port", "0", "--grpc-port", "0"]
    with launch(arguments, tmp_path / "state", PYTHONPATH=path) as daemon:
        assert daemon.process.wait(30) == 1
        assert "error: --grpc-port needs the packages grpcio and protobuf" in daemon.log()


def test_probes_ask_for_health(rpc_daemon):
    def check(service):
        with grpc.insecure_channel(rpc_daemon.rpc) as channel:
            ask = channel.unary_unary("/grpc.health.v1.Health/Check")
            return ask(b"\x0a" + bytes([len(service)]) + service if service else b"", timeout=10)

    assert check(b"") == b"\x08\x01"  # SERVING
    assert check(b"inference.GRPCInferenceService") == b"\x08\x01"
    with pytest.raises(grpc.RpcError) as unknown:
        check(b"x")
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
