"""`sluice channel collect`: delete files that nothing names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from sluice.cli.console import out, print_json, progress
from sluice.cli.options import Json
from sluice_channel.collect import File
from sluice_channel.collect import collect as collect_files
from sluice_channel.site import open_site


def collect(
    root: Annotated[
        Path,
        typer.Argument(help="The server's folder, which holds its catalogue and files.", show_default=False),
    ],
    before: Annotated[
        int | None,
        typer.Option(
            help="Forget the channel's generations before this one, for ever; those that locks name stay.",
            min=1,
            show_default=False,
        ),
    ] = None,
    channel: Annotated[str, typer.Option(help="The channel whose generations are forgotten.")] = "main",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say of each file why it stays.")] = False,
    json: Json = False,
) -> None:
    """Delete the files that no generation of a channel, no label and no registered lock names.

    Every file that stays has a reason: --verbose says it. A package leaves a channel by being yanked, then
    removed, and its file by forgetting the generations that had it. Publishing waits meanwhile, reading goes on.

    Example: sluice channel collect /srv/sluice --before 1200 --dry-run
    """
    files: list[File] = []
    with open_site(root) as site:
        done = collect_files(
            site,
            channel=channel if before is not None else "",
            before=before,
            dry_run=dry_run,
            on_file=files.append if verbose or json else lambda _: None,
            progress=progress(json_output=json),
        )
    if json:
        print_json(
            {
                "dry_run": dry_run,
                "generations": done.generations,
                "held": done.held,
                "removed": [digest.hex for digest in done.removed],
                "bytes": done.freed,
                "uploads": done.uploads,
                "kept": [
                    {"sha256": file.digest.hex, "size": file.size, "reasons": list(file.reasons)}
                    for file in files
                    if file.reasons
                ],
            }
        )
        return
    for file in files:
        why = f"stays: {', '.join(file.reasons)}" if file.reasons else "goes: nothing names it"
        out.print(f"{file.digest.short}  {decimal(file.size)}  {why}", markup=False)
    if done.held:
        out.print(f"fewer generations than asked for: {done.held}", markup=False)
    would = "would be " if dry_run else ""
    out.print(
        f"{done.generations} generations {would}forgotten, {len(done.removed)} files {would}deleted, "
        f"{done.uploads} uploads {would}thrown away: {decimal(done.freed)}; {done.kept} files stay"
    )
