"""What a PyPI project is called in a conda channel.

Most names are the same once normalised (PEP 503). The table holds those that conda-forge calls
otherwise, so that an environment may mix this channel with conda-forge and a spec may move between
them. Names on the right are facts about conda-forge; a name that is missing here is used as it is.
"""

from __future__ import annotations

from packaging.utils import NormalizedName, canonicalize_name

_CONDA_NAMES = {
    "annoy": "python-annoy",
    "backports-tarfile": "backports.tarfile",
    "backports-zstd": "backports.zstd",
    "build": "python-build",
    "docker": "docker-py",
    "duckdb": "python-duckdb",
    "flatbuffers": "python-flatbuffers",
    "graphviz": "python-graphviz",
    "huggingface-hub": "huggingface_hub",
    "importlib-resources": "importlib_resources",
    "jaraco-classes": "jaraco.classes",
    "jaraco-context": "jaraco.context",
    "jaraco-functools": "jaraco.functools",
    "jupyter-core": "jupyter_core",
    "jupyter-client": "jupyter_client",
    "kubernetes": "python-kubernetes",
    "lmdb": "python-lmdb",
    "matplotlib": "matplotlib-base",
    "ml-dtypes": "ml_dtypes",
    "msgpack": "msgpack-python",
    "mypy-extensions": "mypy_extensions",
    "prometheus-client": "prometheus_client",
    "ray": "ray-core",
    "redis": "redis-py",
    "ruamel-yaml": "ruamel.yaml",
    "ruamel-yaml-clib": "ruamel.yaml.clib",
    "stack-data": "stack_data",
    "tables": "pytables",
    "torch": "pytorch",
    "typing-extensions": "typing_extensions",
    "tzdata": "python-tzdata",
    "xgboost": "py-xgboost",
    "xxhash": "python-xxhash",
    "zope-interface": "zope.interface",
}

_PROJECTS = {name: project for project, name in _CONDA_NAMES.items()}

# conda-forge has both spellings, one an empty package that needs the other. A channel with only one
# of them would leave packages from elsewhere that ask for the second to a foreign, clashing build.
_ALIASES = {
    "typing_extensions": ("typing-extensions",),
}


def conda_name(project: str) -> str:
    """Return the conda name of a PyPI project, however its name is spelt."""
    name: NormalizedName = canonicalize_name(project)
    return _CONDA_NAMES.get(name, name)


def project_name(name: str) -> str:
    """Return what PyPI calls a conda package, as far as the table knows; else its normalised name."""
    return _PROJECTS.get(name) or canonicalize_name(name)


def aliases(name: str) -> tuple[str, ...]:
    """Return further conda names under which a package must be found."""
    return _ALIASES.get(name, ())
