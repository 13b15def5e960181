"""Who may do what, over HTTP."""

from __future__ import annotations

import base64
import re
import warnings

import pytest
from fastapi import Request

from sluice_channel import audit, tokens
from sluice_channel.acting import kept_private
from sluice_channel.app import create_site_app
from sluice_channel.entry import Yank
from sluice_channel.routes.access import ATTEMPT_EVERY, ATTEMPTS, administering, creating, publishing

INDEX = "noarch/repodata.json"
BELOW = ["", "/label/dev", "/label/none", "/@1", "/@999", "/@7d", "/label/dev/@1"]


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


def ways(secret):
    """Every way to show a token: the path before the channel, and headers."""
    encoded = [base64.b64encode(text.encode()).decode() for text in (f"me:{secret}", f"{secret}:")]
    return [
        (f"/t/{secret}", {}),
        (f"/t/{tokens.in_url(secret)}", {}),
        ("", bearer(secret)),
        ("", {"X-API-Key": secret}),
        *(("", {"Authorization": f"Basic {each}"}) for each in encoded),
    ]


def lines(site):
    return [
        (each.line.who, each.line.action, each.line.channel, each.line.detail) for each in site.ledger.lines()
    ]


def denied(site):
    return [line for line in lines(site) if line[1] == audit.DENIED]


def test_a_public_channel_is_read_by_everyone_and_what_they_show_is_not_looked_at(ask, site):
    for below in ("", "/label/dev", "/@1"):
        assert ask(f"/open{below}/{INDEX}").status_code == 200
    for prefix, headers in ways("slc_" + "0" * 64):
        for _ in range(3):
            answer = ask(f"{prefix}/open/{INDEX}", headers=headers)
            assert answer.status_code == 200
            assert "private" not in answer.headers["cache-control"]
    assert denied(site) == []


def test_a_private_channel_is_read_with_a_token_shown_in_any_way(ask, token):
    for prefix, headers in ways(token("read:vault")):
        for below in ("", "/label/dev", "/@1"):
            answer = ask(f"{prefix}/vault{below}/{INDEX}", headers=headers)
            assert answer.status_code == 200, (prefix, headers)
            assert "a-1.0-0.conda" in answer.json()["packages.conda"]
        package = ask(f"{prefix}/vault/noarch/a-1.0-0.conda", headers=headers)
        for each in (answer, package):
            assert each.headers["cache-control"].startswith("private, ")
            assert "public" not in each.headers["cache-control"]
            assert {"Authorization", "X-API-Key"} <= set(re.split(", *", each.headers["vary"]))


def _paths(app):
    """Every method and path that the server has, as its own description lists them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GET and HEAD of one function have one name
        described = app.openapi()["paths"]
    for path, methods in described.items():
        for method in methods:
            yield method.upper(), path


def _below_channels(app):
    values = {
        "subdir": "noarch",
        "filename": "a-1.0-0.conda",
        "name": "a",
        "package": "a",
        "sha256": "0" * 64,
    }
    for method, path in _paths(app):
        if "{channel}" in path:
            filled = path.replace("{channel}", "CHANNEL")
            yield method, re.sub(r"{(\w+)}", lambda match: values.get(match[1], "1"), filled)


def test_to_strangers_a_private_channel_is_as_one_that_is_not_there(app, ask, token, clock):
    other = token("admin:open", name="of another channel")
    expired = token("read:vault", lifetime=1)
    clock.ms += 1
    site_paths = {
        *_below_channels(app),
        ("GET", f"/CHANNEL/{INDEX}"),
        ("GET", "/CHANNEL/nothing/like/this"),
        ("GET", "/CHANNEL"),
    }
    assert len(site_paths) > 20
    asked = 0
    for method, path in sorted(site_paths):
        for below in BELOW if "/api/" not in path else [""]:
            for headers in ({}, bearer(other), bearer(expired)):
                answers = []
                for channel in ("vault", "absent"):
                    asked += 1
                    answer = ask(
                        path.replace("CHANNEL", channel + below, 1),
                        method,
                        headers=headers,
                        client=f"10.{asked >> 16}.{asked >> 8 & 255}.{asked & 255}",
                    )
                    told = answer.text.replace(channel, "CHANNEL")
                    kept = {key: value for key, value in answer.headers.items() if key != "content-length"}
                    answers.append((answer.status_code, told, kept))
                assert answers[0] == answers[1], (method, path, below)
                assert answers[0][0] >= 400, (method, path, below)
                assert answers[0][0] != 403, (method, path, below)


def test_no_list_names_a_private_channel_to_strangers(app, ask, token):
    reader = token("read:vault")
    listing = [path for method, path in _paths(app) if method == "GET" and "{" not in path]
    assert {"/", "/metrics"} <= set(listing)
    for path in listing:
        assert "vault" not in ask(path, client="127.0.0.1", base="http://127.0.0.1").text, path
    assert "vault" in ask("/", headers=bearer(reader)).text
    assert "vault" in ask(f"/t/{reader}/").text


def test_a_token_for_a_label_is_for_that_label(ask, token):
    secret = token("read:vault/label/dev")
    assert ask(f"/vault/label/dev/{INDEX}", headers=bearer(secret)).status_code == 200
    assert ask(f"/vault/{INDEX}", headers=bearer(secret)).status_code == 404


def test_a_revoked_and_an_expired_token_are_of_no_use_at_once(ask, site, token, clock):
    secret = token("read:vault", lifetime=1000)
    assert ask(f"/vault/{INDEX}", headers=bearer(secret)).status_code == 200
    clock.ms += 1000
    assert ask(f"/vault/{INDEX}", headers=bearer(secret)).status_code == 404
    other = token("read:vault")
    assert ask(f"/vault/{INDEX}", headers=bearer(other)).status_code == 200
    tokens.revoke(site.keyring, site.ledger, audit.local(), site.keyring.tokens()[1].identity, now=clock.ms)
    assert ask(f"/vault/{INDEX}", headers=bearer(other)).status_code == 404


def test_wrong_tokens_are_limited_for_each_client_and_known_ones_go_on(ask, site, token, clock):
    good, late = token("read:vault"), token("read:vault")
    path = f"/vault/{INDEX}"
    assert ask(path, headers=bearer(good)).status_code == 200
    for number in range(ATTEMPTS):
        assert ask(path, headers=bearer(f"slc_{number:064x}")).status_code == 404
    for channel in ("vault", "absent"):
        limited = ask(f"/{channel}/{INDEX}", headers=bearer("wrong"))
        assert limited.status_code == 429
        assert limited.headers["retry-after"] == str(ATTEMPT_EVERY // 1000)
    # A token that was never seen from there is not even looked up, so nothing can be learned.
    assert ask(path, headers=bearer(late)).status_code == 429
    assert ask(path, headers=bearer(good)).status_code == 200
    assert ask(path, headers=bearer(late), client="203.0.113.8").status_code == 200
    assert ask(f"/open/{INDEX}", headers=bearer("wrong")).status_code == 200
    assert ask(path).status_code == 404
    clock.ms += ATTEMPT_EVERY
    assert ask(path, headers=bearer(late)).status_code == 200
    assert ask(path, headers=bearer("wrong")).status_code == 404
    assert ask(path, headers=bearer("wrong")).status_code == 429
    assert len(denied(site)) == ATTEMPTS + 1
    assert not audit.verify(site.ledger).problem


def test_denied_requests_do_not_fill_the_audit_log(ask, site, token):
    weak = token("read:open")
    for _ in range(60):
        assert ask("/vault/" + INDEX, headers=bearer(weak)).status_code == 404
    assert 0 < len(denied(site)) <= 20
    who = site.keyring.tokens()[0].identity
    assert denied(site)[0] == (who, "denied", "vault", "read vault")


def test_a_channel_that_is_not_there_takes_the_steps_of_a_private_one(ask, site, token):
    """How long an answer takes must not tell them apart: the line in the audit log is most of it."""
    weak = token("read:open")
    for channel in ("vault", "absent"):
        ask(f"/{channel}/{INDEX}", headers=bearer(weak))
    assert [line[2:] for line in denied(site)] == [("vault", "read vault"), ("absent", "read absent")]


@pytest.fixture
def changing(site):
    """A server with a route that asks before it changes something, and the same for everyone on this machine."""

    def make(*, everyone=False):
        app = create_site_app(site, everyone=everyone)

        @app.put("/probe/{channel}/{what}")
        def change(request: Request, channel: str, what: str, package: str | None = None) -> str:
            match what:
                case "publish":
                    return publishing(request, site, channel, package).channel
                case "administer":
                    return administering(request, site, channel).channel
                case "create":
                    return creating(request, site, channel)
            view = publishing(request, site, channel, None)
            made = site.catalogue.change(
                view.channel, [Yank("noarch", "a-1.0-0.conda", "bad")], now=site.now()
            )
            return str(made.number)

        # Routes are tried in their order, and the last of a site's takes nearly everything.
        app.router.routes.insert(0, app.router.routes.pop())
        return app

    return make


@pytest.mark.parametrize(
    ("scopes", "path", "status"),
    [
        ([], "open/publish?package=a", 401),
        (["read:open"], "open/publish?package=a", 403),
        (["publish:open"], "open/publish?package=a", 200),
        (["publish:open"], "open/administer", 403),
        (["publish:open:b*"], "open/publish?package=a", 403),
        (["publish:open:b*"], "open/publish?package=bb", 200),
        (["publish:open:b*"], "open/publish", 200),
        (["publish:open:b*", "admin:vault"], "vault/publish?package=a", 200),
        (["publish:open"], "vault/publish?package=a", 404),
        (["publish:open"], "absent/publish?package=a", 404),
        ([], "vault/publish?package=a", 404),
        (["publish:vault:b"], "vault/publish?package=a", 403),
        (["admin:open"], "open/administer", 200),
        (["admin:open"], "new/create", 403),
        (["publish:*"], "new/create", 403),
        (["admin:new"], "new/create", 200),
        ([], "new/create", 401),
        ([], "vault/create", 401),
    ],
)  # fmt: skip
def test_who_may_change_what(changing, ask, token, scopes, path, status):
    headers = bearer(token(*scopes)) if scopes else {}
    token("read:none")
    answer = ask(f"/probe/{path}", "PUT", app=changing(), headers=headers)
    assert answer.status_code == status, answer.text
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_a_site_without_a_token_says_how_to_make_one(changing, ask, token):
    app = changing()
    told = ask("/probe/open/publish", "PUT", app=app)
    assert told.status_code == 401
    assert "sluice channel token add ROOT NAME publish:open" in told.json()["error"]
    assert "--open" in told.json()["error"]
    token("read:open")
    assert "Authorization: Bearer" in ask("/probe/open/publish", "PUT", app=app).json()["error"]
    assert "revoked" in ask("/probe/open/publish", "PUT", app=app, headers=bearer("x")).json()["error"]


def test_what_was_changed_is_written_down_with_who_did_it(changing, ask, site, token):
    secret = token("publish:open", name="release job")
    assert ask("/probe/open/yank", "PUT", app=changing(), headers=bearer(secret)).text == '"2"'
    line = site.ledger.last(1)[0].line
    assert (line.who, line.name) == (site.keyring.tokens()[0].identity, "release job")
    assert (line.action, line.channel, line.package, line.generation) == (
        "yank",
        "open",
        "noarch/a-1.0-0.conda",
        2,
    )
    assert line.address == "203.0.113.7"
    assert line.detail == f"{site.catalogue.generation('open', 2).digest} bad"
    assert site.keyring.tokens()[0].used_at == site.now()


def test_what_fails_leaves_no_line_and_no_generation(site, monkeypatch):
    before = lines(site)
    monkeypatch.setattr(audit, "record", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        site.catalogue.change("open", [Yank("noarch", "a-1.0-0.conda", "bad")], now=site.now())
    assert lines(site) == before
    assert site.catalogue.channel("open").generation == 1


def test_open_is_for_programs_on_this_machine(changing, ask, site):
    app = changing(everyone=True)

    def put(client="127.0.0.1", base="http://127.0.0.1:8710", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask("/probe/open/publish", "PUT", app=app, client=client, base=base, headers=named).status_code

    assert put() == 200
    assert put(base="http://localhost:8710") == 200
    assert put(client="::1", base="http://[::1]:8710") == 200
    assert put(origin="http://127.0.0.1:8710") == 200
    assert put(client="192.0.2.1") == 401
    assert put(x_forwarded_for="192.0.2.1") == 401
    assert put(base="http://rebound.example:8710") == 401
    assert put(origin="https://elsewhere.example") == 401
    assert put(sec_fetch_site="cross-site") == 403
    assert ask(f"/vault/{INDEX}", app=app, client="127.0.0.1", base="http://127.0.0.1").status_code == 200
    assert ask(f"/vault/{INDEX}", app=app, base="http://127.0.0.1").status_code == 404


def test_a_page_of_another_site_changes_nothing(changing, ask, token):
    headers = bearer(token("admin:open")) | {"Sec-Fetch-Site": "cross-site"}
    assert ask("/probe/open/publish", "PUT", app=changing(), headers=headers).status_code == 403


def test_what_has_been_is_not_changed(changing, ask, token, site):
    app = create_site_app(site)

    @app.put("/{channel}/probe")
    def change(request: Request, channel: str) -> str:
        return publishing(request, site, channel, None).channel

    app.router.routes.insert(0, app.router.routes.pop())
    headers = bearer(token("admin:open"))
    answers = [
        ask(f"/open{below}/probe", "PUT", app=app, headers=headers).status_code
        for below in ("", "/label/dev", "/@1", "/@7d")
    ]
    assert answers == [200, 200, 403, 403]


def test_nothing_of_an_odd_request_comes_back(ask, token):
    """No answer is a page made of the request."""
    for path in (
        "/<script>alert(1)</script>/noarch/repodata.json",
        "/%3Cimg%20src=x%3E/",
        "/t/<b>/open/x",
        "/open/@<b>/",
    ):
        answer = ask(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("public, max-age=31536000, immutable", "private, max-age=31536000, immutable"),
        ("no-cache", "private, no-cache"),
        ("private, no-cache", "private, no-cache"),
        ("public", "private"),
        ("no-store", "no-store"),
        ("public, no-store", "no-store"),
    ],
)
def test_a_copy_of_what_is_private_is_kept_by_who_asked(said, kept):
    assert kept_private(said) == kept


def test_whoami_and_tokens_over_http(ask, site, token):
    operator, weak = token("admin:*", name="operator"), token("admin:open", name="weak")
    assert ask("/api/v1/whoami").status_code == 401
    known = ask("/api/v1/whoami", headers=bearer(weak))
    assert known.json()["scopes"] == ["admin:open"]
    assert known.headers["cache-control"] == "no-store"
    wanted = {"name": "job", "scopes": ["publish:open:a*"], "days": 1}
    for headers, status in (({}, 401), (bearer(weak), 403)):
        assert ask("/api/v1/tokens", "POST", json=wanted, headers=headers).status_code == status
        assert ask("/api/v1/tokens", headers=headers).status_code == status
    made = ask("/api/v1/tokens", "POST", json=wanted, headers=bearer(operator))
    assert made.status_code == 201
    secret, identity = made.json()["secret"], made.json()["token"]["id"]
    assert made.json()["token"]["expires_at"] == site.now() + 86_400_000
    assert ask("/api/v1/whoami", headers=bearer(secret)).json()["token"]["id"] == identity
    listed = ask("/api/v1/tokens", headers=bearer(operator))
    assert [each["name"] for each in listed.json()["tokens"]] == ["operator", "weak", "job"]
    assert secret not in listed.text
    weak_id = listed.json()["tokens"][1]["id"]
    assert ask(f"/api/v1/tokens/{weak_id}", "DELETE", headers=bearer(secret)).status_code == 403
    assert ask(f"/api/v1/tokens/{identity}", "DELETE", headers=bearer(secret)).status_code == 200
    assert ask("/api/v1/whoami", headers=bearer(secret)).status_code == 401
    assert ask("/api/v1/tokens/none", "DELETE", headers=bearer(operator)).status_code == 404
    assert ask(f"/api/v1/tokens/{weak_id}", "DELETE", headers=bearer(operator)).json()["token"]["revoked_at"]
    assert ("token add", "operator") in {(each.line.action, each.line.name) for each in site.ledger.lines()}


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"name": 1, "scopes": []}', b'{"name": "a", "scopes": "read:x"}', b'{"name": "a", "scopes": []}',
     b'{"name": "a", "scopes": ["write:x"]}', b'{"name": "a", "scopes": ["read:x"], "days": true}',
     b'{"name": "a", "scopes": ["read:x"], "days": 0}', b"[" * 30_000, b" " * 40_000],
)  # fmt: skip
def test_a_malformed_request_for_a_token_is_told_so(ask, site, token, content):
    answer = ask("/api/v1/tokens", "POST", content=content, headers=bearer(token("admin:*")))
    assert answer.status_code == 400, answer.text
    assert len(site.keyring.tokens()) == 1
