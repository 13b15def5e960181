"""The OpenAPI document against a real daemon: what it says is what is answered, whatever is asked."""

from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

EXAMPLES = 12  # of each operation, and as many against its schema
LEFT_OUT = ("/v1/reload", "/deploy", "/rollback", "/load", "/unload", "/reset")  # change the daemon itself
ENDLESS = "/v1/tasks/events"
ALLOWED = (501, 503)  # said in the document: not by this scheduler, or not now
HELD = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def document(oip_daemon):
    return oip_daemon.http.get("/openapi.json").json()


@pytest.fixture(scope="module")
def operations(oip_daemon, document):
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=str(oip_daemon.http.base_url))
    listed = [found.ok() for found in schema.get_all_operations()]
    return [one for one in listed if not one.path.endswith((*LEFT_OUT, ENDLESS))]


def can_be_denied(operation):
    """Whether anything can be asked of it that the document forbids."""
    return any(map(list, (operation.body, operation.query, operation.headers)))


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_operation_answers_as_it_is_described(oip_daemon, operations, mode):
    tried = 0
    for operation in operations if mode.is_positive else filter(can_be_denied, operations):

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def answered(case):
            response = case.call()
            assert response.status_code < 500 or response.status_code in ALLOWED, response.text
            if response.status_code >= 400:
                assert "\n" not in response.json().get("error", "")
            case.validate_response(response, checks=HELD)

        with suppress(Unsatisfiable):  # nothing of it can be against the document
            answered()
            tried += 1
    assert oip_daemon.http.get("/health/live").status_code == 200
    assert tried > len(operations) // 3
    assert "Traceback" not in oip_daemon.log()


def test_every_route_is_described(document):
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            assert operation.get("summary"), (verb, path)
            assert "4XX" in operation["responses"], (verb, path)
            named = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}
    assert "422" not in str(document["paths"])
