from pathlib import Path

import pytest

from sluice.settings import DEFAULT_CHANNELS, Settings, SettingsError


def load(tmp_path, toml="", environ=None, **flags):
    path = tmp_path / "config.toml"
    path.write_text(toml)
    return Settings.load({"SLUICE_CONFIG": str(path), **(environ or {})}, **flags)


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(tmp_path):
    toml = 'cache = "/toml"'
    environ = {"SLUICE_CACHE": "/environ"}
    assert load(tmp_path, toml, environ, cache="/flag").cache == Path("/flag")
    assert load(tmp_path, toml, environ, cache=None).cache == Path("/environ")
    assert load(tmp_path, toml).cache == Path("/toml")
    assert load(tmp_path).cache.name == "sluice"


def test_channels_are_merged_by_name(tmp_path):
    settings = load(
        tmp_path, '[channels]\na = "http://toml/a"\nb = "http://toml/b"', {"SLUICE_CHANNELS": "b=http://env/b c=http://env/c"},
        channels=["c=http://flag/c"],
    )  # fmt: skip
    assert settings.channels == DEFAULT_CHANNELS | {
        "a": "http://toml/a",
        "b": "http://env/b",
        "c": "http://flag/c",
    }


@pytest.mark.parametrize(
    ("toml", "environ", "said"),
    [
        ("[", {}, "config.toml"),
        ("nosuch = 1", {}, "unknown setting 'nosuch'"),
        ("cache = 1", {}, "'cache' must be a path"),
        ("channels = 1", {}, "'channels' must be a table"),
        ("", {"SLUICE_CHANNELS": "main"}, "SLUICE_CHANNELS: expected NAME=URL"),
    ],
)
def test_a_bad_setting_is_named_with_its_place(tmp_path, toml, environ, said):
    with pytest.raises(SettingsError, match=said):
        load(tmp_path, toml, environ)
