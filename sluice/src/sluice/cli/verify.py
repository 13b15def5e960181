"""`sluice verify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sluice.cli import options
from sluice.cli.console import err, out, print_json, progress
from sluice.lock import read
from sluice.prefix import PrefixError
from sluice.record import Record
from sluice.verify import verify


def command(
    prefix: Annotated[Path, typer.Argument(help="A realised environment.", show_default=False)],
    lock: Annotated[
        Path | None, typer.Option(help="Also check that the prefix was made from this lock.")
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every byte, also of files that look untouched.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Check that an environment is still what its lock says; name every path that is not.

    Status 0 when intact, 1 when anything differs. Byte code that Python wrote is not a difference.

    Example: sluice verify --deep ~/.local/share/sluice/prefixes/envs/b44250fa2481efeb51e35bdb00410ba5
    """
    record = Record.read(prefix)
    if lock and (wanted := read(lock).digest) != record.lock:
        raise PrefixError(f"{prefix}: made from lock {record.lock.short}, not from {lock} ({wanted.short})")
    differences = verify(prefix, deep=deep, progress=progress(json_output=json))
    if json:
        print_json(
            {
                "prefix": str(prefix),
                "lock": record.lock.hex,
                "tree": record.tree.hex,
                "intact": not differences,
                "differences": [asdict(difference) for difference in differences],
            }
        )
    elif differences:
        for difference in differences:
            out.print(str(difference), markup=False)
        err.print(
            f"{prefix}: {len(differences)} of {len(record.entries)} paths differ from lock {record.lock.short}"
        )
    else:
        out.print(
            f"{prefix}: intact, {len(record.entries)} paths, tree {record.tree.short}, lock {record.lock.short}"
        )
    if differences:
        raise typer.Exit(1)
