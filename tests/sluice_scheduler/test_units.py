"""The systemd units."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sluice_scheduler.errors import SettingsError
from sluice_scheduler.units import Unit, executable, render


def lines(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("unit", Unit)
def test_what_is_started_and_how_it_tells(unit):
    text = render(unit, config=Path("/etc/x.toml"), executable=Path("/opt/p/bin/sluice"))
    found = lines(text)
    assert "ExecStart=/opt/p/bin/sluice scheduler serve --config /etc/x.toml" in found
    assert "ExecReload=/bin/kill -HUP $MAINPID" in found
    for line in (
        "Type=notify",
        "NotifyAccess=main",
        "WatchdogSec=60",
        "NoNewPrivileges=yes",
        "KillMode=mixed",
    ):
        assert line in found
    assert "StateDirectoryMode=0700" in found


def test_the_default_configuration():
    assert "--config /etc/sluice/scheduler.toml" in render(Unit.SYSTEM, config=None, executable=executable())
    assert "--config %E/sluice/scheduler.toml" in render(Unit.USER, config=None, executable=executable())


def test_what_has_a_meaning_in_units_is_escaped():
    text = render(Unit.SYSTEM, config=Path("/a%b$c"), executable=executable())
    assert "--config /a%%b$$c" in text


@pytest.mark.parametrize("path", ["/a b", "/a\nExecStart=x", "/a'b", '/a"', "/a\\", "/a;b"])
def test_a_path_that_no_unit_can_name_is_refused(path):
    with pytest.raises(SettingsError, match="a unit has no room for the path"):
        render(Unit.SYSTEM, config=Path(path), executable=executable())


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("unit", Unit)
def test_systemd_understands_it(unit, tmp_path):
    path = tmp_path / "sluice-scheduler.service"
    path.write_text(render(unit, config=None, executable=executable()))
    mode = "--user" if unit is Unit.USER else "--system"
    done = subprocess.run(
        ["systemd-analyze", mode, "verify", path], capture_output=True, text=True, check=False
    )
    told = [line for line in done.stderr.splitlines() if "sluice-scheduler" in line]
    assert told == []


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_little_is_exposed(tmp_path):
    path = tmp_path / "sluice-scheduler.service"
    path.write_text(render(Unit.SYSTEM, config=None, executable=executable()))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=30", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
