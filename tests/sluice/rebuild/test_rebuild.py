"""Real packages made twice, through the real builder."""

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from sluice.build import BuildError
from sluice.cli import rebuild as command
from sluice.digest import Digest
from sluice.errors import SluiceError
from sluice.package import PackageNameError
from sluice.rebuild import Provenance, RebuildError, Supply
from sluice.testing import File, TinyPackage, index
from sluice.wheels import import_set, import_sets
from sluice.wheels.mark import Mark

HOST = "requirements:\n  host: [tool]\n"


@pytest.fixture
def supply(place, store):
    return Supply(place / "channel", store)


@pytest.fixture
def sluice(place, monkeypatch):
    """Run the command in the test's folder."""
    monkeypatch.chdir(place)
    app = typer.Typer()
    app.command()(command.command)

    def run(*arguments, status=0):
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(done.exception, SluiceError):
            raise done.exception
        assert done.exit_code == status, done.output
        return done

    return run


def test_a_recipe_gives_the_same_bytes_elsewhere(recipe, build, bench, supply, place):
    (package,) = build(recipe("greeting", 'echo "hello from $PREFIX" > $PREFIX/share/greeting'))
    result = bench.package(package, place / "recipes", supply)
    assert result.equal
    assert result.first == result.second == Digest.of_file(package)
    assert result.package == "noarch/greeting-1.0-h4616a5c_0.conda"


def test_scripts_have_one_locale_and_time_zone_wherever_they_run(recipe, build, bench, supply, place):
    (package,) = build(recipe("zoned", 'echo "$LC_ALL $LANG $TZ" $(date -d @0 +%c) > $PREFIX/share/zoned'))
    assert bench.package(package, place / "recipes", supply).equal


def test_the_second_build_is_made_on_another_day(recipe, build, bench, supply, place):
    (package,) = build(recipe("dated", "date +%G > $PREFIX/share/dated"))
    result = bench.package(package, place / "recipes", supply)
    assert not result.equal
    assert result.difference.member == "share/dated"
    (package,) = build(recipe("kept", 'date -d @"$SOURCE_DATE_EPOCH" +%G > $PREFIX/share/kept; sleep 0.1'))
    assert bench.package(package, place / "recipes", supply).equal


def test_the_package_says_what_it_was_built_from_and_with(recipe, build, place):
    (place / "local").mkdir()
    (place / "local/file").write_text("x")
    folder = recipe("greeting", "cp file $PREFIX/share/", "source:\n  path: ../../local\n")
    record = Provenance.read(build(folder)[0]).origin.record
    assert record.folders.keys() == {"../../local"}
    assert record.tools.keys() == {"py-rattler-build", "zstd"}  # and no compiler: it is noarch


@pytest.mark.parametrize(
    ("script", "member"),
    [
        ("date +%s%N > $PREFIX/share/when", "share/when: content at byte "),
        ("cat /proc/sys/kernel/random/uuid > $PREFIX/share/who", "share/who: content at byte "),
        ("umask > $PREFIX/share/mask", "share/mask: content at byte 2"),
        ("touch $PREFIX/share/$(date +%s%N)", "share/"),
        ('[ "$(umask)" = 0077 ] || chmod +x $PREFIX/share/a', "share/a: mode 755, 644"),
    ],
)
def test_the_first_member_that_differs_is_named(recipe, build, bench, supply, place, script, member):
    (package,) = build(recipe("careless", f"echo hello > $PREFIX/share/a\n{script}"))
    result = bench.package(package, place / "recipes", supply)
    assert not result.equal
    assert str(result.difference).startswith(member)


def test_what_it_was_built_with_is_taken_again_though_there_is_newer(recipe, build, bench, supply, place):
    def tool(version):
        return TinyPackage("tool", version, files={"share/tool": File(version.encode())}).write(
            place / "channel"
        )

    old = tool("1.0")
    index(place / "channel")
    (package,) = build(recipe("user", "cat $PREFIX/share/tool > $PREFIX/share/used", HOST))
    tool("2.0")
    assert bench.package(package, place / "recipes", supply).equal
    old.write_bytes(old.read_bytes() + b"x")
    with pytest.raises(RebuildError, match=r"tool-1.0-0.conda: has sha256 .* built with"):
        bench.package(package, place / "recipes", supply)
    old.unlink()
    with pytest.raises(RebuildError, match=r"tool-1.0-0.conda: is not there, .* --channel-dir"):
        bench.package(package, place / "recipes", supply)


def test_a_second_build_that_fails_says_the_end_of_its_log(recipe, build, bench, supply, place):
    script = 'echo working; if [ "$(umask)" = 0077 ]; then echo broken by the umask; exit 3; fi'
    (package,) = build(recipe("fragile", script))
    with pytest.raises(BuildError, match="the second build failed: fragile: Script failed") as caught:
        bench.package(package, place / "recipes", supply)
    assert any("broken by the umask" in line for line in caught.value.tail)
    assert "log:" not in str(caught.value)


def test_a_changed_recipe_or_source_is_named(recipe, build, bench, supply, place):
    (place / "local").mkdir()
    (place / "local/file").write_text("x")
    folder = recipe("greeting", "cp file $PREFIX/share/", "source:\n  path: ../../local\n")
    (folder / "note").write_text("1")
    (package,) = build(folder)
    (place / "local/file").write_text("y")
    with pytest.raises(RebuildError, match=f"^{place}/local: the source has changed since greeting-1.0"):
        bench.package(package, place / "recipes", supply)
    (folder / "note").write_text("2")
    with pytest.raises(RebuildError, match=r"recipes/greeting/note: not what greeting-1.0"):
        bench.package(package, place / "recipes", supply)
    recipe("greeting", "true")
    with pytest.raises(RebuildError, match=r"recipes/greeting/(note|recipe.yaml): not what"):
        bench.package(package, place / "recipes", supply)
    folder.rename(place / "elsewhere-entirely")
    with pytest.raises(RebuildError, match="no recipe for it in"):
        bench.package(package, place / "recipes", supply)


def test_a_wheel_set_in_another_order(wheel_set, bench, store, supply, place):
    folder = wheel_set("few", {"one": ["two[more]"], "two": ["three; extra == 'more'"], "three": [],
                               "typing_extensions": []})  # fmt: skip
    import_set(folder, store, place / "channel", cache_dir=place / "cache/converted")
    results = list(bench.everything([folder], place / "channel"))
    assert len(results) == 5  # one has a further name
    assert all(result.equal for result in results)
    for package in sorted((place / "channel/noarch").glob("*.conda")):
        assert bench.package(package, place / "recipes", supply).equal
    for path in folder.iterdir():
        path.unlink()
    wheel_set("few", {"one": ["two"]})
    (one,) = (place / "channel/noarch").glob("one-*.conda")
    with pytest.raises(RebuildError, match=r"pins one-1.0-py3-none-any.whl .* pins another of that name"):
        bench.package(one, place / "recipes", supply)


def test_stacks_that_pin_different_files(wheel_set, bench, store, supply, place):
    mark = Mark("cuda130", ("__cuda >=13",), 200)
    new = wheel_set("stack-new", {"one": ["two[more]"], "two": ["one; extra == 'more'"]}, stack="one")
    old = wheel_set("stack-old", {"one": [], "three": []}, version="0.9", stack="one", mark=mark)
    import_sets([new, old], store, place / "channel", cache_dir=place / "cache/converted")
    results = list(bench.everything([old, new], place / "channel"))
    assert len(results) == 6
    assert all(result.equal for result in results)
    packages = sorted((place / "channel").glob("*/*.conda"))
    assert len(packages) == 6
    for package in packages:
        assert bench.package(package, place / "recipes", supply).equal
    (pins,) = (place / "channel/linux-64").glob("stack-old-*.conda")
    wheel_set("stack-old", {"one": []}, version="0.9", stack="one", mark=mark)
    with pytest.raises(RebuildError, match=r"stack-old/wheels.toml: not what stack-old-0.9-cuda130_h"):
        bench.package(pins, place / "recipes", supply)
    with pytest.raises(RebuildError, match=r"no wheel set in .* is called stack-old"):
        bench.package(pins, new, supply)
    wheel_set("stack-old", {"one": []}, version="0.9", stack="one")  # without the mark
    (marked,) = (place / "channel/noarch").glob("one-0.9-cuda130_*.conda")
    with pytest.raises(RebuildError, match=r"no wheel set in .* pins one-0.9"):
        bench.package(marked, place / "recipes", supply)


def test_what_is_built_on_demand_is_left_out_until_it_was_built(sluice, wheel_set, recipe, store, place):
    import_set(wheel_set("few", {"one": []}), store, place / "channel", cache_dir=place / "cache/converted")
    for folder in (wheel_set("large", {"two": []}, stack="two"), recipe("model", "true")):
        (folder / "on-demand.txt").write_text("Large.\n")
    end = ["not in the channel, left out (built on demand): large, model",
           "1 of 1 packages equal"]  # fmt: skip
    assert sluice("--all", "--channel-dir", "channel").stdout.splitlines()[2:] == end
    assert sluice("--all").stdout.splitlines()[-1] == "1 of 1 packages equal"  # nor is it built for that
    named = sluice("--all", "recipes/large", "recipes/few")
    assert named.stdout.splitlines()[-1] == "3 of 3 packages equal"
    said = json.loads(sluice("--all", "recipes/large", "--channel-dir", "channel", "--json").stdout)
    assert (said["left_out"], said["packages"]) == (["large"], [])


def test_a_first_package_that_the_channel_lacks(recipe, build, bench, wheel_set, place):
    folder = recipe("greeting", "true")
    with pytest.raises(RebuildError, match=r"has no noarch/greeting-1.0-.*; build it first"):
        list(bench.everything([folder], place / "channel"))
    (result,) = bench.everything([wheel_set("few", {"one": []})], place / "channel")
    assert (result.first, result.equal) == (None, False)


def test_the_command_rebuilds_everything(sluice, recipe, wheel_set, place):
    recipe("greeting", "echo hello > $PREFIX/share/greeting")
    recipe("careless", "date +%s%N > $PREFIX/share/when")
    wheel_set("few", {"one": [], "two": []})
    done = sluice("--all", "--json", "--keep", "kept", status=1)
    said = json.loads(done.stdout)
    assert not said["equal"]
    assert {row["package"].split("-")[0]: row["equal"] for row in said["packages"]} == {
        "noarch/careless": False,
        "noarch/greeting": True,
        "noarch/one": True,
        "noarch/two": True,
    }
    (different,) = [row for row in said["packages"] if not row["equal"]]
    assert different["difference"]["member"] == "share/when"
    for side in ("first", "second"):
        assert Digest.of_file(place / "kept" / side / different["package"]).hex == different[side]
    assert said["conditions"]["umask"]
    assert said["conditions"]["clock"] == "371 days ahead"


def test_the_command_shows_a_table(sluice, recipe, build, place):
    (package,) = build(recipe("greeting", "echo hello > $PREFIX/share/greeting"))
    done = sluice("--all", "recipes/greeting", "--channel-dir", "channel")
    head, row, end = done.stdout.splitlines()
    assert head.split() == ["package", "first", "second"]
    short = Digest.of_file(package).short
    assert row.split() == [f"noarch/{package.name}", short, short, "equal"]
    assert end == "1 of 1 packages equal"


def test_a_served_package(sluice, recipe, build, served, place):
    TinyPackage("tool", files={"share/tool": File(b"x")}).write(place / "channel")
    index(place / "channel")
    (package,) = build(recipe("user", "cat $PREFIX/share/tool > $PREFIX/share/used", HOST))
    digest = Digest.of_file(package)
    said = json.loads(
        sluice(f"{served}/channel/noarch/{package.name}", "--sha256", digest.hex, "--json").stdout
    )
    assert said["equal"]
    with pytest.raises(RebuildError, match=f"has sha256 {digest}, expected 0000"):
        sluice(package, "--sha256", "0" * 64)


def test_bad_input_is_one_line(sluice, wheel_set, place, served):
    foreign, few = TinyPackage("foreign").write(place / "channel"), wheel_set("few", {"one": []})
    for arguments, error, message in [
        ([], RebuildError, "say which PACKAGE"),
        ([foreign], RebuildError, "foreign-1.0-0.conda: carries neither"),
        (["absent-1-0.conda"], RebuildError, "absent-1-0.conda: no such file"),
        ([f"{served}/recipes/"], PackageNameError, "not a package file name"),
        ([f"{served}/absent-1-0.conda"], SluiceError, "HTTP 404"),
        (["--all", place / "recipes/absent"], SluiceError, "neither a recipe.yaml nor a wheels.toml"),
        (["--all", "--recipes", "cache"], RebuildError, "no folder there has"),
        (["--all", "--recipes", "nowhere"], RebuildError, "nowhere: no such folder"),
        (["--all", "--channel-dir", "nowhere", few], RebuildError, "nowhere: no such folder"),
    ]:
        with pytest.raises(error, match=message):
            sluice(*arguments)
    page = place / "page-1-0.conda"
    page.write_text("<html>not found</html>")
    with pytest.raises(RebuildError, match=r"page-1-0.conda: not a whole .conda package"):
        sluice(f"{served}/{page.name}")
    renamed = foreign.rename(place / "other-1.0-0.conda")
    with pytest.raises(RebuildError, match="is another package inside"):
        sluice(renamed)


def test_as_a_user_meets_it(recipe, build, place):
    build(recipe("greeting", "echo hello > $PREFIX/share/greeting"))
    for arguments, status, said in [
        (["--all", "--channel-dir", "channel"], 0, "1 of 1 packages equal"),
        (["absent-1-0.conda"], 1, "error: absent-1-0.conda: no such file"),
    ]:
        done = subprocess.run(
            [sys.executable, "-m", "sluice", "rebuild", *arguments],
            capture_output=True, text=True, cwd=place, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        (last,) = (done.stderr if status else done.stdout).splitlines()[-1:]
        assert last == said
