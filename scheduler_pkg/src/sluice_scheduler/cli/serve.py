"""`sluice scheduler serve`."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer

from sluice_scheduler import settings as defaults
from sluice_scheduler.daemon import Daemon
from sluice_scheduler.listening import loop_factory
from sluice_scheduler.policy import DEFAULT_AGEING
from sluice_scheduler.settings import Settings, read_toml


def _config(context: typer.Context, path: Path | None) -> Path | None:
    if path is not None:
        context.default_map = {**(context.default_map or {}), **read_toml(path)}
    return path


def command(
    channel: Annotated[
        str,
        typer.Option(envvar="SLUICE_SCHEDULER_CHANNEL", help="The channel's URL, http://HOST:PORT/CHANNEL."),
    ],
    env: Annotated[
        list[str],
        typer.Option(
            envvar="SLUICE_SCHEDULER_ENV", help="An environment of the channel to serve; may be repeated."
        ),
    ],
    state: Annotated[
        Path,
        typer.Option(
            envvar="SLUICE_SCHEDULER_STATE",
            help="Folder of the queue, the prefixes, the logs and the run file.",
        ),
    ],
    prefixes: Annotated[
        Path | None,
        typer.Option(
            envvar="SLUICE_SCHEDULER_PREFIXES",
            help="Folder to realise environments in.",
            show_default="prefixes in the state folder",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(envvar="SLUICE_SCHEDULER_HOST", help="Address to listen at.")
    ] = defaults.DEFAULT_HOST,
    port: Annotated[
        int, typer.Option(envvar="SLUICE_SCHEDULER_PORT", help="Port to listen at; 0 takes a free one.")
    ] = defaults.DEFAULT_PORT,
    instances: Annotated[
        int,
        typer.Option(envvar="SLUICE_SCHEDULER_INSTANCES", help="Tasks that one environment runs at a time."),
    ] = 1,
    threads: Annotated[
        int,
        typer.Option(envvar="SLUICE_SCHEDULER_THREADS", help="Threads of each; part of the numeric profile."),
    ] = 1,
    deterministic: Annotated[
        bool,
        typer.Option(
            envvar="SLUICE_SCHEDULER_DETERMINISTIC",
            help="Use deterministic operators only; otherwise receipts say that answers may differ.",
        ),
    ] = True,
    ageing: Annotated[
        float,
        typer.Option(
            envvar="SLUICE_SCHEDULER_AGEING",
            help="Seconds that one step of priority is worth: a task is overtaken only by those that arrive within "
            "this times the difference of their priorities.",
        ),
    ] = DEFAULT_AGEING,
    task_seconds: Annotated[
        float,
        typer.Option(envvar="SLUICE_SCHEDULER_TASK_SECONDS", help="A task that runs longer is stopped."),
    ] = defaults.DEFAULT_TASK_SECONDS,
    max_batch: Annotated[
        int | None,
        typer.Option(
            envvar="SLUICE_SCHEDULER_MAX_BATCH",
            help="Rows, a power of two, that a model which batches is run with at most. Part of what receipts name: "
            "other buckets may give other bytes.",
            show_default="as the model's package says",
        ),
    ] = None,
    batch_wait: Annotated[
        float,
        typer.Option(
            envvar="SLUICE_SCHEDULER_BATCH_WAIT",
            help="Seconds that a task waits for others to run with when the worker was idle.",
        ),
    ] = 0.0,
    max_request_bytes: Annotated[
        int, typer.Option(envvar="SLUICE_SCHEDULER_MAX_REQUEST_BYTES", help="The largest request taken.")
    ] = defaults.DEFAULT_REQUEST_BYTES,
    _: Annotated[
        Path | None,
        typer.Option(
            "--config",
            callback=_config,
            is_eager=True,
            envvar="SLUICE_SCHEDULER_CONFIG",
            help="TOML file of these settings, by their long names with _ for -; flags and variables win.",
        ),
    ] = None,
) -> None:
    """Serve the models of a channel's environments until SIGTERM or Ctrl-C.

    Pulls each environment's lock from the channel, realises and verifies it, starts its workers, and answers
    at http://HOST:PORT. /health/ready is 503 and says what is being done until all environments are up.
    """
    settings = Settings(
        channel=channel,
        env=tuple(env),
        state=state.absolute(),
        prefixes=prefixes,
        host=host,
        port=port,
        instances=instances,
        threads=threads,
        deterministic=deterministic,
        ageing=ageing,
        task_seconds=task_seconds,
        max_batch=max_batch,
        batch_wait=batch_wait,
        max_request_bytes=max_request_bytes,
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_run(settings))


async def _run(settings: Settings) -> None:
    await Daemon(settings).run()
