import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from sluice.spec import EnvSpec
from sluice_scheduler.model import Model

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


def test_the_documents_example_is_a_model(tmp_path):
    document = (ROOT / "docs/reference/model-packages.md").read_text()
    example = re.search(r"```toml\n(.*?)```", document, re.DOTALL)[1]
    (tmp_path / "model.toml").write_text(example.replace('"..."', '""'))
    for name in ("digits_model.py", "canary.json"):
        shutil.copy(ROOT / "recipes/digits/model" / name, tmp_path)
    assert Model.parse(tmp_path).canary_inputs()[0].name == "image"


@pytest.mark.parametrize(
    ("name", "model"), [("nlp-minilm-pt213-cpu", "minilm"), ("vision-digits-pt213-cpu", "digits")]
)
def test_an_environment_has_its_model(name, model):
    spec = EnvSpec.parse((ROOT / f"envs/{name}/environment.yml").read_text())
    assert str(spec.name) == name
    assert model in spec.dependencies
