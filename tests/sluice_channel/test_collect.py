"""What may be deleted, and what stays and why."""

import asyncio
import json
from dataclasses import replace

import httpx
import pytest

from sluice.digest import Digest
from sluice.lock import Lock
from sluice_channel import publish
from sluice_channel.app import create_site_app
from sluice_channel.collect import UPLOAD_AGE, collect
from sluice_channel.errors import ConflictError, NoGenerationError
from sluice_channel.registry import Registration
from sluice_channel.site import open_site
from sluice_channel.verification import Limits

SPEC = "name: vision-digits-pt213-cpu\nchannels: [main]\ndependencies: []\n"


class Shop:
    """A site, and the packages that were published in it."""

    def __init__(self, site, package, folder):
        self.site, self._package, self._folder = site, package, folder

    def publish(self, name, channel="main", **options):
        path = self._package(self._folder, name, **options)
        digest = Digest.of_file(path)
        self.site.blobs.append(digest, 0, [path.read_bytes()], 1 << 20)
        publish.publish(self.site, channel, digest, path.name, Limits())
        return path.name, digest

    def withdraw(self, filename, channel="main"):
        publish.yank(self.site, channel, "noarch", filename, "bad")
        publish.remove(self.site, channel, "noarch", filename)

    def register(self, url, digest):
        lines = ["version: 7", "environments:", "  default:", "    channels:", "    - url: http://h/main/"]
        lines += ["    packages:", "      linux-64:", f"      - conda: {url}", "packages:"]
        lines += [f"- conda: {url}", f"  sha256: {digest}"]
        text = ("\n".join(lines) + "\n").encode()
        made = Registration("vision-digits-pt213-cpu", SPEC, "pixi", text, Lock.parse(text), 1)
        self.site.registry.register("main", made, now=1)

    def kept(self, **options):
        """Collect, and return why each file stays."""
        files = []
        done = collect(self.site, on_file=files.append, **options)
        return done, {file.digest: file.reasons for file in files}


@pytest.fixture
def shop(tmp_path, package):
    site = open_site(tmp_path / "site", create=True)
    publish.create(site, "main")
    yield Shop(site, package, tmp_path)
    site.close()


def test_every_file_that_stays_has_a_reason(shop):
    _, a = shop.publish("a")
    name, b = shop.publish("b")
    publish.create(shop.site, "main/label/dev")
    publish.promote(shop.site, "main", "main/label/dev", [("noarch", name)])
    publish.yank(shop.site, "main", "noarch", name, "bad")
    done, reasons = shop.kept()
    assert (done.removed, done.kept, done.freed) == ((), 2, 0)
    assert reasons == {
        a: ("a generation of main",),
        b: ("a generation of main", "a generation of main/label/dev"),
    }


def test_what_nothing_names_goes_and_a_dry_run_only_says_so(shop):
    _, a = shop.publish("a")
    lost = Digest.of(b"lost")
    shop.site.blobs.append(lost, 0, [b"lost"], 9)
    shop.site.blobs.finish(lost)
    for dry_run, there in ((True, True), (False, False)):
        done, reasons = shop.kept(dry_run=dry_run)
        assert (done.removed, done.freed, reasons[lost]) == ((lost,), 4, ())
        assert shop.site.blobs.has(lost) == there
    assert shop.site.blobs.has(a)


def test_uploads_that_nobody_goes_on_with_are_thrown_away(shop):
    upload = Digest.of(b"whole")
    shop.site.blobs.append(upload, 0, [b"who"], 9)
    assert collect(shop.site).uploads == 0
    later = replace(shop.site, now=lambda: shop.site.now() + UPLOAD_AGE + 60_000)
    assert (collect(later, dry_run=True).uploads, shop.site.blobs.received(upload)) == (1, 3)
    done = collect(later)
    assert (done.uploads, done.freed, shop.site.blobs.received(upload)) == (1, 3, 0)


def test_a_file_goes_by_yank_remove_and_forgetting(shop):
    name, a = shop.publish("a")
    _, b = shop.publish("b")
    with pytest.raises(ConflictError, match="yank it before"):
        publish.remove(shop.site, "main", "noarch", name)
    shop.withdraw(name)
    assert collect(shop.site).removed == ()
    assert collect(shop.site, channel="main", before=3).removed == ()  # generation 3 has it, yanked
    tried = collect(shop.site, channel="main", before=4, dry_run=True)
    done = collect(shop.site, channel="main", before=4)
    assert tried == done
    assert (done.generations, done.removed, done.held) == (1, (a,), "")
    assert not shop.site.blobs.has(a)
    assert shop.site.blobs.has(b)
    with pytest.raises(NoGenerationError):
        collect(shop.site, channel="main", before=99)


def test_a_label_keeps_what_its_channel_has_lost(shop):
    name, a = shop.publish("a")
    publish.create(shop.site, "main/label/dev")
    publish.promote(shop.site, "main", "main/label/dev", [("noarch", name)])
    shop.withdraw(name)
    done, reasons = shop.kept(channel="main", before=3)
    assert (done.generations, done.removed) == (2, ())
    assert reasons[a] == ("a generation of main/label/dev",)


def test_what_a_lock_names_is_not_removed(shop):
    name, a = shop.publish("a")
    shop.register(f"http://h/main/noarch/{name}", a)
    publish.yank(shop.site, "main", "noarch", name, "bad")
    with pytest.raises(ConflictError, match="the lock of main/envs/vision-digits-pt213-cpu names it"):
        publish.remove(shop.site, "main", "noarch", name)
    done, reasons = shop.kept(channel="main", before=2)
    assert done.removed == ()
    assert reasons[a] == ("a generation of main", "the lock of main/envs/vision-digits-pt213-cpu")


def test_the_last_generation_with_what_a_lock_names_is_not_forgotten(shop):
    name, a = shop.publish("a")
    shop.withdraw(name)
    shop.publish("b")
    shop.publish("c")
    shop.register(f"http://h/main/noarch/{name}", a)
    done, reasons = shop.kept(channel="main", before=5)
    assert (done.generations, done.removed) == (1, ())  # generation 2 is the last that has it
    assert "names what it has" in done.held
    assert len(reasons[a]) == 2
    assert shop.site.catalogue.entry("main", "noarch", name, 2).package.sha256 == a


def test_a_generation_that_a_lock_names_is_not_forgotten(shop):
    name, a = shop.publish("a")
    for other in "bcd":
        shop.publish(other)
    shop.register(f"http://h/main/@2/noarch/{name}", a)
    done = collect(shop.site, channel="main", before=4)
    assert (done.generations, done.held) == (1, "the lock of main/envs/vision-digits-pt213-cpu names it")
    assert shop.site.catalogue.generation("main", 2)
    again = collect(shop.site, channel="main", before=4)
    assert (again.generations, again.removed) == (0, ())


def test_pages_end_where_generations_were_forgotten(shop):
    name, _ = shop.publish("a")
    shop.withdraw(name)
    shop.publish("b")
    collect(shop.site, channel="main", before=3)
    app = create_site_app(shop.site)

    async def get(path):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get(path)

    listed = asyncio.run(get("/main/generations")).text
    assert "Generation 3" in listed
    assert "Generation 2" not in listed
    oldest = asyncio.run(get("/main/generations/3"))
    assert "cannot be checked here" in oldest.text
    assert "/generations/2" not in oldest.text
    assert "checked just now" in asyncio.run(get("/main/generations/4")).text
    for gone in ("/main/generations/2", "/main/@2/noarch/repodata.json", f"/main/@2/noarch/{name}"):
        assert asyncio.run(get(gone)).status_code == 404
    assert asyncio.run(get("/main/@3/noarch/repodata.json")).status_code == 200


def test_what_was_done_is_in_the_audit_log(shop):
    collect(shop.site)
    lines = [sealed.line.action for sealed in shop.site.ledger.last(1)]
    assert lines == ["collect"]


def test_the_command_says_what_it_does(shop, tmp_path, command):
    name, a = shop.publish("a")
    shop.publish("b")
    shop.withdraw(name)
    root = tmp_path / "site"
    told = command("collect", root, "--before", "4", "--dry-run", "--verbose")
    assert told.returncode == 0, told.stderr
    assert f"{a.short}" in told.stdout
    assert "goes: nothing names it" in told.stdout
    assert "stays: a generation of main" in told.stdout
    assert "3 generations would be forgotten, 1 files would be deleted" in told.stdout
    done = json.loads(command("collect", root, "--before", "4", "--json").stdout)
    assert (done["generations"], done["removed"], len(done["kept"])) == (3, [a.hex], 1)
    wrong = command("collect", root, "--before", "4", "--channel", "none")
    assert (wrong.returncode, "there is no channel 'none'" in wrong.stderr) == (1, True)
