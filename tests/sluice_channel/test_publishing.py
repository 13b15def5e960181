"""Publishing over HTTP, with our own client, with those of others, and by hand."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from sluice.digest import Digest
from sluice_channel import publish
from sluice_channel.client import Address, Client
from sluice_channel.errors import ChannelError
from sluice_channel.site import open_site

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("site")
    site = open_site(root, create=True)
    publish.create(site, "main")
    publish.create(site, "secret", private=True)
    site.close()
    return root


@pytest.fixture(scope="module")
def url(root, serving, tmp_path_factory):
    with serving(root, "--open", ready=tmp_path_factory.mktemp("run") / "ready") as url:
        yield url


@pytest.fixture(scope="module")
def http(url):
    with httpx.Client(base_url=url.removesuffix("/main"), timeout=30) as client:
        yield client


@pytest.fixture
def made(package, tmp_path, request):
    """Make a package that no other test has."""
    count = iter(range(100))

    def make(**options) -> Path:
        name = f"p{Digest.of(request.node.nodeid.encode()).short}-{next(count)}"
        return package(tmp_path, name, **options)

    return make


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def upload(http, path, channel="main"):
    http.put(
        f"/api/v1/channels/{channel}/uploads/{digest(path)}", content=path.read_bytes()
    ).raise_for_status()
    document = {"sha256": digest(path), "filename": path.name}
    return http.post(f"/api/v1/channels/{channel}/packages", json=document)


def shown(http, path, channel="main"):
    document = http.get(f"/{channel}/noarch/repodata.json").json()
    return path.name in document["packages.conda"] | document["packages"]


@pytest.mark.parametrize("extension", [".conda", ".tar.bz2"])
def test_a_package_is_seen_once_it_was_published_and_twice_changes_nothing(http, made, extension):
    path = made(extension=extension)
    first = upload(http, path)
    assert (first.status_code, first.json()["changed"]) == (201, True)
    assert shown(http, path)
    again = upload(http, path)
    assert (again.status_code, again.json()) == (200, first.json() | {"changed": False})
    assert http.get(f"/main/noarch/{path.name}").content == path.read_bytes()


def test_an_upload_goes_on_where_it_stood(http, made):
    path = made()
    data, where = path.read_bytes(), f"/api/v1/channels/main/uploads/{digest(path)}"
    assert http.head(where).headers["Upload-Offset"] == "0"
    half = len(data) // 2
    assert http.patch(where, content=data[:half], headers={"Upload-Offset": "0"}).status_code == 204
    assert http.head(where).headers["Upload-Offset"] == str(half)
    wrong = http.patch(where, content=data[half:], headers={"Upload-Offset": "1"})
    assert (wrong.status_code, f"stands at byte {half}" in wrong.json()["error"]) == (409, True)
    early = http.post("/api/v1/channels/main/packages", json={"sha256": digest(path), "filename": path.name})
    assert early.status_code == 400  # and it has to be sent anew
    assert http.patch(where, content=data, headers={"Upload-Offset": "0"}).headers["Upload-Offset"] == str(
        len(data)
    )
    document = {"sha256": digest(path), "filename": path.name}
    assert http.post("/api/v1/channels/main/packages", json=document).status_code == 201
    standing = http.head(where).headers
    assert (standing["Upload-Complete"], standing["Upload-Offset"]) == ("?1", str(len(data)))


def test_what_is_thrown_away_is_gone(http, made):
    path = made()
    where = f"/api/v1/channels/main/uploads/{digest(path)}"
    http.patch(where, content=b"123", headers={"Upload-Offset": "0"})
    assert http.delete(where).status_code == 204
    assert http.head(where).headers["Upload-Offset"] == "0"


def test_other_bytes_of_a_name_are_refused(http, made, package, tmp_path):
    path = made()
    assert upload(http, path).status_code == 201
    other = package(tmp_path / "other", path.name.removesuffix("-1.0-0.conda"), files={"x": "other"})
    before = http.get("/main/noarch/repodata.json").text
    answer = upload(http, other)
    assert (answer.status_code, "already there with sha256" in answer.json()["error"]) == (409, True)
    assert http.get("/main/noarch/repodata.json").text == before


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"sha256": "00", "filename": "a-1-0.conda"}', 400),
        (b'{"sha256": "' + b"0" * 64 + b'", "filename": "a-1-0.conda"}', 400),
        (b'{"sha256": "' + b"0" * 64 + b'", "filename": "../a-1-0.conda"}', 422),
        (b'{"sha256": "' + b"0" * 64 + b'", "filename": "a-1-0.conda", "more": 1}', 400),
        (b'{"sha256": "' + b"0" * (2 << 20) + b'"}', 400),
    ],
)
def test_requests_that_make_no_sense_are_refused_in_one_line(http, document, status):
    answer = http.post("/api/v1/channels/main/packages", content=document)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    assert "\n" not in answer.json()["error"]


def test_a_package_that_is_none_is_not_seen(http, made, tmp_path):
    path = tmp_path / "broken-1.0-0.conda"
    path.write_bytes(made().read_bytes()[:-30])
    answer = upload(http, path)
    assert (answer.status_code, "broken-1.0-0.conda" in answer.json()["error"]) == (422, True)
    assert not shown(http, path)


def test_yank_unyank_patch_and_promote(http, made):
    path = made(depends=("b",))
    upload(http, path)
    own = f"/api/v1/channels/main/packages/noarch/{path.name}"
    assert http.post(f"{own}/yank", json={"reason": ""}).status_code == 422
    yanked = http.post(f"{own}/yank", json={"reason": "it  is\nbad"})
    assert (yanked.status_code, yanked.json()["changed"]) == (200, True)
    assert http.get(own).json()["yanked"] == "it is bad"
    assert not shown(http, path)
    assert http.get(f"/main/noarch/{path.name}").content == path.read_bytes()
    promotion = {"source": "main", "packages": [{"subdir": "noarch", "filename": path.name}]}
    assert http.post("/api/v1/channels/main/label/dev/promote", json=promotion).status_code == 409
    assert upload(http, path).status_code == 409
    assert http.post(f"{own}/unyank").json()["changed"]
    assert not http.post(f"{own}/unyank").json()["changed"]
    assert http.post(f"{own}/patch", json={"fields": {"depends": ["b >=2"], "license": None}}).json()[
        "changed"
    ]
    assert http.post(f"{own}/patch", json={"fields": {"sha256": "0" * 64}}).status_code == 422
    assert http.post("/api/v1/channels/main/label/dev/promote", json=promotion).status_code == 201
    assert http.post("/api/v1/channels/main/label/dev/promote", json=promotion).status_code == 200
    record = http.get("/main/label/dev/noarch/repodata.json").json()["packages.conda"][path.name]
    assert (record["depends"], "license" in record) == (["b >=2"], False)
    assert http.get(f"/main/label/dev/noarch/{path.name}").content == path.read_bytes()
    twice = promotion | {"packages": promotion["packages"] * 2}
    assert http.post("/api/v1/channels/main/label/dev/promote", json=twice).status_code == 422
    gone = {"source": "main", "packages": [{"subdir": "noarch", "filename": "gone-1-0.conda"}]}
    assert http.post("/api/v1/channels/main/label/dev/promote", json=gone).status_code == 404


def test_generations_are_told_newest_first(http, made):
    path = made()
    number = upload(http, path).json()["generation"]
    listed = http.get("/api/v1/channels/main/generations", params={"limit": 1}).json()["generations"]
    assert [each["number"] for each in listed] == [number]
    assert listed[0]["changes"] == [["publish", "noarch", path.name, digest(path)]]
    assert http.get(f"/api/v1/channels/main/generations/{number}").json() == listed[0]
    assert http.get("/api/v1/channels/main/generations/99999").status_code == 404
    assert http.get("/api/v1/channels/nowhere/generations").status_code == 404


def test_the_api_describes_itself(http):
    document = http.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.")
    taken = document["paths"]["/api/v1/channels/{channel}/packages"]["post"]["requestBody"]
    assert set(taken["content"]["application/json"]["schema"]["required"]) == {"sha256", "filename"}
    assert all(path.startswith("/api/") for path in document["paths"])


def test_our_client_publishes_resumes_and_is_told_why_not(url, http, made):
    path = made(files={"x": os.urandom(3 << 20).hex()})
    data = path.read_bytes()
    where = f"/api/v1/channels/main/uploads/{digest(path)}"
    http.patch(where, content=data[: 1 << 20], headers={"Upload-Offset": "0"})
    told = []
    with Client(Address.parse(url)) as client:
        assert client.publish(path, told.append).changed
        assert sum(told) == len(data)
        assert told[0] == 1 << 20  # was there already
        assert not client.publish(path).changed
    path.rename(path.with_name("other-1.0-0.conda"))
    with Client(Address.parse(url)) as client, pytest.raises(ChannelError, match="no package called other"):
        client.publish(path.with_name("other-1.0-0.conda"))
    nowhere = Address.parse(url.replace("/main", "/nowhere"))
    with Client(nowhere) as client, pytest.raises(ChannelError, match="there is no channel 'nowhere'"):
        client.publish(path.with_name("other-1.0-0.conda"))


def test_a_client_gives_up_on_a_server_that_does_not_answer(made):
    waits = []
    address = Address.parse("http://127.0.0.1:9/main")
    with Client(address, sleep=waits.append) as client, pytest.raises(ChannelError, match="run it again"):
        client.publish(made())
    assert waits == sorted(waits)


@pytest.mark.parametrize(
    ("url", "server", "channel", "token"),
    [
        ("http://h:1/main", "http://h:1", "main", None),
        ("http://h/main/label/dev/", "http://h", "main/label/dev", None),
        ("https://h/t/abc/main", "https://h", "main", "abc"),
        ("https://h/below/t/abc/main/label/x", "https://h/below", "main/label/x", "abc"),
    ],
)
def test_urls_of_channels(url, server, channel, token):
    assert Address.parse(url) == Address(server, channel, token)


@pytest.mark.parametrize("url", ["http://h", "ftp://h/main", "main", "http:///main"])
def test_what_is_no_url_of_a_channel(url):
    with pytest.raises(ChannelError, match="not a channel's URL"):
        Address.parse(url)


# The client holds the interpreter's lock while it waits, and its runtime may crash at the end of a process.
OTHERS = """
import os, sys
from rattler_build.upload import upload_package_to_prefix, upload_package_to_quetz
tool, url, channel, path, key, options = sys.argv[1:]
send = {"quetz": upload_package_to_quetz, "prefix": upload_package_to_prefix}[tool]
try:
    send([path], url, channel, api_key=key, **eval(options))
    print("sent")
except Exception as error:
    print("refused:", error)
sys.stdout.flush()
os._exit(0)
"""


def others(tool, url, path, channel="main", key="none", options="{}"):
    arguments = [tool, url.removesuffix("/main"), channel, str(path), key, options]
    process = subprocess.run(
        [sys.executable, "-c", OTHERS, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return process.stdout.strip()


@pytest.mark.parametrize("tool", ["quetz", "prefix"])
def test_clients_of_quetz_and_prefix_publish_unmodified(
    root, url, http, made, package, tmp_path, tool, command
):
    added = command("token", "add", root, tool, "publish:main*", "--json")
    secret = json.loads(added.stdout)["secret"]
    path = made()
    assert others(tool, url, path, key=secret) == "sent"
    assert shown(http, path)
    assert http.get(f"/main/noarch/{path.name}").content == path.read_bytes()
    assert others(tool, url, path, key=secret) == "sent"
    assert others(tool, url, path, "main/label/new", key=secret) == "sent"
    assert shown(http, path, "main/label/new")
    name = path.name.removesuffix("-1.0-0.conda")
    other = package(tmp_path / "other", name, files={"x": "other"})
    assert others(tool, url, other, key=secret).startswith("refused")
    assert http.get(f"/main/noarch/{path.name}").content == path.read_bytes()
    wrong = made()
    assert others(tool, url, wrong, key="wrong").startswith("refused")
    assert others(tool, url, wrong, "secret", key=secret).startswith("refused")
    assert not shown(http, wrong)


def test_prefix_clients_may_skip_what_exists(root, url, http, made, package, tmp_path, command):
    secret = json.loads(command("token", "add", root, "skip", "publish:main", "--json").stdout)["secret"]
    path = made()
    upload(http, path)
    other = package(tmp_path / "other", path.name.removesuffix("-1.0-0.conda"), files={"x": "other"})
    assert "already exists" in others("prefix", url, other, key=secret)
    assert others("prefix", url, other, key=secret, options="{'skip_existing': True}") == "sent"
    assert http.get(f"/main/noarch/{path.name}").content == path.read_bytes()


@pytest.mark.parametrize(
    ("headers", "content", "said"),
    [
        ({"content-type": "multipart/form-data"}, b"x", "no boundary"),
        ({"content-type": "multipart/form-data; boundary=b"}, b"x", "malformed"),
        ({"content-type": "multipart/form-data; boundary=b"}, b"--b\r\nA: b\r\n\r\nx", "cut off"),
        (
            {"content-type": "multipart/form-data; boundary=b"},
            b"--b\r\nA: b\r\n\r\nx\r\n--b--\r\n",
            "no part",
        ),
        ({}, b"x", "not a package file name"),
        ({"x-file-name": "a-1-0.conda"}, b"x", "not a sha256"),
    ],
)
def test_forms_that_are_none(http, headers, content, said):
    answer = http.post("/api/v1/upload/main", content=content, headers=headers)
    assert answer.status_code in {400, 422}
    assert said in answer.json()["error"]


def test_knowing_a_digest_does_not_get_its_content(root, url, http, made, command):
    """A stranger to a private channel must send a file again, and cannot ask whether it is there."""
    path = made()
    assert upload(http, path, "secret").status_code == 201
    added = command("token", "add", root, "stranger", "publish:main*", "--json")
    headers = {"Authorization": f"Bearer {json.loads(added.stdout)['secret']}"}
    where = f"/api/v1/channels/main/uploads/{digest(path)}"
    standing = http.head(where, headers=headers).headers
    assert ("Upload-Complete" in standing, standing["Upload-Offset"]) == (False, "0")
    document = {"sha256": digest(path), "filename": path.name}
    answer = http.post("/api/v1/channels/main/packages", json=document, headers=headers)
    assert (answer.status_code, "send it first" in answer.json()["error"]) == (400, True)
    http.patch(where, content=b"not it", headers=headers | {"Upload-Offset": "0"})
    answer = http.post("/api/v1/channels/main/packages", json=document, headers=headers)
    assert (answer.status_code, "has the sha256" in answer.json()["error"]) == (400, True)
    assert not shown(http, path)
    http.put(where, content=path.read_bytes(), headers=headers)
    assert http.post("/api/v1/channels/main/packages", json=document, headers=headers).status_code == 201


def test_without_a_token_nothing_is_published(root, serving, tmp_path, made):
    path = made()
    with serving(root, ready=tmp_path / "ready") as url, httpx.Client(base_url=url[:-5]) as http:
        for method, where in (
            ("PUT", f"/api/v1/channels/main/uploads/{digest(path)}"),
            ("HEAD", f"/api/v1/channels/main/uploads/{digest(path)}"),
            ("POST", f"/api/channels/main/upload/{path.name}?sha256={digest(path)}"),
            ("POST", "/api/v1/upload/main"),
            ("POST", "/api/v1/channels/main/packages/noarch/x-1-0.conda/unyank"),
        ):
            assert http.request(method, where).status_code == 401, where
        document = {"sha256": digest(path), "filename": path.name}
        assert http.post("/api/v1/channels/main/packages", json=document).status_code == 401
        assert http.get("/api/v1/channels/secret/generations").status_code == 404


def test_the_command_line_on_a_folder_and_through_a_url(root, url, made, command):
    path = made()
    here = command("publish", root, path, "--json")
    assert json.loads(here.stdout)["packages"][0]["changed"]
    there = command("publish", url, path)
    assert "was there already" in there.stdout
    key = f"noarch/{path.name}"
    assert "yanked" in command("yank", url, key, "--reason", "bad").stdout
    assert "was so already" in command("yank", root, key, "--reason", "bad").stdout
    refused = command("promote", url, "main", key, "--label", "dev")
    assert (refused.returncode, "was yanked" in refused.stderr) == (1, True)
    assert "shown again" in command("unyank", root, key).stdout
    assert "promoted" in command("promote", root, "main", key, "--label", "dev").stdout
    assert "were there already" in command("promote", url, "main", key, "--label", "dev").stdout
    listed = json.loads(command("list", root, "--json").stdout)["channels"]
    assert {each["channel"] for each in listed} >= {"main", "secret", "main/label/dev"}
    bad = command("publish", url, path.with_name("gone-1-0.conda"))
    assert (bad.returncode, "not a file" in bad.stderr) == (1, True)


def test_channels_are_made_once_and_named_well(tmp_path, command):
    root = tmp_path / "new"
    assert "made" in command("create", root, "main", "--private").stdout
    assert "there, generation 0" in command("create", root, "main").stdout
    assert json.loads(command("create", root, "main/label/dev", "--json").stdout)["private"]
    for name in ("api", "t", "Main", "a/b", "main/label/", "main/label/X", "", "x" * 65, "none/label/dev"):
        refused = command("create", root, name)
        assert refused.returncode == 1, name
        assert "Traceback" not in refused.stderr
