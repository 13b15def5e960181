"""Real recipes through the real builder."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace

import pytest
from conda_package_streaming import package_streaming

from sluice.build import BuildError, RecipeError
from sluice.digest import Digest
from sluice.sources import SourceError

GREETING = """\
package:
  name: {name}
  version: "1.0"
build:
  noarch: generic
  script:
    env:
      SOURCE_DATE_EPOCH: "1700000000"
    content: |
      mkdir -p $PREFIX/share
      echo "$SRC_DIR" > /dev/null
      date +%s%N > /dev/null
      echo "hello from $PREFIX" > $PREFIX/share/{name}
      ln -s {name} $PREFIX/share/{name}-link
{more}"""


def members(package):
    found = {}
    for component in ("pkg", "info"):
        for tar, member in package_streaming.stream_conda_component(str(package), component=component):
            stream = tar.extractfile(member) if member.isfile() else None
            found[member.name] = (member, stream.read() if stream else member.linkname.encode())
    return found


def test_two_builds_in_two_places_give_the_same_bytes(workshop, write, tmp_path):
    recipe = write("greeting", GREETING.format(name="greeting", more=""))
    (one,) = workshop.build(recipe, tmp_path / "one")
    time.sleep(1)  # so that the wall clock is another
    elsewhere = replace(workshop, cache=tmp_path / "another" / "and-longer" / "cache")
    (two,) = elsewhere.build(recipe, tmp_path / "two" / "channel")
    assert one.relative_to(tmp_path / "one") == two.relative_to(tmp_path / "two/channel")
    assert one.read_bytes() == two.read_bytes()
    found = members(one)
    assert {member.mtime for member, _ in found.values()} == {1700000000}
    assert not [name for name, (_, data) in found.items() if str(tmp_path).encode() in data]
    paths = {entry["_path"]: entry for entry in json.loads(found["info/paths.json"][1])["paths"]}
    greeting = found["share/greeting"][1]
    assert paths["share/greeting"]["prefix_placeholder"].encode() in greeting
    assert paths["share/greeting"]["sha256"] == Digest.of(greeting).hex
    assert paths["share/greeting-link"]["sha256"] == Digest.of(greeting).hex
    assert found["info/recipe/recipe.yaml"][1].decode() == (recipe / "recipe.yaml").read_text()
    assert not (workshop.cache / "build/greeting").exists()


def test_the_cache_gives_it_again_until_the_recipe_changes(workshop, write, tmp_path):
    recipe = write("greeting", GREETING.format(name="greeting", more=""))
    (one,) = workshop.build(recipe, tmp_path / "channel")
    digest = Digest.of_file(one)
    one.unlink()
    log = workshop.cache / "logs/greeting.log"
    log.unlink()
    (again,) = workshop.build(recipe, tmp_path / "channel")
    assert Digest.of_file(again) == digest
    assert not log.exists()  # nothing was run
    write("greeting", GREETING.format(name="greeting", more="about: {summary: new}\n"))
    (changed,) = workshop.build(recipe, tmp_path / "channel")
    assert Digest.of_file(changed) != digest
    assert log.exists()


def test_recipes_are_built_in_the_order_they_need(workshop, write, tmp_path):
    first = write("zebra", GREETING.format(name="zebra", more=""))
    needs = "requirements: {host: [zebra]}\ntests: [{script: ['test -e $PREFIX/share/apple']}]\n"
    second = write("apple", GREETING.format(name="apple", more=needs))
    packages = workshop.build_all([second, first], tmp_path / "channel")
    assert [path.name.split("-")[0] for path in packages] == ["zebra", "apple"]
    rendered = members(packages[1])["info/recipe/rendered_recipe.yaml"][1].decode()
    assert Digest.of_file(packages[0]).hex in rendered  # what it was built with is on record


def test_a_source_comes_from_the_store_and_the_record_names_its_url(workshop, write, tmp_path):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        member = tarfile.TarInfo("demo-1/hello.txt")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"hello"))
    digest = hashlib.sha256(data.getvalue()).hexdigest()
    kept = workshop.store.root / "sha256" / digest[:2] / digest / "demo-1.tgz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(data.getvalue())
    recipe = write(
        "demo",
        f"""\
context: {{version: "1"}}
package: {{name: demo, version: "${{{{ version }}}}"}}
source:
  url: https://nowhere.invalid/demo-${{{{ version }}}}.tgz
  sha256: {digest}
build: {{noarch: generic, script: "mkdir $PREFIX/share && cp hello.txt $PREFIX/share/"}}
""",
    )
    (package,) = workshop.build(recipe, tmp_path / "channel")
    found = members(package)
    assert found["share/hello.txt"][1] == b"hello"
    rendered = found["info/recipe/rendered_recipe.yaml"][1].decode()
    assert "url: https://nowhere.invalid/demo-1.tgz" in rendered
    assert "file:///" not in rendered
    kept.unlink()
    with pytest.raises(SourceError, match=r"https://nowhere\.invalid/demo-1\.tgz"):
        workshop.build(recipe, tmp_path / "channel")


def test_a_local_folder_is_a_source_and_its_change_a_rebuild(workshop, write, tmp_path):
    folder = tmp_path / "project"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__/x.pyc").write_bytes(b"x")
    (folder / "file").write_text("one")
    script = "mkdir $PREFIX/share && test ! -e __pycache__ && cp file $PREFIX/share/"
    recipe = write(
        "local",
        "package: {name: local, version: '1'}\nsource: {path: ../../project}\n"
        f"build: {{noarch: generic, script: '{script}'}}\n",
    )
    (package,) = workshop.build(recipe, tmp_path / "channel")
    assert "path: ../../project" in members(package)["info/recipe/rendered_recipe.yaml"][1].decode()
    (folder / "file").write_text("two")
    (package,) = workshop.build(recipe, tmp_path / "channel")
    assert members(package)["share/file"][1] == b"two"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("build: {noarch: generic, script: 'echo broken here; exit 3'}", "the whole log: "),
        (
            "build: {noarch: generic, script: 'true'}\ntests: [{script: ['exit 4']}]",
            "test 1 of .* failed; the whole log: ",
        ),
        (
            "build: {noarch: generic, script: 'mkdir $PREFIX/share && echo $SRC_DIR > $PREFIX/share/x'}",
            "names the directory",
        ),
        (
            "build: {noarch: generic, script: 'true'}\nrequirements: {host: [nonsuch]}",
            "no package called nonsuch",
        ),
    ],
)
def test_a_failure_is_one_line_and_leaves_the_channel_alone(workshop, write, tmp_path, more, said):
    recipe = write("broken", f"package: {{name: broken, version: '1'}}\n{more}\n")
    with pytest.raises(BuildError, match=said) as caught:
        workshop.build(recipe, tmp_path / "channel")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "channel").rglob("*.conda*"))
    assert not (workshop.cache / "build/broken").exists()
    if "broken here" in more:
        assert any("broken here" in line for line in caught.value.tail)
        assert "broken here" in (workshop.cache / "logs/broken.log").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("package: [", r"broken/recipe\.yaml:1: not YAML"),
        ("package: {name: x, version: '1'}\nbuild: {nonsense: 1}", r"broken/recipe\.yaml(:\d+)?: .*nonsense"),
        ("package:\n  name: x\n  version: ${{ nope }}\n", r"broken/recipe\.yaml:3: .*undefined"),
        ("package: {name: x, version: '1'}\nrequirements: {run: ['foo >>=3']}", r"broken/recipe\.yaml.*>>=3"),
    ],
)
def test_a_malformed_recipe_is_one_line_with_its_place(workshop, write, tmp_path, text, said):
    with pytest.raises(RecipeError, match=said) as caught:
        workshop.build(write("broken", text), tmp_path / "channel")
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_recipe_is_one_line(workshop, tmp_path):
    with pytest.raises(RecipeError, match=r"recipe\.yaml: No such file"):
        workshop.build(tmp_path, tmp_path / "channel")


INTERRUPTED = """
import sys, pathlib
from sluice.adapters.rattler_build import RattlerBuild
from sluice.build import Workshop
from sluice.sources import Store
root = pathlib.Path(sys.argv[1])
Workshop(RattlerBuild(), Store(root / "sources"), root / "cache", lambda _: None).build(
    root / "recipes/slow", root / "channel")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_running(write, tmp_path, number):
    beat = tmp_path / "beat"
    write(
        "slow",
        "package: {name: slow, version: '1'}\n"
        f"build: {{noarch: generic, script: 'while true; do date +%N > {beat}; sleep 0.05; done'}}\n",
    )
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)], stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while not beat.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert beat.exists()
        os.kill(process.pid, number)
        process.wait(30)
    time.sleep(0.5)
    last = beat.read_bytes()
    time.sleep(0.5)
    assert beat.read_bytes() == last  # the script is gone
    assert not list((tmp_path / "channel").rglob("*.conda*"))


def test_a_recipe_is_told_the_same_c_library_when_it_is_read_and_when_it_is_built(
    workshop, write, tmp_path, monkeypatch
):
    monkeypatch.setattr("sluice.build.host.glibc", lambda: "9.99")
    recipe = write(
        "greeting",
        'package:\n  name: greeting\n  version: "1.0"\nbuild:\n  noarch: generic\n'
        '  string: g${{ env.get("SLUICE_GLIBC", default="0") }}\n  script: mkdir -p $PREFIX/share\n',
    )
    (package,) = workshop.build(recipe, tmp_path / "channel")
    assert package.name == "greeting-1.0-g9.99.conda"
