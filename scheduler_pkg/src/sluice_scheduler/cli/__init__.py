"""`sluice scheduler`: serve, and speak to what serves."""

from __future__ import annotations

import typer

from sluice_scheduler import canary
from sluice_scheduler.cli import init, keys, receipts, serve, tasks

app = typer.Typer(
    help="Run prioritized PyTorch inference out of locked environments, and look at its tasks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(init.init)
app.command("config")(init.config)
app.command("serve")(serve.command)
app.command("reload")(init.reload)
app.command("submit")(tasks.submit)
app.command("status")(tasks.status)
app.command("show")(tasks.show)
app.command("cancel")(tasks.cancel)
app.command("models")(tasks.models)
app.command("receipt")(receipts.receipt)
app.command("rotate-key")(receipts.rotate_key)
app.command("canary")(canary.command)
app.add_typer(keys.app, name="key")
