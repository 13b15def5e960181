"""How long the server needs for a page of a large channel: lists, searches, packages, generations.

Fills a catalogue (100,000 packages of 10,000 names unless told otherwise) and asks the application for each
page in this process, so that the figure is the server's time and nothing of a network's. Every request is
another one: other words, other pages of the list, other packages. The bound is for the processor's time: the
clock's is also that of whatever else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.types import Message

import channels
import harness
from sluice_channel.app import create_site_app
from sluice_channel.serve import settle
from sluice_channel.site import Site, open_site

TARGET = 50.0  # ms


def measure(arguments: argparse.Namespace) -> list[harness.Figure]:
    """Fill a catalogue and time its pages."""
    with _folder(arguments.root) as root:
        site = open_site(root, create=True)
        try:
            if not site.catalogue.channels():
                channels.catalogue(root, arguments.packages)
            return _pages(site, arguments.requests)
        finally:
            site.close()


def _pages(site: Site, requests: int) -> list[harness.Figure]:
    app = create_site_app(site)
    settle()  # as the server does before it is asked
    names = site.catalogue.totals("main").names
    newest = site.catalogue.channel("main").generation
    kinds: dict[str, tuple[Callable[[int], tuple[str, str]], float | None]] = {
        "list": (lambda n: ("/main/", f"page={1 + n * 7919 % max(names // 50, 1)}"), TARGET),
        "search, name": (lambda n: ("/main/", f"q=bench-{n * 37 % names}"), TARGET),
        "search, two words in summaries": (lambda n: ("/main/", f"q=package+{n * 37 % names}"), TARGET),
        "search, everything matches": (lambda n: ("/main/", f"q=benchmark&page={1 + n % 20}"), TARGET),
        "search, nothing matches": (lambda n: ("/main/", f"q=nothing{n}"), TARGET),
        "home": (lambda _: ("/", ""), None),
        "package": (lambda n: (f"/main/packages/bench-{n * 37 % names}", ""), None),
        "list at an old generation": (lambda n: (f"/main/@{max(newest - 1, 1)}/", f"page={1 + n}"), None),
        "generations": (lambda _: ("/main/generations", ""), None),
    }
    figures = []
    for kind, (address, target) in kinds.items():
        asyncio.run(_ask(app, *address(0)))  # what the process does once
        samples = [asyncio.run(_ask(app, *address(number))) for number in range(1, requests + 1)]
        clock, busy = [each[0] for each in samples], [each[1] for each in samples]
        figures += [
            harness.Figure(f"{kind}: clock", statistics.median(clock), "ms", spread=harness.spread(clock)),
            harness.Figure(f"{kind}: processor", statistics.median(busy), "ms", spread=harness.spread(busy)),
            harness.Figure(f"{kind}: processor, longest", max(busy), "ms", target=target),
        ]
    return figures


async def _ask(app: FastAPI, path: str, query: str) -> tuple[float, float]:
    """Ask for a page as a server would; return the ms until it was sent whole, and those a processor was at work."""
    status = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = int(str(message["status"]))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"channel.example"), (b"accept", b"text/html")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    started, busy = time.perf_counter(), time.process_time()
    await app(scope, receive, send)
    took = (time.perf_counter() - started) * 1000, (time.process_time() - busy) * 1000
    if status != 200:
        raise SystemExit(f"error: {path}?{query} answered {status}")
    return took


@contextmanager
def _folder(root: Path | None) -> Iterator[Path]:
    if root is not None:
        yield root
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=30, help="for each page (default: %(default)s)")
    parser.add_argument(
        "--root", type=Path, help="keep the catalogue in this folder, and use it if it is there"
    )
    return harness.main("web", measure, parser)


if __name__ == "__main__":
    raise SystemExit(main())
