"""The process that runs py-rattler-build: `python -m sluice.adapters.rattler_build_process REQUEST`.

The request is JSON on the command line. Every answer is a line of JSON with an `event`; a line that is
not belongs to the log. It runs recipe scripts, which may do anything, so it is never imported by anything
that must live on. It ends its whole process group when its standard input closes: its parent has died.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

import rattler_build
from rattler_build import Package, RenderConfig, Stage0Recipe, ToolConfiguration


def _say(event: str, **values: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


class _Progress:
    """Passes on what py-rattler-build reports."""

    def on_download_start(self, event: Any) -> None:  # noqa: ANN401 - untyped in the library's protocol
        _say("log", level="info", message=f"read {event.url}")

    def on_download_progress(self, event: Any) -> None:  # noqa: ANN401
        pass

    def on_download_complete(self, event: Any) -> None:  # noqa: ANN401
        pass

    def on_build_step(self, event: Any) -> None:  # noqa: ANN401
        _say("step", message=event.message)

    def on_log(self, event: Any) -> None:  # noqa: ANN401
        _say("log", level=event.level, message=event.message)


def _describe(directories: list[str]) -> None:
    for directory in directories:
        path = Path(directory) / "recipe.yaml"
        try:
            variants = Stage0Recipe.from_file(path).render(render_config=RenderConfig())
            platform = RenderConfig().target_platform
            described = [{"recipe": item.recipe.to_dict(), "platform": platform} for item in variants]
        except (rattler_build.RattlerBuildError, OSError, ValueError) as error:
            _say("unusable", directory=directory, message=str(error))
        else:
            _say("described", directory=directory, variants=described)


def _build(recipe: str, output: str, channel: str) -> None:
    results = Stage0Recipe.from_file(recipe).run_build(
        # The package is packed again afterwards, so the least compression does.
        package_format="conda:-7",
        # A noarch package may hold links: nothing here is for Windows.
        tool_config=ToolConfiguration(
            test_strategy="skip", compression_threads=2, allow_symlinks_on_windows=True
        ),
        output_dir=output,
        channels=[channel],
        no_build_id=True,
        progress_callback=_Progress(),
    )
    _say("built", packages=[str(path) for result in results for path in result.packages])


def _check(package: str, channel: str) -> None:
    results = Package.from_file(package).run_tests(channel=[channel], progress_callback=_Progress())
    for result in results:
        if not result.success:
            for line in result.output:
                _say("log", level="error", message=line)
            _say("failed", message=f"test {result.test_index + 1} of {Path(package).name} failed")
            return
    _say("checked", count=len(results))


def _end_with_parent() -> None:
    def watch() -> None:
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _leave(status: int) -> NoReturn:
    # The library's own threads have crashed interpreters that were ending.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> NoReturn:
    """Do what the request says and end."""
    request = json.loads(sys.argv[1])
    _end_with_parent()
    try:
        match request.pop("do"):
            case "describe":
                _describe(**request)
            case "build":
                _build(**request)
            case "check":
                _check(**request)
    except (rattler_build.RattlerBuildError, OSError, ValueError) as error:
        _say("failed", message=str(error))
        _leave(1)
    _leave(0)


if __name__ == "__main__":
    main()
