"""`sluice graph`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sluice import atomic
from sluice.cli import options
from sluice.cli.console import out, print_json
from sluice.cli.located import PLATFORM, LockPath, Platform, read_located
from sluice.graph import Graph, spec_name, svg


def command(
    lock: LockPath,
    why: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this package and what needs it.")
    ] = None,
    drawing: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Also draw it as an SVG.")
    ] = None,
    platform: Platform = PLATFORM,
    json: options.Json = False,
) -> None:
    """Show why each package is in a lock: what was asked for, and what that needs in turn.

    What was asked for is read from the environment.yml beside the lock; without one, it is taken to
    be what nothing else needs. With --why the tree runs the other way, from the package up; a virtual
    package such as __glibc may be asked about too.

    Example: sluice graph envs/nlp-minilm-pt213-cpu --why mpmath
    """
    value, spec = read_located(lock)
    asked = map(spec_name, spec.dependencies) if spec else ()
    whole = Graph.of(value.on(platform), asked)
    text = whole.why_tree(why) if why else whole.without_virtual().tree()
    graph = whole.why(why) if why else whole.without_virtual()
    if drawing:
        title = f"{spec.name if spec else lock} on {platform}" + (f": why {why}" if why else "")
        atomic.write(drawing, svg(graph, title).encode())
    if json:
        print_json(
            {
                "platform": platform,
                "asked": list(graph.asked),
                "packages": [
                    {"name": name, "version": version, "needs": list(graph.needs[name])}
                    for name, version in sorted(graph.labels.items())
                ],
            }
        )
    else:
        out.print(text, markup=False)
