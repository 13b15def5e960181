"""The messages themselves: that the descriptions are made of what stands beside them, and are the protocol's."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as triton

from sluice_scheduler.api.problems import STATUS
from sluice_scheduler.api.rpc import calls, codes, fields, messages
from sluice_scheduler.callers import Scope
from sluice_scheduler.errors import RequestError

FOLDER = Path(messages.__file__).parent


def test_the_descriptions_are_made_of_their_sources(tmp_path):
    made = tmp_path / "services.binpb"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--descriptor_set_out={made}"]
    subprocess.run([*command, "oip.proto", "health.proto"], cwd=FOLDER, check=True, timeout=60)
    assert made.read_bytes() == (FOLDER / "services.binpb").read_bytes()


def compared(ours, theirs):
    """Go through every field that both have; returns the names of those that were compared."""
    found = set()
    for field in ours.fields:
        other = theirs.fields_by_number[field.number]
        assert (field.name, field.type, field.is_repeated) == (other.name, other.type, other.is_repeated)
        choice = field.containing_oneof and field.containing_oneof.name
        assert choice == (other.containing_oneof and other.containing_oneof.name)
        found.add(field.full_name)
        if field.message_type is not None:
            found |= compared(field.message_type, other.message_type)
    return found


def test_every_field_is_that_of_nvidias_client():
    service = triton.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    found = set()
    for path, request in messages.REQUESTS.items():
        if messages.INFERENCE not in path:
            continue
        method = service.methods_by_name[path.rpartition("/")[2]]
        found |= compared(request.DESCRIPTOR, method.input_type)
        answer = method.output_type.name
        found |= compared(messages.message(answer).DESCRIPTOR, method.output_type)
    assert {"inference.ModelInferRequest.raw_input_contents", "inference.InferStatistics.queue"} < found
    assert len(found) > 70


@pytest.mark.parametrize(
    ("method", "scope"),
    [
        ("ServerLive", None),
        ("ServerReady", None),
        ("ServerMetadata", Scope.READ),
        ("ModelReady", Scope.READ),
        ("ModelMetadata", Scope.READ),
        ("ModelStatistics", Scope.READ),
        ("RepositoryIndex", Scope.READ),
        ("ModelInfer", Scope.INFER),
        ("RepositoryModelLoad", Scope.ADMIN),
        ("RepositoryModelUnload", Scope.ADMIN),
        ("Whatever", Scope.ADMIN),
    ],
)
def test_which_scope_a_method_needs(method, scope):
    assert calls.needed(f"/{messages.INFERENCE}/{method}") is scope


def test_every_status_of_http_has_one():
    assert set(STATUS.values()) | {401, 403, 429, 503} <= codes.CODES.keys()


def test_what_is_told_fits_into_the_trailers_of_any_client():
    told = codes.problem(RequestError("a\n\n b" + "\U0001f600" * 5000)).details
    assert told.startswith("a b")
    assert len(told.encode()) * 3 < 16 << 10  # as percent signs and digits


INSIDE = {5: {4: {}}}


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b"", 0),
        (b"\x08\x01", 1),
        (b"\x09" + bytes(8) + b"\x0d" + bytes(4) + b"\x08\x01", 3),
        (b"\x2a\x04\x0a\x00\x0a\x00", 3),  # the two inside count
        (b"\x0a\x04\x0a\x00\x0a\x00", 1),  # these are a text
        (b"\x2a\x06\x22\x04\x0a\x00\x0a\x00", 4),
        (b"\x0b\x0c", 2),  # a group
    ],
)
def test_fields_are_counted(body, count):
    assert fields.few(body, INSIDE, count)
    assert not count or not fields.few(body, INSIDE, count - 1)


@given(st.binary(max_size=200))
def test_what_is_no_message_is_left_to_who_reads_it(body):
    assert isinstance(fields.few(body, INSIDE, 50), bool)
