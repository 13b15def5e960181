"""Settings: declared once, and the same in the flags, the variables and the TOML file."""

import tomllib
from pathlib import Path

import pytest
import typer

from sluice_scheduler.cli import serve
from sluice_scheduler.configuration import Source, check_toml, problems, template
from sluice_scheduler.declared import settings_of
from sluice_scheduler.errors import SettingsError
from sluice_scheduler.settings import SETTINGS, Settings

GIVEN = {"channel": "http://127.0.0.1:1/main", "env": ("a-b-c-cpu",), "state": Path("/s")}


def uncommented(text):
    """Have every `#name = value` and `#[table]` of a template count."""
    return "\n".join(
        line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in text.splitlines()
    )


def test_the_template_names_every_setting_and_parses_to_the_defaults(tmp_path):
    path = tmp_path / "scheduler.toml"
    path.write_text(template(GIVEN))
    assert Source({}, path).load() == Settings(**GIVEN)
    path.write_text(uncommented(template(GIVEN)))
    document = tomllib.loads(path.read_text())
    assert set(document) == set(SETTINGS)
    assert check_toml(path) == ()
    loaded, defaults = Source({}, path).load(), Settings(**GIVEN)
    for one in SETTINGS.values():
        if one.default is not None and not one.table:
            assert getattr(loaded, one.name) == getattr(defaults, one.name), one.name


def test_the_template_explains_every_setting():
    text = " ".join(template({}).replace("\n#", "").split())
    for one in SETTINGS.values():
        assert " ".join(one.help.split()) in text
        assert one.help.endswith("."), one.name


def test_a_flag_wins_over_the_file(tmp_path):
    path = tmp_path / "scheduler.toml"
    path.write_text("port = 1\nageing = 3\n")
    loaded = Source({**GIVEN, "port": 2}, path).load()
    assert (loaded.port, loaded.ageing) == (2, 3.0)
    assert isinstance(loaded.ageing, float)


def test_what_is_required_is_asked_for_in_all_three_ways():
    with pytest.raises(SettingsError, match="env is missing: give --env, SLUICE_SCHEDULER_ENV or env in"):
        Source({"channel": "http://x", "state": Path("/s")}).load()


def test_all_that_is_wrong_is_told():
    document = {
        "port": "8720",
        "instances": 0,
        "colour": 1,
        "env": ["a", "a"],
        "ageing": float("nan"),
        "host": "h",
    }
    assert len(found := list(problems(document))) == 5
    assert found[0] == "port is a whole number, not '8720'"
    assert found[1] == "instances is a number from 1 to 256, not 0"
    assert found[2].startswith("unknown setting 'colour'; known are ")
    assert found[3] == "env: the same environment is named twice"
    assert found[4] == "ageing is a number from 0 to 1e+09, not nan"


def test_settings_that_do_not_go_together_are_told(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text("instances = 1\nmin_instances = 2\n")
    assert check_toml(path) == ("min_instances is at most instances, 1, not 2",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", True),
        ("open", 1),
        ("env", "one"),
        ("env", [1]),
        ("state", ""),
        ("state", "a\0b"),
        ("channel", "x" * 5000),
        ("max_batch", 3),
        ("channel", "ftp://x"),
    ],
)
def test_a_value_of_another_kind_is_refused(name, value):
    assert list(problems({name: value}))


def test_every_setting_has_a_flag_and_a_variable():
    command = typer.main.get_command(typer_app())
    options = {option.name: option for option in command.params}
    for one in SETTINGS.values():
        if not one.table:
            assert one.flag in options[one.name].opts
            assert options[one.name].envvar == f"SLUICE_SCHEDULER_{one.name.upper()}"
            assert options[one.name].help.replace("\\[", "[") == one.help  # as Rich escapes it


def typer_app():
    app = typer.Typer()
    app.command()(serve.command)
    return app


def test_declarations_keep_their_order():
    assert list(settings_of(Settings)) == list(SETTINGS)
    assert list(SETTINGS)[:3] == ["channel", "env", "state"]


def test_a_file_that_is_no_toml_is_one_line(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text("port = = 1")
    with pytest.raises(SettingsError, match=r"x.toml: .*line 1"):
        check_toml(path)
    with pytest.raises(SettingsError, match="No such file"):
        check_toml(tmp_path / "nothing")
