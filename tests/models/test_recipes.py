import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["digits", "minilm"])
def test_a_recipe_and_its_model_have_one_version(name):
    recipe = yaml.safe_load((ROOT / f"recipes/{name}/recipe.yaml").read_text())
    model = tomllib.loads((ROOT / f"recipes/{name}/model/model.toml").read_text())
    assert recipe["context"]["version"] == model["version"]
    assert recipe["package"]["name"] == model["name"] == name


def test_the_oracle_has_the_channels_versions():
    oracle = {}
    for line in (ROOT / "requirements/oracle.txt").read_text().splitlines():
        name, _, version = line.removesuffix(" \\").partition("==")
        oracle[name] = version
    for wheel_set in ("pytorch-cpu", "model-runtime", "model-training"):
        for wheel in tomllib.loads((ROOT / f"recipes/{wheel_set}/wheels.toml").read_text())["wheel"]:
            assert oracle.get(wheel["name"]) == wheel["version"].partition("+")[0], wheel["name"]
