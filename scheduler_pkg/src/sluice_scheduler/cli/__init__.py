"""`sluice scheduler`: serve, and speak to what serves."""

from __future__ import annotations

import typer

from sluice_scheduler import canary
from sluice_scheduler.cli import (
    breaker,
    deployments,
    init,
    keys,
    lists,
    receipts,
    run,
    serve,
    submit,
    tasks,
    why,
)

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
app.command("submit")(submit.submit)
app.command("run")(run.run)
app.command("status")(tasks.status)
app.command("show")(tasks.show)
app.command("list")(lists.list_tasks)
app.command("watch")(lists.watch)
app.command("why")(why.command)
app.command("cancel")(lists.cancel)
app.command("retry")(lists.retry)
app.command("models")(tasks.models)
app.command("deployments")(deployments.deployments)
app.command("deploy")(deployments.deploy)
app.command("rollback")(deployments.rollback)
app.command("log")(deployments.log)
app.command("receipt")(receipts.receipt)
app.command("rotate-key")(receipts.rotate_key)
app.command("canary")(canary.command)
app.add_typer(keys.app, name="key")
app.add_typer(breaker.app, name="breaker")
