"""A real daemon whose queue is a real Redis server: password, TLS, a server that stops and comes back."""

import datetime as dt
import ipaddress
import signal
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sluice_scheduler.testing import eventually

PASSWORD = "s3cret/of: the @queue"


def refused(daemon, seconds=20):
    """Wait until a submission is refused; gives the answer."""
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["x"]}

    def answered():
        response = daemon.http.post("/v1/tasks", json={"model": "echo", "inputs": [tensor]})
        return None if response.status_code == 202 else response

    return eventually(answered, seconds)


def test_tasks_wait_for_a_server_that_stops_and_comes_back(start, start_redis, tmp_path):
    redis = start_redis()
    with start("--queue", redis.url) as daemon:
        daemon.wait_ready()
        running = daemon.submit(f"hold:{tmp_path}/go")
        daemon.running(running)
        queued = [daemon.submit(f"task {n}", priority=9 - n) for n in range(5)]
        redis.stop(signal.SIGKILL)
        response = refused(daemon)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        line = response.json()["error"]
        assert "does not answer" in line
        assert "\n" not in line
        assert daemon.http.get(f"/v1/tasks/{queued[0]}").status_code == 503
        (tmp_path / "go").touch()  # its answer is there while the server is not
        assert daemon.http.get("/health/live").status_code == 200
        redis.start()
        answers = [daemon.task(task) for task in (running, *queued)]
        assert [answer["state"] for answer in answers] == ["succeeded"] * 6
        assert [answer["attempts"] for answer in answers] == [1] * 6
        assert len({answer["start_order"] for answer in answers}) == 6
        assert daemon.answer("after")["outputs"][0]["data"] == ["AFTER"]
        assert "Traceback" not in daemon.log()


def certificates(folder):
    """Make a certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "cert.pem", folder / "key.pem"


def test_a_server_with_tls_and_a_password(start, start_redis, tmp_path):
    certificate, key = certificates(tmp_path)
    tls = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no")
    redis = start_redis("--requirepass", PASSWORD, *tls, tls=True)
    address = f"rediss://127.0.0.1:{redis.port}"
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    known = ("--queue-ca", str(certificate), "--queue-password-file", str(secret))
    with start("--queue", address, *known) as daemon:
        daemon.wait_ready()
        assert daemon.answer("over tls")["outputs"][0]["data"] == ["OVER TLS"]
    with start("--queue", f"rediss://:{quote(PASSWORD, safe='')}@127.0.0.1:{redis.port}") as daemon:
        assert daemon.process.wait(30) == 1
        last = daemon.log().strip().splitlines()[-1]
        assert "CERTIFICATE_VERIFY_FAILED" in last  # and not of a password that was right
    assert PASSWORD not in daemon.log()
    assert "s3cret" not in daemon.log()
    assert "Traceback" not in daemon.log()


def test_a_second_daemon_does_not_serve_the_same_keys(start, start_redis, tmp_path):
    redis = start_redis()
    with start("--queue", redis.url) as daemon:
        daemon.wait_ready()
        with start("--queue", redis.url, "--state", str(tmp_path / "other")) as second:
            assert second.process.wait(30) == 1
            assert "another scheduler serves the queue 'sluice:'" in second.log()
        assert daemon.answer("x")["state"] == "succeeded"
