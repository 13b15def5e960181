"""What Prometheus is told, and whom else."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sluice.digest import Digest
from sluice_channel import tokens
from sluice_channel.app import create_site_app
from sluice_channel.audit import Actor
from sluice_channel.entry import Package, Patch, Publish, Unyank, Yank, canonical
from sluice_channel.errors import NoPackageError
from sluice_channel.measuring import Measuring, measured
from sluice_channel.metrics import Metrics
from sluice_channel.scope import Scope
from sluice_channel.site import open_site


@pytest.fixture
def site(tmp_path):
    made = open_site(tmp_path / "site", create=True)
    made.catalogue.create("main", now=1)
    yield made
    made.close()


def ask(app, *paths, client="127.0.0.1", method="GET", headers=None, base="http://127.0.0.1:8710"):
    """Ask for some paths and return the last answer."""

    async def run():
        transport = httpx.ASGITransport(app, client=(client, 1), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=base) as http:
            return [await http.request(method, path, headers=headers) for path in paths][-1]

    return asyncio.run(run())


def samples(text):
    """Return every sample by its name and labels."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(app):
    answer = ask(app, "/metrics")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples(answer.text)


def package(filename, subdir="noarch", size=9):
    record = canonical({"name": filename.rsplit("-", 2)[0], "depends": []})
    return Package(Digest.of(f"{subdir}/{filename}".encode()), size, subdir, filename, record)


def test_requests_are_counted_by_template_and_never_by_path(site):
    app = create_site_app(site)
    ask(app, "/main/", "/main/?q=a", "/t/very-secret/main/", "/main/label/x/", "/health", "/a/b/c/d/e/f/g")
    ask(app, *(f"/main/packages/secret-{number}" for number in range(20)))
    ask(app, "/health", method="HEAD")
    found = scrape(app)
    named = {key: value for key, value in found.items() if key[0] == "sluice_channel_requests_total"}
    assert named["sluice_channel_requests_total", *sorted(("/{channel}/", "GET", "200"))] == 3
    assert named["sluice_channel_requests_total", *sorted(("/{channel}/", "GET", "404"))] == 1
    assert named["sluice_channel_requests_total", *sorted(("/{channel}/packages/{name}", "GET", "404"))] == 20
    assert named["sluice_channel_requests_total", *sorted(("none", "GET", "404"))] == 1
    assert named["sluice_channel_requests_total", *sorted(("/health", "HEAD", "200"))] == 1
    assert "secret" not in str(found)
    assert found["sluice_channel_request_seconds_count", *sorted(("/{channel}/", "GET"))] == 4
    assert found["sluice_channel_sent_bytes_total", "/{channel}/"] > 3000


def test_methods_are_few_whatever_clients_send(site):
    app = create_site_app(site)
    for number in range(30):
        ask(app, "/health", method=f"METHOD{number}")
    methods = {key for key in scrape(app) if key[0] == "sluice_channel_requests_total"}
    assert methods == {("sluice_channel_requests_total", *sorted(("/health", "other", "405")))}


def test_two_applications_count_apart(site):
    one, two = create_site_app(site), create_site_app(site)
    ask(one, "/health")
    key = ("sluice_channel_requests_total", *sorted(("/health", "GET", "200")))
    assert scrape(one)[key] == 1
    assert key not in scrape(two)


def test_what_the_catalogue_holds_is_told(site):
    app = create_site_app(site)
    site.catalogue.change("main", [Publish(package("a-1-0.conda")), Publish(package("a-2-0.conda"))], now=2)
    site.catalogue.change("main", [Yank("noarch", "a-1-0.conda", "x")], now=3)
    site.blobs.append(Digest.of(b"whole"), 0, [b"who"], 100)
    found = scrape(app)
    assert found["sluice_channel_unfinished_uploads",] == 1
    assert found["sluice_channel_unfinished_uploads_bytes",] == 3
    assert found["sluice_channel_free_bytes",] > 0
    assert found["sluice_channel_generation", "main"] == 2
    assert found["sluice_channel_packages", "main"] == 1
    assert found["sluice_channel_names", "main"] == 1
    assert found["sluice_channel_files",] == 2
    assert found["sluice_channel_files_bytes",] == 18
    assert found["process_resident_memory_bytes",] > 1e6


def test_changes_are_counted_and_timed(site):
    metrics = Metrics()
    catalogue = measured(site.catalogue, metrics)
    catalogue.change("main", [Publish(package("a-1-0.conda"))], now=2)
    catalogue.change("main", [Publish(package("a-1-0.conda"))], now=2)  # changes nothing
    catalogue.change("main", [Yank("noarch", "a-1-0.conda", "x")], now=3)
    catalogue.change("main", [Unyank("noarch", "a-1-0.conda")], now=4)
    with pytest.raises(NoPackageError):
        catalogue.change("main", [Patch.of("noarch", "none-1-0.conda", {"a": 1})], now=5)
    found = samples(metrics.text().decode())
    assert found["sluice_channel_changes_total", "publish"] == 2
    assert found["sluice_channel_changes_total", "yank"] == 1
    assert found["sluice_channel_changes_total", "unyank"] == 1
    assert found["sluice_channel_changes_total", "patch"] == 0
    assert found["sluice_channel_generations_total",] == 3
    assert found["sluice_channel_catalogue_write_seconds_count",] == 4
    assert catalogue.channel("main").generation == 3  # the rest is the catalogue's own


def test_documents_are_timed_once_for_each_making(site):
    app = create_site_app(site)
    site.catalogue.change("main", [Publish(package("a-1-0.conda"))], now=2)
    assert ask(app, *["/main/noarch/repodata.json"] * 3).status_code == 200
    counts = {
        key[1]: value
        for key, value in scrape(app).items()
        if key[0] == "sluice_channel_derivation_seconds_count"
    }
    assert counts
    assert set(counts.values()) == {1}
    assert all(name.startswith("repodata.json") for name in counts)


def test_strangers_find_nothing(site):
    app = create_site_app(site)
    for options in (
        {"client": "192.0.2.7"},
        {"headers": {"X-Forwarded-For": "192.0.2.7"}},
        {"headers": {"Forwarded": "for=192.0.2.7"}},
        {"headers": {"X-Real-IP": "127.0.0.1"}},
        {"client": "no address"},
        {"base": "http://rebound.example"},
    ):
        answer = ask(app, "/metrics", **options)
        assert (answer.status_code, answer.json()) == (404, {"error": "there is nothing here"})
    assert ask(app, "/metrics", client="::1").status_code == 200


def test_only_who_administers_the_server_sees_metrics_from_afar(site):
    site.catalogue.create("secret", private=True, now=1)
    site.catalogue.create("secret/label/dev", now=1)
    app = create_site_app(site)

    def secret(*scopes):
        parsed = [Scope.parse(each) for each in scopes]
        return tokens.make(site.keyring, site.ledger, Actor("cli", "test"), "t", parsed, now=1)[1]

    hidden = ("sluice_channel_generation", "secret"), ("sluice_channel_generation", "secret/label/dev")
    assert ("sluice_channel_generation", "main") in scrape(app)
    assert not any(each in scrape(app) for each in hidden)
    far = {"client": "192.0.2.7"}
    for scope in ("read:*", "publish:*", "admin:main"):
        assert ask(app, "/metrics", headers={"X-API-Key": secret(scope)}, **far).status_code == 404
    answer = ask(app, "/metrics", headers={"X-API-Key": secret("admin:*")}, **far)
    assert all(each in samples(answer.text) for each in hidden)
    near = samples(ask(app, "/metrics", headers={"X-API-Key": secret("read:secret*")}).text)
    assert hidden[0] in near
    for _ in range(30):
        wrong = ask(app, "/metrics", headers={"X-API-Key": "slc_" + "0" * 64}, **far)
        assert (wrong.status_code, wrong.json()) == (404, {"error": "there is nothing here"})


def test_requests_under_way_and_those_that_fail_are_counted():
    metrics = Metrics()
    seen = []

    async def app(scope, receive, send):
        seen.append(samples(metrics.text().decode()))
        if scope["path"] == "/fails":
            raise RuntimeError("on purpose")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 10, "more_body": True})
        await send({"type": "http.response.body", "body": b"y"})

    counted = Measuring(app, metrics)
    ask(counted, "/works", method="PUT")
    ask(counted, "/fails")
    assert seen[0]["sluice_channel_requests_in_progress", "upload"] == 1
    assert seen[0]["sluice_channel_requests_in_progress", "read"] == 0
    assert seen[1]["sluice_channel_requests_in_progress", "upload"] == 0
    found = samples(metrics.text().decode())
    assert found["sluice_channel_requests_in_progress", "read"] == 0
    assert found["sluice_channel_requests_total", *sorted(("none", "PUT", "200"))] == 1
    assert found["sluice_channel_requests_total", *sorted(("none", "GET", "500"))] == 1
    assert found["sluice_channel_sent_bytes_total", "none"] == 11


def test_every_metric_is_described(site):
    text = ask(create_site_app(site), "/metrics").text
    for name in set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)):
        assert re.search(rf"^# HELP {name} \S", text, re.MULTILINE)
