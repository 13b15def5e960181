"""Does a `.pyc` below a prefix belong to its source? The header always, the code when asked.

The header is PEP 552's: a magic number, flags, then the source's time and size, or a hash of the source.
Hashes and code are compared by the prefix's own interpreter, since both differ between versions of Python;
it reads no `.pyc` itself and no site-packages, and must have been verified before.
https://peps.python.org/pep-0552/
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HEADER: Final = 16  # bytes
_CACHED = re.compile(r"^(?P<folder>.*/)?__pycache__/(?P<stem>[^/]+?)\.[a-z]+-?[0-9]+(\.opt-[0-9a-z]+)?\.pyc$")
_MASK = 0xFFFFFFFF
_DEATHS = 8  # of the interpreter, before the rest stays unchecked
_ALONE = "byte code without its source"

# Runs under any Python from 3.8 on. One line in: path of the .pyc, path of its source, whether to compare
# the code. One line out: what is wrong, or nothing.
_CHECK = r"""
import importlib.util, json, marshal, sys, types
NAMES = [name for name in ("co_argcount co_posonlyargcount co_kwonlyargcount co_nlocals co_stacksize co_flags "
    "co_code co_consts co_names co_varnames co_freevars co_cellvars co_name co_qualname co_firstlineno "
    "co_linetable co_exceptiontable").split() if hasattr((lambda: 0).__code__, name)]
def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, types.CodeType):
        return all(same(getattr(a, name), getattr(b, name)) for name in NAMES)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, frozenset):
        return sorted(map(repr, a)) == sorted(map(repr, b))
    return repr(a) == repr(b) if isinstance(a, (float, complex)) else a == b
def check(pyc, source, code):
    with open(pyc, "rb") as file:
        data = file.read()
    if data[:4] != importlib.util.MAGIC_NUMBER:
        return ""  # of another Python: this one never runs it
    with open(source, "rb") as file:
        text = file.read()
    if data[4] & 1 and data[8:16] != importlib.util.source_hash(text):
        return "byte code of another source (hash)"
    if code:
        level = 2 if ".opt-2." in pyc else 1 if ".opt-1." in pyc else 0
        made = compile(text, source, "exec", dont_inherit=True, optimize=level)
        if not same(marshal.loads(data[16:]), made):
            return "code that its source does not give"
    return ""
for line in sys.stdin:
    try:
        said = check(*json.loads(line))
    except Exception as error:
        said = "byte code that cannot be read (%s)" % type(error).__name__
    print(json.dumps(said), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A `.pyc` to look at, and whether its code is to be compared, not its header alone."""

    path: str  # relative to the prefix
    code: bool


def source_of(path: str) -> str:
    """Name the source of a `.pyc` (PEP 3147, and the older place beside the source)."""
    cached = _CACHED.match(path)
    return f"{cached['folder'] or ''}{cached['stem']}.py" if cached else path.removesuffix("c")


def check(prefix: Path, suspects: Iterable[Suspect], *, trusted: bool) -> dict[str, str]:
    """Say of each `.pyc` what is wrong with it; those that belong to their source are left out.

    `trusted` tells whether the prefix's interpreter was found intact: only then is it run.
    """
    wrong: dict[str, str] = {}
    asked: list[Suspect] = []
    for suspect in suspects:
        said, ask = _header(prefix, suspect)
        if said:
            wrong[suspect.path] = said
        elif ask:
            asked.append(suspect)
    if not trusted:
        wrong.update((suspect.path, "byte code not checked: the interpreter differs") for suspect in asked)
        return wrong
    for _ in range(_DEATHS):
        if not asked:
            return wrong
        for suspect, said in zip(asked, _ask(prefix, asked), strict=False):
            if said:
                wrong[suspect.path] = said
            answered = suspect
        asked = asked[asked.index(answered) + 1 :]
    wrong.update((suspect.path, "byte code not checked: the interpreter keeps ending") for suspect in asked)
    return wrong


def _header(prefix: Path, suspect: Suspect) -> tuple[str, bool]:
    """Compare what needs no interpreter; say what is wrong, and whether one has to be asked."""
    source = prefix / source_of(suspect.path)
    try:
        with (prefix / suspect.path).open("rb") as file:
            header = file.read(HEADER)
        status = source.stat()
    except FileNotFoundError:
        return _ALONE, False
    except OSError as error:
        return f"byte code that cannot be read ({error.strerror})", False
    if len(header) < HEADER:
        return "byte code cut short", False
    flags, first, second = (int.from_bytes(header[at : at + 4], "little") for at in (4, 8, 12))
    if flags & 1:
        return "", True
    if (first, second) != (int(status.st_mtime) & _MASK, status.st_size & _MASK):
        # Python would write it anew rather than run it; who wrote it is not known.
        return "byte code of another source (time or size)", False
    return "", suspect.code


def _ask(prefix: Path, suspects: list[Suspect]) -> Iterator[str]:
    """Yield one answer per suspect; hostile code may kill the interpreter, which is then the last answer."""
    command = [str(prefix / "bin/python"), "-I", "-S", "-B", "-W", "ignore"]
    command += ["-X", f"pycache_prefix={prefix / 'conda-meta/none'}", "-c", _CHECK]
    lines = "".join(
        json.dumps([str(prefix / item.path), str(prefix / source_of(item.path)), item.code]) + "\n"
        for item in suspects
    )
    try:
        done = subprocess.run(command, input=lines.encode(), capture_output=True, check=False, env={})
    except OSError as error:
        yield from [f"byte code not checked: cannot run the interpreter ({error.strerror})"] * len(suspects)
        return
    answers = done.stdout.decode(errors="replace").splitlines()[: len(suspects)]
    yield from (str(json.loads(answer)) for answer in answers)
    if len(answers) < len(suspects):
        yield "byte code that ends the interpreter that reads it"
