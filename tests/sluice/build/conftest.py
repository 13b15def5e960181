import asyncio

import pytest
from rattler.index import index_fs

from sluice.adapters.rattler_build import RattlerBuild
from sluice.build import Workshop
from sluice.sources import Store


def index(channel):
    asyncio.run(index_fs(channel))


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """A workshop whose cache, and everything else it keeps, lies below the test's folder."""
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler"))
    cache = tmp_path / "cache"
    return Workshop(RattlerBuild(), Store(cache / "sources"), cache, index)


@pytest.fixture
def write(tmp_path):
    """Write a recipe's folder and return it."""

    def write_recipe(name, text, **files):
        folder = tmp_path / "recipes" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.yaml").write_text(text)
        for file, content in files.items():
            (folder / file.replace("__", ".")).write_text(content)
        return folder

    return write_recipe
