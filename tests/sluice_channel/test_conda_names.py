"""The stand-ins for conda: made only where the real one is missing, and only in that process."""

from __future__ import annotations

import subprocess
import sys


def python(code: str, *path: str) -> str:
    environ = {"PYTHONPATH": ":".join(path)} if path else {}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ
    )
    return done.stdout.strip()


def test_without_conda_a_stand_in_orders_versions_as_conda_does():
    code = (
        "from sluice_channel.indexers.conda_names import supply\n"
        "assert supply() is False\n"
        "from conda.models.version import VersionOrder as V\n"
        "import conda_index.index\n"
        "texts = ['1!0.1', '2.0', '2.0dev', '1.10', '1.9', '1.10rc1']\n"
        "print(' '.join(sorted(texts, key=V)), flush=True)\n"
        "import os; os._exit(0)\n"
    )
    assert python(code) == "1.9 1.10rc1 1.10 2.0dev 2.0 1!0.1"


def test_a_real_conda_is_used(tmp_path):
    for name, text in {
        "conda/__init__.py": "",
        "conda/models/__init__.py": "",
        "conda/models/version.py": "class VersionOrder: real = True",
        "conda/base/__init__.py": "",
        "conda/base/constants.py": "PLATFORM_DIRECTORIES = ('noarch',)",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    code = (
        "from sluice_channel.indexers.conda_names import supply\n"
        "assert supply() is True\n"
        "from conda.models.version import VersionOrder\n"
        "print(VersionOrder.real, flush=True)\n"
        "import os; os._exit(0)\n"
    )
    assert python(code, str(tmp_path)) == "True"


def test_this_process_never_sees_them(channel):
    from sluice_channel.reindex import index

    index(channel)
    assert not [name for name in sys.modules if name == "conda" or name.startswith(("conda.", "conda_index"))]
