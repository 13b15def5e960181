"""Trusted publishing against an issuer of the test's own, with keys that are made here."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from sluice_channel import audit, oidc, tokens, trust
from sluice_channel.keyring import Publisher
from sluice_channel.oidc import IssuerError, Issuers
from sluice_channel.scope import Scope
from sluice_channel.trust import TrustError

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC = ec.generate_private_key(ec.SECP256R1())
US = "sluice:test"


def jwk(key, kid, **more):
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return json.loads(algorithm.to_jwk(key.public_key())) | {"kid": kid, "use": "sig"} | more


class Issuer:
    """What the issuer answers, and how often it was asked."""

    def __init__(self):
        self.asked = []
        self.url = ""
        self.keys = [jwk(RSA, "rsa", alg="RS256"), jwk(EC, "ec", alg="ES256")]
        self.configuration = {}
        self.override = {}  # path -> (status, headers, body)

    def answer(self, path):
        if path in self.override:
            return self.override[path]
        if path == "/.well-known/openid-configuration":
            document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"} | self.configuration
        elif path == "/keys":
            document = {"keys": self.keys}
        else:
            return 404, {}, b""
        return 200, {"Content-Type": "application/json"}, json.dumps(document).encode()


@contextmanager
def _serving():
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            issuer.asked.append(self.path)
            status, headers, body = issuer.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join(10)


@pytest.fixture
def issuer():
    with _serving() as made:
        yield made


def claims(issuer, **changed):
    now = int(time.time())
    said = {
        "iss": issuer.url,
        "aud": US,
        "sub": "repo:acme/torch:environment:release",
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        "repository": "acme/torch",
        "workflow_ref": "acme/torch/.github/workflows/release.yml@refs/tags/v1",
        "environment": "release",
        "ref": "refs/tags/v1",
        "sha": "5f0c2d1e",
        "run_id": "77",
    } | changed
    return {name: value for name, value in said.items() if value is not None}


def signed(said, key=RSA, algorithm="RS256", kid="rsa", **headers):
    return jwt.encode(said, key, algorithm, headers={"kid": kid} | headers)


@pytest.fixture
def trusted(site, issuer):
    """A publisher that trusts one workflow of acme/torch in one environment."""
    demanded = trust.github("acme/torch", "release.yml", "release", None)
    publisher = Publisher("p1", issuer.url, US, demanded, Scope.parse("publish:open:torch*"), site.now())
    tokens.trust(site.keyring, site.ledger, audit.local(), publisher)
    return publisher


@pytest.fixture
def exchange(ask, app):
    yield lambda text, **options: ask("/api/v1/oidc/exchange", "POST", json={"token": text}, **options)
    app.state.issuers.close()


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec")])
def test_a_workflow_gets_a_token_for_a_quarter_of_an_hour(
    exchange, issuer, trusted, ask, site, clock, key, algorithm, kid
):
    answer = exchange(signed(claims(issuer), key, algorithm, kid))
    assert answer.status_code == 201, answer.text
    secret, token = answer.json()["secret"], answer.json()["token"]
    assert token["scopes"] == ["publish:open:torch*"]
    assert token["expires_at"] == site.now() + 15 * 60 * 1000
    assert token["name"] == "repo:acme/torch:environment:release"
    assert answer.headers["cache-control"] == "no-store"
    headers = {"Authorization": f"Bearer {secret}"}
    assert ask("/api/v1/whoami", headers=headers).json()["token"]["minted_by"] == "p1"
    line = site.ledger.last(1)[0].line
    assert (line.who, line.name, line.action) == ("p1", "repo:acme/torch:environment:release", "token mint")
    assert "repository=acme/torch ref=refs/tags/v1 sha=5f0c2d1e run_id=77" in line.detail
    clock.ms += 15 * 60 * 1000
    assert ask("/api/v1/whoami", headers=headers).status_code == 401


def _hs256_with_the_public_key(said):
    """What a library takes that lets the token choose the algorithm: the public key as a shared secret."""
    pem = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    text = part({"alg": "HS256", "typ": "JWT", "kid": "rsa"}) + b"." + part(said)
    mac = base64.urlsafe_b64encode(hmac.new(pem, text, hashlib.sha256).digest()).rstrip(b"=")
    return (text + b"." + mac).decode()


def _tampered(said):
    head, _, mac = signed(said).split(".")
    body = base64.urlsafe_b64encode(json.dumps(said | {"repository": "acme/torch", "x": 1}).encode())
    return f"{head}.{body.rstrip(b'=').decode()}.{mac}"


REFUSED = {
    "another audience": lambda i: signed(claims(i, aud="sluice:other")),
    "no audience": lambda i: signed(claims(i, aud=None)),
    "expired": lambda i: signed(claims(i, exp=int(time.time()) - 60)),
    "no expiry": lambda i: signed(claims(i, exp=None)),
    "not yet valid": lambda i: signed(claims(i, nbf=int(time.time()) + 600)),
    "issued in the future": lambda i: signed(claims(i, iat=int(time.time()) + 600)),
    "issued long ago": lambda i: signed(claims(i, iat=int(time.time()) - 7200)),
    "no time of issue": lambda i: signed(claims(i, iat=None)),
    "no subject": lambda i: signed(claims(i, sub=None)),
    "another issuer": lambda i: signed(claims(i, iss="https://elsewhere.example")),
    "an issuer that is like it": lambda i: signed(claims(i, iss=i.url + "/")),
    "an issuer that is no text": lambda i: signed(claims(i, iss=None)),
    "an unknown key": lambda i: signed(claims(i), kid="unknown"),
    "no key": lambda i: jwt.encode(claims(i), RSA, "RS256"),
    "another's key under a known name": lambda i: signed(claims(i), OTHER),
    "the other kind of key": lambda i: signed(claims(i), EC, "ES256", kid="rsa"),
    "alg none": lambda i: jwt.encode(claims(i), None, "none", headers={"kid": "rsa"}),
    "alg HS256 with the public key": lambda i: _hs256_with_the_public_key(claims(i)),
    "alg RS512": lambda i: signed(claims(i), algorithm="RS512"),
    "changed claims": lambda i: _tampered(claims(i, repository="evil/torch")),
    "another repository": lambda i: signed(claims(i, repository="acme/other")),
    "a repository that begins like it": lambda i: signed(claims(i, repository="acme/torch-evil")),
    "another workflow": lambda i: signed(
        claims(i, workflow_ref="acme/torch/.github/workflows/test.yml@refs/tags/v1")
    ),
    "a workflow of another repository": lambda i: signed(
        claims(i, workflow_ref="evil/x/.github/workflows/release.yml@refs/tags/v1")
    ),
    "another environment": lambda i: signed(claims(i, environment="test")),
    "no environment": lambda i: signed(claims(i, environment=None)),
    "a claim that is no text": lambda i: signed(claims(i, repository=["acme/torch"])),
    "no token": lambda _: "a.b.c",
    "nothing": lambda _: "",
    "a very long one": lambda i: signed(claims(i, more="x" * 20_000)),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused(exchange, issuer, trusted, site, what):
    before = len(site.keyring.tokens())
    answer = exchange(REFUSED[what](issuer))
    assert answer.status_code == 401, answer.text
    assert len(answer.json()["error"].splitlines()) == 1
    assert "evil" not in answer.text
    assert len(site.keyring.tokens()) == before
    line = site.ledger.last(1)[0].line
    assert (line.who, line.action, line.address) == ("-", "denied", "203.0.113.7")


def test_nobody_is_asked_for_keys_but_a_trusted_issuer(exchange, issuer):
    assert exchange(signed(claims(issuer))).status_code == 401
    assert issuer.asked == []


def test_failed_exchanges_are_limited(exchange, issuer, trusted):
    answers = [exchange("a.b.c").status_code for _ in range(11)]
    assert answers == [401] * 10 + [429]
    assert exchange(signed(claims(issuer))).status_code == 429
    assert exchange(signed(claims(issuer)), client="203.0.113.8").status_code == 201


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token": 1}', b'{"token": "' + b"x" * 40_000 + b'"}'])
def test_what_is_no_exchange(ask, body):
    assert ask("/api/v1/oidc/exchange", "POST", content=body).status_code == 400


def test_gitlabs_claims(exchange, issuer, site):
    demanded = trust.gitlab("group/sub/torch", issuer.url, ".gitlab-ci.yml", None, "main")
    site.keyring.add_publisher(
        Publisher("p2", issuer.url, US, demanded, Scope.parse("publish:open"), site.now())
    )
    host = issuer.url.removeprefix("http://")
    said = claims(
        issuer,
        repository=None,
        workflow_ref=None,
        environment=None,
        project_path="group/sub/torch",
        ci_config_ref_uri=f"{host}/group/sub/torch//.gitlab-ci.yml@refs/heads/main",
        ref="main",
    )
    assert exchange(signed(said)).status_code == 201
    for wrong in (
        {"project_path": "group/sub/other"},
        {"ref": "feature"},
        {"ci_config_ref_uri": f"{host}/group/sub/torch//evil.yml@refs/heads/main"},
    ):
        assert exchange(signed(said | wrong)).status_code == 401


def test_each_publisher_counts_for_its_own_audience(exchange, issuer, trusted, site):
    site.keyring.add_publisher(
        Publisher("p2", issuer.url, "other", {"repository": "acme/torch"}, Scope.parse("admin:*"), site.now())
    )
    assert exchange(signed(claims(issuer))).json()["token"]["scopes"] == ["publish:open:torch*"]
    assert exchange(signed(claims(issuer, aud="other"))).json()["token"]["scopes"] == ["admin:*"]
    both = exchange(signed(claims(issuer, aud=["other", US]))).json()["token"]["scopes"]
    assert both == ["publish:open:torch*", "admin:*"]


def test_a_token_is_good_for_nothing_once_its_publisher_is_distrusted(exchange, issuer, trusted, site, ask):
    secret = exchange(signed(claims(issuer))).json()["secret"]
    tokens.distrust(site.keyring, site.ledger, audit.local(), "p1", now=site.now())
    assert ask("/api/v1/whoami", headers={"X-API-Key": secret}).status_code == 401
    assert exchange(signed(claims(issuer))).status_code == 401


def test_keys_are_kept_and_asked_for_again_when_one_is_new(issuer):
    seconds = [0.0]
    issuers = Issuers(lambda: seconds[0])
    for _ in range(5):
        issuers.key(issuer.url, "rsa")
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    issuer.keys.append(jwk(OTHER, "new"))
    for _ in range(5):  # whoever sends names of keys that are not there makes nobody ask at will
        with pytest.raises(oidc.ClaimError):
            issuers.key(issuer.url, "new")
    assert len(issuer.asked) == 2
    seconds[0] = 31.0
    issuers.key(issuer.url, "new")
    assert len(issuer.asked) == 4
    issuer.keys.clear()
    issuers.key(issuer.url, "rsa")
    seconds[0] = 700.0
    with pytest.raises(oidc.ClaimError):
        issuers.key(issuer.url, "rsa")
    issuers.close()


def test_an_issuer_that_is_down_is_asked_again_later_and_its_keys_live_no_longer(issuer):
    seconds = [0.0]
    issuers = Issuers(lambda: seconds[0])
    issuers.key(issuer.url, "rsa")
    issuer.override["/keys"] = (503, {}, b"")
    seconds[0] = 100.0
    with pytest.raises(IssuerError, match="503"):
        issuers.key(issuer.url, "new")
    asked = len(issuer.asked)
    issuers.key(issuer.url, "rsa")
    with pytest.raises(IssuerError):
        issuers.key(issuer.url, "new")
    assert len(issuer.asked) == asked
    for seconds[0] in (605.0, 640.0, 700.0):
        with pytest.raises(IssuerError):
            issuers.key(issuer.url, "rsa")
    issuer.override.clear()
    seconds[0] = 750.0
    issuers.key(issuer.url, "rsa")
    issuers.close()


OFF = {
    "a redirect": {"/.well-known/openid-configuration": (302, {"Location": "/elsewhere"}, b"")},
    "keys behind a redirect": {"/keys": (302, {"Location": "/elsewhere"}, b"")},
    "no JSON": {"/keys": (200, {}, b"<html>")},
    "a list": {"/keys": (200, {}, b"[]")},
    "no keys": {"/keys": (200, {}, b'{"keys": 1}')},
    "deep": {"/keys": (200, {}, b"[" * 200_000)},
    "large": {"/keys": (200, {}, b" " * 300_000)},
}


@pytest.mark.parametrize("what", OFF)
def test_an_issuer_that_answers_oddly(exchange, issuer, trusted, what):
    issuer.override |= OFF[what] | {"/elsewhere": (200, {}, json.dumps({"keys": issuer.keys}).encode())}
    answer = exchange(signed(claims(issuer)))
    assert answer.status_code == 503, answer.text
    assert "/elsewhere" not in issuer.asked


@pytest.mark.parametrize(
    "configuration",
    [{"issuer": "https://elsewhere.example"}, {"jwks_uri": None}, {"jwks_uri": "file:///etc/passwd"},
     {"jwks_uri": "http://192.0.2.1/keys"}, {"jwks_uri": "ftp://127.0.0.1/keys"}],
)  # fmt: skip
def test_a_configuration_that_is_not_its_own(exchange, issuer, trusted, configuration):
    issuer.configuration |= configuration
    assert exchange(signed(claims(issuer))).status_code == 503
    assert "/keys" not in issuer.asked


def test_keys_that_are_not_for_this_are_left_out(issuer):
    issuer.keys = [
        {"kty": "oct", "kid": "shared", "k": "AAAA", "alg": "HS256"},
        jwk(WEAK, "weak"),
        jwk(RSA, "encryption", use="enc"),
        jwk(RSA, "other", alg="PS256"),
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "RSA"},
        "text",
        jwk(RSA, "good"),
    ]
    issuers = Issuers()
    assert issuers.key(issuer.url, "good").key_id == "good"
    assert set(issuers._known[issuer.url].keys) == {"good"}
    issuers.close()


@pytest.mark.parametrize(
    ("issuer", "demanded"),
    [
        ("http://issuer.example", {"repository": "a/b"}),
        ("https://issuer.example?x", {"repository": "a/b"}),
        ("issuer.example", {"repository": "a/b"}),
        ("https://issuer.example", {}),
        ("https://issuer.example", {"repository": "*"}),
        ("https://issuer.example", {"environment": "release"}),
        ("https://issuer.example", {"repository": "a/b", "Bad Name": "x"}),
        ("https://issuer.example", {"repository": "a/b", "ref": ""}),
    ],
)
def test_who_is_not_to_be_trusted(issuer, demanded):
    with pytest.raises(TrustError):
        trust.check(issuer, demanded)


@pytest.mark.parametrize(
    "make",
    [
        lambda: trust.github("acme", None, None, None),
        lambda: trust.github("*/*", None, None, None),
        lambda: trust.github("acme/torch", "*", None, None),
        lambda: trust.gitlab("acme", "https://gitlab.com", None, None, None),
        lambda: trust.gitlab("acme/torch", "https://gitlab.com", "a*b", None, None),
    ],
)
def test_names_that_are_none(make):
    with pytest.raises(TrustError):
        make()
