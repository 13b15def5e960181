"""`sluice gc`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from sluice.cli import options
from sluice.cli.console import err, out, print_json
from sluice.collect import collect
from sluice.realise import PrefixStore
from sluice.settings import Settings


def command(
    prefixes: options.Prefixes = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    json: options.Json = False,
) -> None:
    """Remove realised environments that no root names and no process uses, and packages that none is made of.

    A root is made by `sluice realise --root NAME` and is a file in the store's folder `roots`; remove the
    file to give the environment up. Waits for whoever is realising.

    Example: sluice gc --dry-run
    """
    settings = Settings.load(prefixes=prefixes)
    verdicts = collect(PrefixStore(settings.prefixes), dry_run=dry_run)
    if json:
        print_json({"dry_run": dry_run, "verdicts": [asdict(verdict) for verdict in verdicts]})
        return
    gone = "would remove" if dry_run else "removed"
    for verdict in verdicts:
        if verdict.kind == "prefix" or not verdict.kept:
            out.print(
                f"{'kept' if verdict.kept else gone} {verdict.kind} {verdict.name}: {verdict.why}",
                markup=False,
            )
    counts = [
        sum(verdict.kind == kind and not verdict.kept for verdict in verdicts)
        for kind in ("prefix", "package")
    ]
    err.print(f"{gone} {counts[0]} environments and {counts[1]} extracted packages")
