"""Environments of a site, over HTTP."""

from __future__ import annotations

import json

import pytest

from sluice.digest import Digest
from sluice_channel.entry import Publish, Yank


def sha(text):
    return Digest.of(text.encode()).hex


def test_registering_makes_a_version_and_the_same_again_does_not(served, parts):
    lock = served.lock()
    first = served.put(lock)
    assert first.status_code == 201, first.text
    told = first.json()
    assert (told["changed"], told["version"], told["own"], told["elsewhere"]) == (True, 1, 2, [])
    assert (told["lock_sha256"], told["generation"], told["solved_at"]) == (sha(lock), 1, None)
    again = served.put(lock)
    assert (again.status_code, again.json()["changed"], again.json()["version"]) == (200, False, 1)
    history = served.client.get(f"/main/envs/{parts.NAME}/history").json()
    assert [each["version"] for each in history] == [1]


def test_what_daemons_and_people_fetch(served, parts):
    lock = served.lock()
    served.put(lock)
    base = f"/main/envs/{parts.NAME}"
    newest = served.client.get(f"{base}/pixi.lock")
    assert newest.text == lock
    assert newest.headers["cache-control"] == "no-cache"
    assert newest.headers["etag"] == f'"{sha(lock)}"'
    unchanged = served.client.get(f"{base}/pixi.lock", headers={"If-None-Match": newest.headers["etag"]})
    assert unchanged.status_code == 304
    kept = served.client.get(f"{base}/{sha(lock)}.lock")
    assert kept.text == lock
    assert "immutable" in kept.headers["cache-control"]
    assert served.client.get(f"{base}/environment.yml").text == parts.SPEC
    listed = served.client.get("/main/envs").json()
    assert [(each["name"], each["lock_sha256"], each["size"]) for each in listed] == [
        (parts.NAME, sha(lock), len(lock))
    ]
    assert listed[0]["url"] == f"{served.url}/envs/{parts.NAME}/pixi.lock"
    assert served.client.get(listed[0]["kept_url"]).text == lock
    one = served.client.get(base).json()
    assert (one["spec"], one["packages"], one["platforms"]) == (parts.SPEC, 2, ["linux-64"])
    assert served.client.head(base).headers["content-length"] == str(len(served.client.get(base).content))


def test_the_daemons_own_client_reads_it(served, parts):
    channel = pytest.importorskip("sluice_scheduler.channel")
    lock = served.lock()
    served.put(lock)
    published = channel.fetch_lock(served.url, parts.NAME)
    assert published.content == lock.encode()
    served.site.catalogue.change("main", [Publish(parts.TORCH_1)], now=2)
    served.put(served.lock(parts.TORCH_1, parts.DIGITS))
    assert channel.fetch_lock_at(published.url, parts.NAME).content == lock.encode()
    with pytest.raises(Exception, match="404"):
        channel.fetch_lock(served.url, "vision-digits-pt213-mps")


def test_an_old_lock_stays_and_versions_can_be_compared(served, parts):
    old = served.lock()
    served.put(old)
    served.site.catalogue.change("main", [Publish(parts.TORCH_1)], now=2)
    new = served.lock(parts.TORCH_1, parts.DIGITS)
    told = served.put(new).json()
    assert (told["version"], told["generation"]) == (2, 2)
    base = f"/main/envs/{parts.NAME}"
    assert served.client.get(f"{base}/{sha(old)}.lock").text == old
    for query in ({"from": sha(old), "to": sha(new)}, {"from": "1", "to": "2"}, {"from": "1"}):
        found = served.client.get(f"{base}/diff", params=query).json()
        assert not found["equal"]
        changes = {change["what"]: change for each in found["sections"] for change in each["changes"]}
        assert list(changes) == ["pytorch"]
        assert changes["pytorch"]["before"].startswith("2.13.0 ")
    text = served.client.get(f"{base}/diff", params={"from": "1", "format": "text"})
    assert text.headers["content-type"].startswith("text/plain")
    assert "~ pytorch 2.13.0 cpu_py311h1_0 → 2.13.1 cpu_py311h1_0" in text.text
    assert served.client.get(f"{base}/diff", params={"from": "2", "to": "2"}).json()["equal"]
    back = served.put(old).json()
    assert (back["version"], back["changed"]) == (3, True)
    assert served.client.get(f"/main/@1/envs/{parts.NAME}").json()["version"] == 1
    assert served.client.get(f"/main/@0/envs/{parts.NAME}").status_code == 404


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"lock": "version: 7\npackages: {"}, 400, "not YAML"),
        ({"lock": "- " * 100_000}, 400, "nested too deeply"),
        ({"lock": "[" * 100_000}, 400, "nested too deeply"),
        ({"lock": "a: &a [1]\nb: [*a, *a]\n"}, 400, "alias"),
        ({"lock": "x" * ((4 << 20) + 1)}, 400, "larger than"),
        ({"lock": 7}, 400, "no text 'lock'"),
        ({"spec": None}, 400, "no text 'spec'"),
        ({"spec": "name: other\nchannels: [main]\ndependencies: [a]\n"}, 400, "make them equal"),
        ({"spec": "- " * 100_000}, 400, "nested too deeply"),
        ({"format": "conda-lock"}, 400, "not a conda-lock.yml"),
        ({"format": "tarball"}, 400, "not a format"),
        ({"addresses": ["http://h/other"]}, 400, "not an address of the channel"),
        ({"addresses": "http://h/main"}, 400, "addresses is a list"),
        ({"lock": "\ud800"}, 400, ""),
    ],
)
def test_what_is_refused_is_told_in_one_line_and_nothing_is_kept(served, parts, change, status, message):
    document = {"spec": parts.SPEC, "lock": served.lock()} | change
    answer = served.client.put(
        f"/main/envs/{parts.NAME}",
        content=json.dumps(document),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert served.client.get("/main/envs").json() == []


def test_other_bodies_and_names_are_refused(served, parts):
    for content in (b"", b"[]", b"{", b"[" * 100_000, b"\xff"):
        assert served.client.put(f"/main/envs/{parts.NAME}", content=content).status_code == 400
    assert served.put(served.lock(), name="digits").status_code == 400
    assert served.put(served.lock(), channel="other").status_code == 404
    assert served.client.put(f"/main/envs/{parts.NAME}", content=b" " * (13 << 20)).status_code == 400


def test_a_package_that_the_channel_lacks_or_has_otherwise_is_named(served, parts):
    lacking = served.put(served.lock(parts.TORCH_1, parts.DIGITS))
    assert lacking.status_code == 409
    assert parts.TORCH_1.filename in lacking.json()["error"]
    other = served.put(served.lock(digests={parts.DIGITS.filename: "ab" * 32}))
    assert other.status_code == 409
    assert parts.DIGITS.filename in other.json()["error"]
    assert "abababababab" in other.json()["error"]
    unreached = served.put(parts.pixi(f"{served.url}/@9", parts.TORCH, parts.DIGITS))
    assert unreached.status_code == 409
    assert "generation 9" in unreached.json()["error"]
    assert served.put(parts.pixi(f"{served.url}/label/dev", parts.TORCH, parts.DIGITS)).status_code == 409


def test_packages_of_other_channels_are_allowed_and_listed(served, parts):
    lock = served.lock().replace(f"{served.url}/noarch", "https://elsewhere.example/forge/noarch")
    told = served.put(lock).json()
    # The same bytes under the same name: this channel's, wherever the lock has them from.
    assert (told["own"], told["elsewhere"]) == (2, [])
    foreign = lock.replace(parts.DIGITS.sha256.hex, "cd" * 32)
    told = served.put(foreign).json()
    assert (told["own"], told["elsewhere_count"]) == (1, 1)
    assert told["elsewhere"] == [f"https://elsewhere.example/forge/noarch/{parts.DIGITS.filename}"]
    known = served.put(foreign, addresses=["https://elsewhere.example/main"])
    assert known.status_code == 200
    named = foreign.replace("elsewhere.example/forge", "elsewhere.example/main")
    assert served.put(named, addresses=["https://elsewhere.example/main"]).status_code == 409


def test_the_generation_that_a_lock_was_solved_at_is_kept(served, parts):
    served.site.catalogue.change("main", [Publish(parts.TORCH_1)], now=2)
    told = served.put(parts.pixi(f"{served.url}/@1", parts.TORCH, parts.DIGITS)).json()
    assert (told["generation"], told["solved_at"]) == (2, 1)


def test_a_yanked_package_may_still_be_locked_and_is_told(served, parts):
    served.site.catalogue.change("main", [Yank("linux-64", parts.TORCH.filename, "broken")], now=2)
    told = served.put(served.lock()).json()
    assert (told["changed"], told["yanked"]) == (True, [parts.TORCH.filename])


def test_secrets_in_urls_are_refused_and_not_repeated(served, parts):
    for url in (
        served.url.replace("/main", "/t/se-cret/main"),
        served.url.replace("http://", "http://user:se-cret@"),
    ):
        answer = served.put(parts.pixi(url, parts.TORCH, parts.DIGITS))
        assert answer.status_code == 400
        assert "se-cret" not in answer.text


def test_explicit_and_conda_lock_are_registered_and_written(served, parts):
    urls = [f"{served.url}/{each.subdir}/{each.filename}" for each in (parts.TORCH, parts.DIGITS)]
    digests = [each.sha256.hex for each in (parts.TORCH, parts.DIGITS)]
    explicit = "@EXPLICIT\n" + "".join(
        f"{url}#{digest[:32]}\n" for url, digest in zip(urls, digests, strict=True)
    )
    told = served.put(explicit)
    assert told.status_code == 201, told.text
    assert told.json()["format"] == "explicit"
    base = f"/main/envs/{parts.NAME}"
    assert served.client.get(f"{base}/explicit.txt").text == explicit
    assert served.client.get(f"{base}/pixi.lock").status_code == 404
    written = served.client.get(f"{base}/conda-lock.yml").text
    again = served.put(written).json()
    assert (again["format"], again["own"], again["version"]) == ("conda-lock", 2, 2)
    # The md5 stood for this channel's package, whose sha256 and needs are known here.
    found = served.client.get(f"{base}/diff", params={"from": "1", "to": "2"}).json()
    assert [each["section"] for each in found["sections"]] in ([], ["channels"])
    third = served.put(served.lock()).json()
    assert third["format"] == "pixi"
    text = served.client.get(f"{base}/explicit.txt").text
    assert f"{urls[0]}#sha256:{digests[0]}" in text
    assert served.client.get(f"{base}/explicit.txt", params={"platform": "osx-64"}).status_code == 400


def test_who_uses_a_package_and_who_serves_it(served, parts):
    old = served.lock()
    served.put(old)
    served.site.catalogue.change("main", [Publish(parts.TORCH_1)], now=2)
    served.put(served.lock(parts.TORCH_1, parts.DIGITS))
    url = f"/main/envs/{parts.NAME}/deployments/gpu-1"
    report = {"lock_sha256": sha(old), "ttl_s": 60, "details": {"host": "h1"}}
    told = served.client.put(url, json=report)
    assert told.status_code == 200
    assert told.json()["until"] - told.json()["seen_at"] == 60_000
    found = served.client.get(f"/main/packages/{parts.TORCH.filename}/used-by").json()
    assert [(each["version"], each["current"]) for each in found["environments"][0]["versions"]] == [
        (1, False)
    ]
    assert [each["id"] for each in found["deployments"]] == ["gpu-1"]
    newer = served.client.get(f"/main/packages/{parts.TORCH_1.filename}/used-by").json()
    assert newer["deployments"] == []
    both = served.client.get("/main/packages/pytorch/used-by").json()
    assert [each["version"] for each in both["environments"][0]["versions"]] == [2, 1]
    current = served.client.get("/main/packages/pytorch/used-by", params={"current": "true"}).json()
    assert [each["version"] for each in current["environments"][0]["versions"]] == [2]
    assert len(served.client.get(f"/main/envs/{parts.NAME}/deployments").json()) == 1
    assert served.client.delete(url).status_code == 204
    assert served.client.get(f"/main/envs/{parts.NAME}/deployments").json() == []
    assert served.client.get("/main/packages/none/used-by").json()["environments"] == []


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"lock_sha256": "x"},
        {"lock_sha256": "ab" * 32},
        {"ttl_s": 1},
        {"ttl_s": True},
        {"ttl_s": 1e9},
        {"details": {"a": 1}},
        {"details": {"a": "\x1b[2J"}},
        {"details": {str(number): "" for number in range(33)}},
    ],
)
def test_reports_are_checked(served, parts, report):
    lock = served.lock()
    served.put(lock)
    document = report if not report or "lock_sha256" in report else {"lock_sha256": sha(lock)} | report
    answer = served.client.put(f"/main/envs/{parts.NAME}/deployments/d", json=document)
    assert answer.status_code in {400, 404}, answer.text
    assert served.client.get(f"/main/envs/{parts.NAME}/deployments").json() == []


def test_what_is_not_there_is_a_404(served, parts):
    served.put(served.lock())
    base = f"/main/envs/{parts.NAME}"
    for path in (
        "/other/envs",
        "/main/envs/none",
        f"{base}/other.txt",
        f"{base}/{'ab' * 32}.lock",
        f"{base}/diff?from=9",
        f"{base}/diff?from=x",
        f"{base}?version=7",
        "/main/envs/none/history",
        "/main/envs/none/audit",
        "/main/envs/none/deployments",
        f"/main/label/dev/envs/{parts.NAME}",
    ):
        assert served.client.get(path).status_code == 404, path
    assert served.client.get(f"{base}/audit").status_code == 409


def test_strangers_may_not_register(site, parts):
    import httpx

    from sluice_channel.app import create_site_app

    with parts.running(create_site_app(site)) as (origin, _), httpx.Client(base_url=origin) as client:
        lock = parts.pixi(f"{origin}/main", parts.TORCH, parts.DIGITS)
        answer = client.put(f"/main/envs/{parts.NAME}", json={"spec": parts.SPEC, "lock": lock})
        assert answer.status_code == 401
        assert client.get("/main/envs").json() == []
        assert client.put(f"/main/envs/{parts.NAME}/deployments/d", json={}).status_code in {401, 400}


def test_what_locks_name_is_kept_from_retention(served, parts):
    served.put(served.lock())
    digests = {parts.TORCH.sha256, parts.DIGITS.sha256}
    assert set(served.site.registry.named_digests()) == digests
    assert served.site.registry.named(parts.TORCH.sha256)[0].environment == parts.NAME
