"""Who may make which request, on the layer alone."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from sluice.digest import Digest
from sluice_scheduler.api import identity
from sluice_scheduler.api.headers import DEFAULTS, SecurityHeaders
from sluice_scheduler.api.identity import Identified, local, needed
from sluice_scheduler.api_keys import ApiKeys, create
from sluice_scheduler.callers import ANYONE, NOBODY, Scope
from sluice_scheduler.entrance import Entrance
from sluice_scheduler.job import Submission
from sluice_scheduler.queues.memory import MemoryQueue
from sluice_scheduler.rates import Rate


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/health/live", None),
        ("GET", "/v2/health/ready", None),
        ("POST", "/health/live", Scope.ADMIN),
        ("GET", "/v2", Scope.READ),
        ("GET", "/metrics", Scope.READ),
        ("GET", "/v1/tasks", Scope.READ),
        ("POST", "/v1/tasks", Scope.SUBMIT),
        ("POST", "/v1/tasks/x/retry", Scope.SUBMIT),
        ("DELETE", "/v1/tasks/x", Scope.SUBMIT),
        ("POST", "/v1/tasksx", Scope.ADMIN),
        ("POST", "/v2/models/m/infer", Scope.INFER),
        ("POST", "/v2/models/m/versions/1/infer", Scope.INFER),
        ("POST", "/v2/repository/index", Scope.READ),
        ("POST", "/v2/repository/models/m/load", Scope.ADMIN),
        ("POST", "/v1/reload", Scope.ADMIN),
        ("PUT", "/v1/whatever", Scope.ADMIN),
    ],
)
def test_which_scope_a_request_needs(method, path, scope):
    assert needed(method, path) is scope


@given(st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]), st.text(max_size=30))
def test_what_changes_something_is_never_open(method, path):
    assert needed(method, path) is not None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:8720", True),
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("[::1]:8720", True),
        ("", True),
        ("evil.example:8720", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("192.0.2.1", False),
        ("[::2]", False),
        ("[", False),
    ],
)
def test_which_hosts_are_this_machine(host, expected):
    assert local(host) is expected


class Layer:
    """The layer over an application that says who came."""

    def __init__(self, state, queue=None, everybody=False):
        self.now = 1000.0
        self.app = SecurityHeaders(
            Identified(
                self._answer,
                Entrance(ApiKeys(state), now=lambda: self.now, clock=lambda: self.now),
                queue or MemoryQueue(),
                everybody=everybody,
            )
        )
        self.caller = None
        self.charged = 0

    async def _answer(self, scope, _, send):
        self.caller = identity.caller(Request(scope))
        identity.charge(Request(scope), self.charged)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    def ask(self, method="GET", path="/v1/models", client="192.0.2.7", **headers):
        self.caller = None
        sent = []

        async def send(message):
            sent.append(message)

        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": pairs, "client": (client, 1)}
        asyncio.run(self.app(scope, None, send))
        self.headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        self.error = json.loads(sent[1]["body"]).get("error")
        return sent[0]["status"]


def key(state, **more):
    return create(state, **{"tenant": "t", "scopes": frozenset({Scope.READ}), "now": 0.0, **more})


def test_without_keys_this_machine_is_let_in_and_pages_of_others_are_not(tmp_path):
    layer = Layer(tmp_path)
    assert layer.ask(host="127.0.0.1:8720") == 200
    assert layer.caller == ANYONE
    assert layer.ask(host="127.0.0.1:8720", origin="http://127.0.0.1:8720") == 200
    for headers in (
        {"host": "evil.example"},
        {"host": "127.0.0.1:8720", "origin": "https://evil.example"},
        {"host": "127.0.0.1:8720", "origin": "null"},
        {"host": "127.0.0.1:8720", "sec_fetch_site": "cross-site"},
        {"host": "127.0.0.1:8720", "sec_fetch_site": "same-site"},
    ):
        assert layer.ask("POST", "/v1/tasks", **headers) == 403
        assert "this machine only" in layer.error
    assert Layer(tmp_path, everybody=True).ask(host="example.org") == 200


def test_with_keys_a_key_is_wanted(tmp_path):
    made, secret = key(tmp_path)
    layer = Layer(tmp_path, everybody=True)
    assert layer.ask(host="127.0.0.1") == 401
    assert layer.headers["WWW-Authenticate".lower()] == "Bearer"
    assert layer.caller is None
    assert layer.ask(path="/health/ready") == 200
    assert layer.caller == NOBODY
    for headers in (
        {"x_api_key": secret},
        {"authorization": f"Bearer {secret}"},
        {"authorization": f"bearer {secret} "},
    ):
        assert layer.ask(**headers) == 200
        assert layer.caller == made.caller
    for headers in ({"authorization": f"Basic {secret}"}, {"cookie": secret}):
        assert layer.ask(**headers) == 401


def test_a_scope_that_the_key_has_not_is_403(tmp_path):
    _, secret = key(tmp_path)
    layer = Layer(tmp_path)
    assert layer.ask("POST", "/v1/tasks", x_api_key=secret) == 403
    assert layer.error == "this API key has no scope submit; it has read"
    _, admin = key(tmp_path, scopes=frozenset({Scope.ADMIN}))
    assert layer.ask("POST", "/v1/reload", x_api_key=admin) == 200


def test_wrong_keys_are_slowed_down_and_right_ones_are_not(tmp_path, caplog):
    _, secret = key(tmp_path)
    layer = Layer(tmp_path)
    wrong = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    assert [layer.ask(x_api_key=wrong) for _ in range(11)] == [401] * 10 + [429]
    assert int(layer.headers["retry-after"]) == 10
    assert layer.ask(x_api_key="short") == 429
    assert layer.ask(x_api_key=wrong, client="192.0.2.8") == 401
    assert layer.ask(x_api_key=secret) == 200
    layer.now += 10
    assert layer.ask(x_api_key=wrong) == 401
    assert wrong not in caplog.text


def test_a_rate_counts_submissions_and_inferences(tmp_path):
    _, secret = key(tmp_path, scopes=frozenset(Scope) - {Scope.ADMIN}, rate=Rate(1.0, 2))
    layer = Layer(tmp_path)
    asked = [layer.ask("POST", "/v1/tasks", x_api_key=secret) for _ in range(3)]
    assert asked == [200, 200, 429]
    assert layer.headers["retry-after"] == "1"
    assert layer.ask("POST", "/v2/models/m/infer", x_api_key=secret) == 429
    assert [layer.ask(x_api_key=secret) for _ in range(5)] == [200] * 5
    layer.now, layer.charged = 1010.0, 20
    assert layer.ask("POST", "/v1/tasks", x_api_key=secret) == 200  # one request with 21 tasks
    layer.now, layer.charged = 1020.0, 0
    assert layer.ask("POST", "/v1/tasks", x_api_key=secret) == 429
    layer.now = 1031.0
    assert layer.ask("POST", "/v1/tasks", x_api_key=secret) == 200


def submission(task, tenant):
    return Submission(task, "l", "m", 5, 0.0, 0.0, Digest.of(b""), b"", tenant=tenant)


def test_a_task_of_another_tenant_is_not_there(tmp_path):
    queue = MemoryQueue()
    asyncio.run(queue.put(submission("a" * 24, "theirs")))
    asyncio.run(queue.put(submission("b" * 24, "t")))
    scopes = frozenset({Scope.READ, Scope.SUBMIT})
    _, secret = key(tmp_path, scopes=scopes)
    _, admin = key(tmp_path, scopes=frozenset({Scope.ADMIN}))
    layer = Layer(tmp_path, queue)
    for method, rest in (
        ("GET", ""),
        ("GET", "/receipt"),
        ("DELETE", ""),
        ("POST", "/retry"),
        ("GET", "/x/y"),
    ):
        path = f"/v1/tasks/{'a' * 24}{rest}"
        assert layer.ask(method, path, x_api_key=secret) == 404
        assert layer.error == f"no task has the id {'a' * 24!r}; `sluice scheduler status` lists the latest"
        assert layer.ask(method, path, x_api_key=admin) == 200
        assert layer.ask(method, f"/v1/tasks/{'b' * 24}{rest}", x_api_key=secret) == 200
    assert layer.ask("GET", "/v1/tasks/nothing", x_api_key=secret) == 200  # the route says so itself


def test_every_answer_has_the_security_headers(tmp_path):
    layer = Layer(tmp_path)
    for host in ("localhost", "evil.example"):
        layer.ask(host=host)
        for name, value in DEFAULTS.items():
            assert layer.headers[name.decode()] == value.decode()
