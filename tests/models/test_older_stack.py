"""The digits model for PyTorch 1.13 is the one for 2.13 with a patch; what that computes, its own build says."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from sluice.spec import read_spec
from sluice.wheels import load

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes/digits-pt113"


@pytest.fixture
def recipe():
    return yaml.safe_load((RECIPE / "recipe.yaml").read_text())


def test_it_is_the_same_version_of_the_same_model_in_another_build(recipe):
    model = tomllib.loads((ROOT / "recipes/digits/model/model.toml").read_text())
    newer = yaml.safe_load((ROOT / "recipes/digits/recipe.yaml").read_text())
    assert recipe["package"] == newer["package"]
    assert recipe["context"]["version"] == newer["context"]["version"] == model["version"]
    assert recipe["build"]["string"].startswith("pt113_")
    assert "string" not in newer["build"]


def test_it_runs_with_the_stack_it_was_built_with(recipe):
    stack = load(ROOT / "recipes/pytorch-113")
    assert f"{stack.name} =={stack.version}" in recipe["requirements"]["host"]
    assert f"pytorch =={stack.version}" in recipe["requirements"]["run"]


def test_its_patch_fits_the_model_it_is_for(recipe, tmp_path):
    source = recipe["source"]
    shutil.copytree(RECIPE / source["path"], tmp_path / "digits")
    (patch,) = source["patches"]
    command = ["git", "apply", "--verbose", str(RECIPE / patch)]
    done = subprocess.run(command, cwd=tmp_path / "digits", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    code = (tmp_path / "digits/model/digits_model.py").read_text()
    compile(code, "digits_model.py", "exec")
    assert "torch.device(" not in code  # of PyTorch 2.0
    assert "assign=True" not in code  # of 2.1


@pytest.mark.parametrize(
    ("name", "stack", "cuda"),
    [
        ("vision-digits-pt113-cpu", "pytorch-113", []),
        ("vision-digits-pt213-cuda130", "pytorch-cuda130", ["13.0"]),
    ],
)
def test_an_environment_names_its_stack(name, stack, cuda):
    parsed, _, spec = read_spec(ROOT / "envs" / name)
    release = parsed.torch_release
    assert load(ROOT / "recipes" / stack).version.startswith(f"{release}.")
    assert f"{stack} {release}.*" in spec.dependencies
    assert "digits" in spec.dependencies
    assert [item.version for item in spec.virtual] == cuda
