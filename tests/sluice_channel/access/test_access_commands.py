"""The commands for tokens, publishers and the audit log, and a server that is started with TLS or open."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import signal
import sqlite3
import ssl

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sluice_channel import tokens


@pytest.fixture
def root(site, tmp_path):
    return tmp_path / "site"


def told(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_token_is_made_shown_once_listed_and_revoked(root, command):
    done = command("token", "add", root, "release job", "publish:open:a*", "read:team-*", "--days", "90")
    assert done.returncode == 0, done.stderr
    secret = done.stdout.strip()
    assert tokens._SECRET.fullmatch(secret)
    assert secret not in done.stderr
    assert tokens.in_url(secret) in done.stderr
    made = told(command("token", "list", root, "--json"))["tokens"]
    assert [(each["name"], each["scopes"]) for each in made] == [
        ("release job", ["publish:open:a*", "read:team-*"])
    ]
    assert made[0]["expires_at"] - made[0]["created_at"] == 90 * 86_400_000
    shown = command("token", "list", root).stdout
    assert made[0]["id"] in shown
    assert "valid" in shown
    assert "never" in shown
    assert secret[4:] not in shown
    assert "revoked" in command("token", "revoke", root, made[0]["id"]).stdout
    assert "revoked" in command("token", "list", root).stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("token", "add", "ROOT", "x", "write:main"), "no scope: 'write:main'"),
        (("token", "add", "ROOT", "", "read:main"), "name"),
        (("token", "revoke", "ROOT", "none"), "there is no token 'none'"),
        (("token", "list", "/nowhere"), "holds no catalogue"),
        (("publisher", "add", "ROOT", "publish:main"), "name --github or --gitlab"),
        (("publisher", "add", "ROOT", "publish:main", "--github", "acme"), "OWNER/NAME"),
        (("publisher", "add", "ROOT", "publish:main", "--github", "a/b", "--gitlab", "a/b"), "one of"),
        (
            ("publisher", "add", "ROOT", "publish:main", "--issuer", "https://i.test", "--claim", "x"),
            "NAME=VALUE",
        ),
        (("publisher", "add", "ROOT", "publish:main", "--issuer", "https://i.test"), "name no repository"),
        (("publisher", "remove", "ROOT", "none"), "there is no publisher 'none'"),
        (("visibility", "ROOT", "absent", "private"), "there is no channel 'absent'"),
        (("audit", "ROOT", "--known", "abc"), "not a sha256"),
    ],
)
def test_what_is_refused_is_told_in_one_line(root, command, arguments, told):
    done = command(*(root if each == "ROOT" else each for each in arguments))
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_publishers(root, command):
    made = told(
        command(
            *("publisher", "add", root, "publish:open:a*", "--github", "acme/a", "--workflow", "release.yml"),
            *("--environment", "pypi", "--claim", "repository_owner_id=17", "--json"),
        )
    )
    assert made["issuer"] == "https://token.actions.githubusercontent.com"
    assert made["audience"].startswith("sluice:")
    assert made["claims"] == {
        "repository": "acme/a",
        "workflow_ref": "acme/a/.github/workflows/release.yml@*",
        "environment": "pypi",
        "repository_owner_id": "17",
    }
    other = command(
        "publisher",
        "add",
        root,
        "publish:open",
        "--gitlab",
        "g/p",
        "--issuer",
        "https://git.example",
        "--audience",
        "us",
    )
    assert "project_path=g/p" in other.stdout
    listed = told(command("publisher", "list", root, "--json"))["publishers"]
    assert listed[0]["id"] == made["id"]
    assert made["id"] in command("publisher", "list", root).stdout
    assert told(command("publisher", "remove", root, made["id"], "--json"))["id"] == made["id"]
    assert len(told(command("publisher", "list", root, "--json"))["publishers"]) == 1


def test_the_audit_log_is_shown_and_verified(root, command):
    command("visibility", root, "open", "private")
    first = told(command("audit", root, "--json"))
    assert first["problem"] is None
    assert first["log"][-1]["action"] == "channel private"
    assert first["log"][-1]["who"] == "local"
    assert {each["action"] for each in first["log"]} == {"channel create", "channel private", "publish"}
    command("visibility", root, "open", "public")
    command("visibility", root, "open", "public")  # changes nothing
    shown = command("audit", root, "--last", "1", "--known", first["head"])
    assert "channel public" in shown.stdout
    assert f"{first['lines'] + 1} lines" in shown.stderr
    file = sqlite3.connect(root / "catalogue.sqlite", isolation_level=None)
    file.execute("DROP TRIGGER audit_no_update")
    file.execute("DROP TRIGGER audit_no_delete")
    file.execute("DELETE FROM audit WHERE number >= ?", (first["lines"],))
    cut = command("audit", root, "--known", first["head"])
    assert cut.returncode == 1
    assert "cut off" in cut.stderr
    assert command("audit", root).returncode == 0
    file.execute("DROP TRIGGER audit_no_update")  # which the command has put back
    file.execute("UPDATE audit SET who = 'nobody' WHERE number = 2")
    file.close()
    changed = command("audit", root, "--json")
    assert changed.returncode == 1
    assert "line 2" in json.loads(changed.stdout)["problem"]


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sluice test")])
    today = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


def test_tls_and_a_log_without_tokens(root, token, certificate, starting, tmp_path):
    secret = token("read:vault")
    options = ["--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1]), "--access-log"]
    with starting(root, *options, ready=tmp_path / "ready") as (process, url):
        origin = url.removesuffix("/main")
        assert origin.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(certificate[0]))
        with httpx.Client(base_url=origin, verify=context) as client:
            for spelled in (secret, tokens.in_url(secret), "slc_" + "ab" * 32):
                for path in (
                    f"/t/{spelled}/vault/noarch/repodata.json",
                    f"/%74/{spelled}/vault/x",
                    f"/t/{spelled}",
                ):
                    client.get(path)
            assert client.get(f"/t/{secret}/vault/noarch/repodata.json").status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{origin}/vault/")
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=30)[0]
    assert "GET /t/***/vault/noarch/repodata.json" in output
    assert secret[4:] not in output
    assert "ab" * 32 not in output


def test_open_serves_this_machine_only(root, starting, command, tmp_path):
    refused = command("serve", root, "--open", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 1
    assert "--open" in refused.stderr
    for option, works in ((["--open"], True), ([], False)):
        with starting(root, *option, ready=tmp_path / f"ready{works}") as (process, url):
            origin = url.removesuffix("/main")
            assert httpx.get(f"{origin}/vault/").is_success is works
            assert (httpx.get(f"{origin}/api/v1/whoami").status_code == 200) is works
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def test_wrong_certificates(root, certificate, command):
    certificate, key = certificate
    for wrong in (("--tls-cert", certificate), ("--tls-cert", certificate, "--tls-key", certificate),
                  ("--tls-cert", "/nowhere", "--tls-key", key)):  # fmt: skip
        done = command("serve", root, "--port", "0", *wrong)
        assert done.returncode == 1
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_running_server_knows_at_once_what_a_command_changed(root, serving, command, tmp_path):
    with serving(root, ready=tmp_path / "ready") as url:
        vault = url.replace("/main", "/vault/noarch/repodata.json")
        assert httpx.get(vault).status_code == 404
        made = told(command("token", "add", root, "job", "read:vault", "--json"))
        headers = {"Authorization": f"Bearer {made['secret']}"}
        assert httpx.get(vault, headers=headers).status_code == 200
        command("token", "revoke", root, made["token"]["id"])
        assert httpx.get(vault, headers=headers).status_code == 404
        command("visibility", root, "vault", "public")
        assert httpx.get(vault).status_code == 200
