"""The pages of a catalogue, asked for as a browser does."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from fastapi import FastAPI

from sluice.digest import Digest
from sluice.lock import Lock
from sluice_channel import lockfiles, tokens
from sluice_channel.app import create_site_app
from sluice_channel.audit import Actor
from sluice_channel.contents import members
from sluice_channel.entry import Package, Patch, Publish, Yank, canonical
from sluice_channel.registry import Registration
from sluice_channel.routes import web_envs, web_history, web_site
from sluice_channel.scope import Scope
from sluice_channel.site import Site, open_site

DAY = 86_400_000  # ms
NOW = 1_790_000_000_000
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> \u202egnp.exe " + "W" * 400


@dataclass
class World:
    site: Site
    app: FastAPI
    folder: Path
    make: object

    def add(self, filename_parts, *, channel="main", now=NOW, about=None, kept=True, **options):
        """Publish a small real package."""
        path = self.make(self.folder, *filename_parts, about=about or {}, **options)
        content = path.read_bytes()
        digest = Digest.of(content)
        subdir = path.parent.name
        if kept:
            self.site.blobs.append(digest, 0, [content], 1 << 30)
            self.site.blobs.finish(digest)
        record = {
            "name": filename_parts[0],
            "version": filename_parts[1],
            "build": "0",
            "build_number": 0,
            "depends": list(options.get("depends", ())),
            "license": options.get("license", "BSD-3-Clause"),
        }
        summary = {"summary": f"The {filename_parts[0]} package"} | (about or {})
        made = Package(digest, len(content), subdir, path.name, canonical(record), "{}", canonical(summary))
        self.site.catalogue.change(channel, [Publish(made)], now=now)
        return made

    def get(self, path, *, accept="text/html", **options) -> httpx.Response:
        async def ask():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://channel.example") as client:
                return await client.get(path, headers={"Accept": accept}, **options)

        return asyncio.run(ask())


@pytest.fixture
def world(tmp_path, package):
    site = replace(open_site(tmp_path / "site", create=True), now=lambda: NOW)
    for channel in ("main", "main/label/dev"):
        site.catalogue.create(channel, now=NOW)
    yield World(site, create_site_app(site), tmp_path / "files", package)
    site.close()


@pytest.fixture
def filled(world):
    """Generations: 1 base 1.9, 2 base 1.10, 3 app, 4 old base yanked, 5 app patched."""
    old = world.add(("base", "1.9"), now=NOW - 30 * DAY)
    world.add(("base", "1.10"), now=NOW - 20 * DAY, about={"summary": "Ground to stand on"})
    app = world.add(("app", "2.0"), now=NOW - DAY, depends=("base >=1.9", "elsewhere"), subdir="linux-64")
    catalogue = world.site.catalogue
    catalogue.change("main", [Yank(old.subdir, old.filename, "wrong <b>sums</b>")], now=NOW)
    catalogue.change(
        "main", [Patch.of(app.subdir, app.filename, {"depends": ["base >=1.10", "elsewhere"]})], now=NOW
    )
    catalogue.change("main/label/dev", [Publish(app)], now=NOW)
    return world


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.texts, self._quiet = [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._quiet += tag == "style"
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_endtag(self, tag):
        self._quiet -= tag == "style"

    def handle_data(self, data):
        if not self._quiet:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def read(answer) -> Page:
    assert answer.status_code == 200, answer.text[-300:]
    return Page(answer.text)


def test_every_link_of_every_page_leads_somewhere(filled):
    seen, waiting = {}, ["/", "/main/@2/", "/main/@7d/", "/main/label/dev/"]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        answer = filled.get(path)
        seen[path] = answer.status_code
        assert answer.status_code == 200, path
        for link in Page(answer.text).links:
            target = urljoin(path, link).partition("#")[0]
            # Documents and files are another router's.
            if (
                not re.search(r"^https?:|\.xml$|^/[^?]*/(noarch|linux-64)/[^/]+$", target)
                or "/packages/" in target
            ):
                waiting.append(target)
    assert {"/main/packages/base", "/main/generations/1", "/main/@1/packages/base", "/main/@5/"} <= set(seen)
    assert any("/packages/app/linux-64/" in path for path in seen)


def test_home(filled):
    page = read(filled.get("/"))
    assert "main http://channel.example/main 2 packages of 2 names, generation 5" in page.text
    assert "./main/label/dev/" in page.links


def test_a_channel_without_packages_and_a_site_without_channels(tmp_path):
    site = open_site(tmp_path / "empty", create=True)
    world = World(site, create_site_app(site), tmp_path, None)
    assert "no channel here" in read(world.get("/")).text
    site.catalogue.create("main", now=1)
    assert "no packages here yet" in read(world.get("/main/")).text
    assert "Nothing was published" in read(world.get("/main/generations")).text
    assert "Nothing was published" in read(world.get("/")).text
    site.close()


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/main", "/main/"),
        ("/main/label/dev", "/main/label/dev/"),
        ("/main/@2", "/main/@2/"),
        ("/t/abc/main/@7d", "/t/abc/main/@7d/"),
    ],
)
def test_a_missing_slash_is_added(filled, path, target):
    answer = filled.get(path)
    assert (answer.status_code, urljoin(path, answer.headers["location"])) == (308, target)


def test_search(filled):
    found = read(filled.get("/main/?q=STAND+base"))
    assert "./packages/base" in found.links
    assert "./packages/app" not in found.links
    assert "Ground to stand on" in found.text
    nothing = filled.get("/main/", params={"q": '"><script>alert(1)</script>\u202e'})
    assert ("script", {}) not in Page(nothing.text).tags
    assert "No package has" in read(nothing).text


def test_lists_come_in_pages(filled, monkeypatch):
    monkeypatch.setattr(web_site, "NAMES", 1)
    first = read(filled.get("/main/?q=package+or+ground"))
    assert "No package has" in first.text
    first = read(filled.get("/main/"))
    assert ("./packages/app" in first.links, "./packages/base" in first.links) == (True, False)
    assert "1 to 1 of 2 names" in first.text
    second = read(filled.get("/main/?page=2"))
    assert ("./packages/app" in second.links, "./packages/base" in second.links) == (False, True)
    assert "The list has 2 pages" in read(filled.get("/main/?page=3")).text
    searched = read(filled.get("/main/?q=a"))
    assert "?q=a&page=2" in searched.links
    old = read(filled.get("/main/@3/?page=2"))
    assert "./packages/base" in old.links


def test_a_package(filled):
    page = read(filled.get("/main/packages/base"))
    assert "base 1.10 Ground to stand on" in page.text
    assert "conda install -c http://channel.example/main base" in page.text
    assert "pixi workspace channel add http://channel.example/main pixi add base" in page.text
    assert page.text.index("base-1.10-0.conda") < page.text.index("base-1.9-0.conda")
    assert "yanked wrong <b>sums</b>" in page.text
    assert "../packages/app" in page.links  # needed by
    for entry in filled.site.catalogue.family("main", "noarch", "base"):
        assert entry.package.sha256.hex in page.text
    app = read(filled.get("/main/packages/app"))
    assert "base >=1.10 elsewhere" in app.text
    assert "../packages/base" in app.links
    assert not any("elsewhere" in link for link in app.links)
    assert "Needed by No package" in app.text


def test_a_package_with_many_files_comes_in_pages(world, monkeypatch):
    monkeypatch.setattr(web_site, "FILES", 2)
    for minor in range(5):
        world.add(("many", f"1.{minor}"))
    first, last = read(world.get("/main/packages/many")), read(world.get("/main/packages/many?page=3"))
    assert ("many-1.4-0.conda" in first.text, "many-1.2-0.conda" in first.text) == (True, False)
    assert "many-1.0-0.conda" in last.text
    assert "5 to 5 of 5 files" in last.text


def test_a_file_and_its_contents(filled, monkeypatch):
    path = filled.site.catalogue.family("main", "linux-64", "app")[0].package
    page = read(filled.get(f"/main/packages/app/linux-64/{path.filename}"))
    assert f"sha256 {path.sha256.hex}" in page.text
    assert "app==2.0=0" in page.text
    assert "share/app.txt" in page.text
    assert "1 file, 8 B once installed" in page.text
    assert "Patched here depends" in page.text
    assert "generation 5" in page.text
    yanked = filled.site.catalogue.family("main", "noarch", "base")
    page = read(filled.get(f"/main/packages/base/noarch/{yanked[1].package.filename}"))
    assert "Yanked: wrong <b>sums</b>" in page.text
    assert "conda install" not in page.text
    assert filled.get(f"/main/packages/other/linux-64/{path.filename}").status_code == 404
    assert filled.get(f"/main/packages/app/noarch/{path.filename}").status_code == 404


def test_contents_come_in_pages_and_may_be_missing(world, monkeypatch):
    monkeypatch.setattr(web_site, "MEMBERS", 3)
    made = world.add(("big", "1"), files={f"share/{number}": "x" for number in range(7)})
    address = f"/main/packages/big/noarch/{made.filename}"
    assert "share/2" in read(world.get(address)).text
    assert "share/6" in read(world.get(f"{address}?page=3")).text
    assert len(members(world.site.blobs.path(made.sha256), made.filename)) == 7
    absent = world.add(("absent", "1"), kept=False)
    page = read(world.get(f"/main/packages/absent/noarch/{absent.filename}"))
    assert "The file is not kept here" in page.text
    world.site.blobs.path(made.sha256).chmod(0o644)
    world.site.blobs.path(made.sha256).write_bytes(b"damaged")
    assert "cannot be listed" in read(world.get(address)).text


def test_generations(filled, monkeypatch):
    catalogue = filled.site.catalogue
    page = read(filled.get("/main/generations"))
    for number in range(1, 6):
        assert f"../@{number}/".replace("../", "./") in page.links
        assert catalogue.generation("main", number).digest.hex in page.text
    assert page.text.index("Generation 5") < page.text.index("Generation 1")
    one = read(filled.get("/main/generations/4"))
    assert "yanked noarch/base-1.9-0.conda wrong <b>sums</b>" in one.text
    assert catalogue.generation("main", 3).digest.hex in one.text
    assert "checked just now" in one.text
    assert "none: this is the first" in read(filled.get("/main/generations/1")).text
    assert filled.get("/main/generations/6").status_code == 404
    monkeypatch.setattr(web_history, "STEPS", 2)
    older = read(filled.get("/main/generations?before=4"))
    assert ("Generation 3" in older.text, "Generation 4" in older.text, "Generation 1" in older.text) == (
        True,
        False,
        False,
    )
    assert "?before=2" in older.links


def test_a_damaged_chain_is_told(filled):
    db = filled.site.catalogue._db
    with db.writing() as connection:
        connection.execute("UPDATE generation SET digest = ? WHERE number = 2", ("0" * 64,))
    assert "is not that of these changes" in read(filled.get("/main/generations/2")).text
    assert "is not that of these changes" in read(filled.get("/main/generations/3")).text
    assert "checked just now" in read(filled.get("/main/generations/1")).text


def test_a_generation_is_seen_as_it_was(filled):
    page = read(filled.get("/main/@2/"))
    assert "This is generation 2 of main" in page.text
    assert "./packages/app" not in page.links
    assert "Here only names can be searched" in page.text
    assert "Ground to stand on" in page.text
    base = read(filled.get("/main/@1/packages/base"))
    assert ("1.9" in base.text, "1.10" in base.text) == (True, False)
    assert "yanked" not in base.text
    assert "conda install -c http://channel.example/main/@1 base" in base.text
    app = read(filled.get("/main/@3/packages/app"))
    assert "base >=1.9" in app.text
    assert "It is the newest one now" in read(filled.get("/main/@5/")).text
    for path in ("/main/@6/", "/main/@6/packages/base", "/main/@6/generations"):
        assert filled.get(path).status_code == 404
    assert filled.get("/main/@1/packages/app").status_code == 404
    assert read(filled.get("/main/@0/")).text.count("no packages here yet") == 1


def test_what_is_young_is_left_out_where_it_is_asked(filled):
    page = read(filled.get("/main/@7d/"))
    assert ("./packages/base" in page.links, "./packages/app" in page.links) == (True, False)
    assert "published in the last 7 days are left out" in page.text
    assert filled.get("/main/@7d/packages/app").status_code == 404


@pytest.fixture
def guarded(filled):
    """A private channel and a private label, which only requests with a token may read."""
    catalogue = filled.site.catalogue
    for name in ("secret", "main/label/lurking"):
        catalogue.create(name, private=True, now=NOW)
        catalogue.change(name, [Publish(catalogue.family("main", "linux-64", "app")[0].package)], now=NOW)
    return filled


@pytest.fixture
def key(guarded):
    """What an address begins with to show a token that may read everything."""
    site, scopes = guarded.site, [Scope.parse("read:*")]
    return "/t/" + tokens.make(site.keyring, site.ledger, Actor("cli", "test"), "t", scopes, now=NOW)[1]


def test_a_private_channel_is_not_there_for_strangers(guarded):
    for path in ("/", "/main/", "/main/label/dev/", "/main/@2/", "/main/packages/app", "/main/generations"):
        text = guarded.get(path).text
        assert "secret" not in text
        assert "lurking" not in text
    below = ("", "/", "/packages/app", "/generations", "/generations/1", "/environments", "/@1/")
    for path in (*(f"/secret{each}" for each in below), *(f"/main/label/lurking{each}" for each in below)):
        hidden, absent = (
            guarded.get(path),
            guarded.get(path.replace("secret", "absent").replace("lurking", "lacking")),
        )
        assert hidden.status_code == absent.status_code == 404
        assert hidden.text == absent.text.replace("absent", "secret").replace("lacking", "lurking")


def test_a_private_channel_is_shown_to_whom_it_is_for(guarded, key):
    home = read(guarded.get(f"{key}/"))
    assert {"./secret/", "./main/label/lurking/"} <= set(home.links)
    assert key[3:] not in guarded.get(f"{key}/").text
    assert "secret private" in home.text
    package = read(guarded.get(f"{key}/secret/packages/app"))
    assert "This channel is private" in package.text
    assert "conda install -c http://channel.example/secret app" in package.text
    assert guarded.get(f"{key}/main/label/lurking/").status_code == 200


def test_labels_are_channels_of_their_own(filled):
    page = read(filled.get("/main/label/dev/"))
    assert ("./packages/app" in page.links, "./packages/base" in page.links) == (True, False)
    assert "http://channel.example/main/label/dev" in page.text
    assert filled.get("/main/label/none/").status_code == 404


SPEC = "name: vision-digits-pt213-cpu\nchannels: [main]\ndependencies: [digits, {extra}pytorch 2.13.*]\n"


@pytest.fixture
def registered(filled, lock_text):
    """Two versions of an environment: the second was registered at another generation, with another spec."""
    for number, extra in ((1, ""), (2, "'<script>alert(1)</script>', ")):
        text = lock_text(digest=f"{number}" * 64).encode()
        filled.site.registry.register(
            "main",
            Registration(
                "vision-digits-pt213-cpu",
                SPEC.format(extra=extra),
                lockfiles.PIXI,
                text,
                Lock.parse(text),
                generation=3 * number - 2,
                solved_at=number,
                by="<b>ci</b>",
            ),
            now=NOW,
        )
    return filled


def test_an_environment_is_shown_with_its_lock_and_its_history(registered):
    newest = registered.site.registry.newest("main", "vision-digits-pt213-cpu")
    listed = read(registered.get("/main/environments"))
    assert f"vision-digits-pt213-cpu {newest.lock.hex}" in listed.text
    assert "1 environment" in read(registered.get("/main/")).text
    address = "/main/environments/vision-digits-pt213-cpu"
    page = read(registered.get(address))
    assert "version 2" in page.text
    assert f"sha256 {newest.lock.hex}" in page.text
    assert "<script>alert(1)</script>" in page.text  # of the spec, as text
    assert not any(tag == "script" for tag, _ in page.tags)
    assert "by <b>ci</b>, at generation 4" in page.text
    assert "../generations/4" in page.links
    assert "../@2/" in page.links
    assert "pytorch 2.13.0" in page.text
    assert "?version=1" in page.links
    assert "curl -O http://channel.example/main/envs/vision-digits-pt213-cpu/pixi.lock" in page.text
    old = read(registered.get(f"{address}?version=1"))
    first = registered.site.registry.version("main", "vision-digits-pt213-cpu", 1)
    assert "This is version 1. The newest is version 2" in old.text
    assert f"{first.lock.hex}.lock" in old.text
    assert "2222222222222222" not in old.text
    assert "version 1" in read(registered.get("/main/@3/environments/vision-digits-pt213-cpu")).text
    for wrong in ("?version=9", "?platform=osx-64", "x", "?version=0"):
        assert registered.get(address + wrong).status_code in {404, 400}
    assert registered.get("/main/label/dev/environments/vision-digits-pt213-cpu").status_code == 404


def test_a_package_says_which_environments_have_it(registered):
    registered.add(("digits", "1.0.0"))
    page = read(registered.get("/main/packages/digits"))
    assert "In environments vision-digits-pt213-cpu 1.0.0" in page.text
    assert "In environments" not in read(registered.get("/main/packages/app")).text


def test_a_large_lock_comes_in_pages(registered, monkeypatch):
    monkeypatch.setattr(web_envs, "PACKAGES", 1)
    address = "/main/environments/vision-digits-pt213-cpu"
    assert "?platform=linux-64&page=2" in read(registered.get(address)).links
    last = read(registered.get(f"{address}?version=1&platform=linux-64&page=2"))
    assert "2 to 2 of 2 packages" in last.text
    assert "?version=1&platform=linux-64&page=1" in last.links


def test_hostile_texts_stay_texts(world):
    about = {
        "summary": HOSTILE,
        "description": HOSTILE * 30,
        "home": "javascript:alert(1)",
        "doc_url": ["data:text/html,x", 'https://a.example/"onclick="alert(1)'],
        "dev_url": {"a": 1},
    }
    made = world.add(
        ("evil", "1.0"),
        about=about,
        depends=(f"{HOSTILE} >=1", "ok"),
        license=HOSTILE,
        files={f"share/{HOSTILE[:60].replace('/', '_')}": "x"},
    )
    reason = Yank("noarch", made.filename, HOSTILE)
    paths = [
        "/main/?q=evil",
        "/main/packages/evil",
        f"/main/packages/evil/noarch/{made.filename}",
        "/main/generations",
        "/main/generations/1",
        "/main/@1/",
        "/main/@1/packages/evil",
    ]
    for change in (None, reason, Patch.of("noarch", made.filename, {"license": HOSTILE, HOSTILE: HOSTILE})):
        if change:
            world.site.catalogue.change("main", [change], now=NOW)
        for path in [*paths, "/main/generations/2", "/main/generations/3"][: None if change else 7]:
            answer = world.get(path)
            if answer.status_code == 404:
                assert "/2" in path or "/3" in path
                continue
            page = read(answer)
            names = {tag for tag, _ in page.tags}
            assert not names & {"script", "img", "iframe", "object", "b"}
            assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
            assert not any(link.startswith(("javascript:", "data:")) for link in page.links)
            assert "\u202e" not in answer.text
            assert "WWWW" * 150 not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/none/",
        "/none",
        "/main/packages/none",
        "/main/packages/%3Cscript%3E",
        "/main/packages/base/noarch/none-1-0.conda",
        "/main/generations/99",
        "/main/packages/" + "a" * 250,
    ],
)
def test_what_is_not_there_is_a_page_for_browsers_and_json_for_others(filled, path):
    answer = filled.get(path)
    assert answer.status_code == 404
    page = Page(answer.text)
    assert "Not Found" in page.text
    assert not any(tag == "script" for tag, _ in page.tags)
    assert filled.get(urljoin(path, page.links[-1])).status_code == 200
    assert list(filled.get(path, accept="*/*").json()) == ["error"]


def test_paths_that_climb_lead_nowhere(filled):
    for path in ("/main/packages/base/noarch/..%2f..%2fcatalogue.sqlite", "/main/packages/%2e%2e/%00"):
        assert filled.get(path).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/main/?page=0",
        "/main/?page=x",
        "/main/?page=" + "9" * 30,
        "/main/generations/x",
        "/main/?q=" + "x" * 201,
    ],
)
def test_malformed_requests(filled, path):
    assert filled.get(path).status_code == 400
    assert list(filled.get(path, accept="*/*").json()) == ["error"]


def test_the_policy_allows_the_one_style_sheet_and_nothing_else(filled):
    for path in ("/", "/main/", "/main/packages/base", "/main/generations", "/none/"):
        answer = filled.get(path)
        policy = answer.headers["content-security-policy"]
        style = re.search("<style>(.*?)</style>", answer.text, re.DOTALL).group(1)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in policy
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        page = Page(answer.text)
        assert not any("style" in attributes for _, attributes in page.tags)
        assert [tag for tag, _ in page.tags].count("h1") == 1
        assert ("html", {"lang": "en"}) in page.tags
        assert answer.headers["cache-control"] in {"private, no-cache", "no-store"}


def test_a_token_in_the_address_is_kept_in_links_and_never_written(filled):
    answer = filled.get("/t/very-secret/main/packages/base")
    assert answer.status_code == 200
    assert "very-secret" not in answer.text
    assert "../packages/app" in Page(answer.text).links


def test_pages_answer_head(filled):
    async def ask():
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(filled.app), base_url="http://x"
        ) as client:
            return await client.head("/main/")

    assert asyncio.run(ask()).status_code == 200


def test_odd_records_are_shown(world):
    """The catalogue may hold what an older server let in."""
    for number, record in enumerate(
        ({}, {"depends": [7, "a"], "license": [], "timestamp": 1e300, "build_number": "x"})
    ):
        made = Package(
            Digest.of(b"%d" % number), 1, "noarch", f"odd-{number}-0.conda", json.dumps(record), "{}", "{}"
        )
        world.site.catalogue.change("main", [Publish(made)], now=NOW)
        read(world.get("/main/packages/odd"))
        read(world.get(f"/main/packages/odd/noarch/{made.filename}"))
