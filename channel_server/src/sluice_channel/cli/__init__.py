"""`sluice channel`: the group, and the commands that serve and index."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.console import out, print_json, progress
from sluice.cli.options import Json
from sluice_channel import settings
from sluice_channel.cli import audit, exchange
from sluice_channel.cli import tokens as access
from sluice_channel.cli.collect import collect
from sluice_channel.cli.create import create, list_
from sluice_channel.cli.envs import envs
from sluice_channel.cli.mirror import mirror
from sluice_channel.cli.promote import promote
from sluice_channel.cli.publish import publish
from sluice_channel.cli.register import register
from sluice_channel.cli.vulnerabilities import vulnerabilities
from sluice_channel.cli.yank import remove, unyank, yank
from sluice_channel.exchange.importing import Imported
from sluice_channel.exchange.plain import opened
from sluice_channel.reindex import WAIT
from sluice_channel.reindex import index as index_channel
from sluice_channel.serve import serve as run_server

app = typer.Typer(
    help="Keep conda channels in a catalogue and serve them: publish, mirror, register environments. "
    "Or index a plain directory for another web server.",
    no_args_is_help=True,
)

_Directory = Annotated[
    Path, typer.Argument(help="The channel's directory, with linux-64/ and noarch/.", show_default=False)
]
_Name = Annotated[
    str, typer.Option(envvar=settings.NAME_VARIABLE, help="The channel's name: the first part of its URLs.")
]


@app.command("index")
def index(
    directory: _Directory,
    name: _Name = "main",
    wait: Annotated[
        float, typer.Option(help="Seconds to wait while another process indexes the directory.", min=0)
    ] = WAIT,
    json: Json = False,
) -> None:
    """Write repodata, shards, run exports and channel data for the packages of a directory.

    Any web server can serve the directory then; `sluice channel serve` needs no index.

    Readers see the old index or the new one. A truncated or malformed package is named, and the old
    index stays.

    Example: sluice channel index build/channel
    """
    began = time.monotonic()
    summary = index_channel(directory, progress(json_output=json), name=name, wait_s=wait)
    if json:
        print_json(
            {
                "channel": str(summary.channel),
                "subdirs": [
                    {
                        "subdir": each.subdir,
                        "packages": each.packages,
                        "repodata_sha256": each.repodata_sha256.hex,
                    }
                    for each in summary.subdirs
                ],
                "read": summary.read,
                "written": list(summary.written),
                "seconds": round(time.monotonic() - began, 3),
            }
        )
        return
    counts = ", ".join(f"{each.subdir} {each.packages}" for each in summary.subdirs)
    news = f"{len(summary.written)} files written" if summary.written else "nothing changed"
    out.print(f"{directory}  {summary.packages} packages ({counts})  {summary.read} read, {news}")


@app.command("serve")
def serve(
    directory: Annotated[
        Path,
        typer.Argument(
            help="A server's folder, or a plain directory with linux-64/ and noarch/.", show_default=False
        ),
    ],
    name: _Name = "main",
    host: Annotated[
        str, typer.Option(envvar=settings.HOST_VARIABLE, help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            envvar=settings.PORT_VARIABLE, help="Port to listen on; 0 takes any free one.", min=0, max=65535
        ),
    ] = 8710,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            help="Write the channel's URL here once requests are answered; removed at the end.",
            show_default=False,
        ),
    ] = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Write a line for every request.")] = False,
    grace: Annotated[
        float, typer.Option(help="Seconds for downloads under way when the server is stopped.", min=0)
    ] = 10.0,
    accel_prefix: Annotated[
        str | None,
        typer.Option(
            envvar=settings.ACCEL_VARIABLE,
            help="Let nginx send package files: the path that it has the blobs at, such as /_blobs/.",
            show_default=False,
        ),
    ] = None,
    everyone: Annotated[
        bool,
        typer.Option(
            "--open", help="Let every program on this machine publish without a token; only on 127.0.0.1."
        ),
    ] = False,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            envvar=settings.TLS_CERT_VARIABLE,
            help="Certificate chain (PEM), to serve https.",
            show_default=False,
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(envvar=settings.TLS_KEY_VARIABLE, help="Its key (PEM).", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Serve a server's folder, with every channel of its catalogue, until Ctrl-C.

    conda, mamba, pixi and rattler use the URL that is printed; a browser shows the same packages.

    `create` and `import` make a server's folder. A plain directory of packages becomes one: what is new in it is
    imported into the channel NAME, and its catalogue is kept in its .sluice/.

    Example: sluice channel serve /srv/sluice --port 8710
    """

    def ready(url: str) -> None:
        if json:
            print_json({"url": url, "directory": str(directory)})
        else:
            out.print(f"serving {directory} at {url}/  (Ctrl-C stops it)")
        sys.stdout.flush()  # whoever started it may read a pipe

    def imported(done: Imported) -> None:
        if not json:
            exchange.show(name, done)
        exchange.show_refused(done)

    chosen = settings.ServerSettings(
        name,
        host,
        port,
        ready_file,
        access_log,
        grace,
        accel_prefix,
        everyone,
        tls_cert,
        tls_key,
    )
    with opened(directory, name, progress(json_output=json), imported) as site:
        run_server(site, chosen, ready)


app.command("create")(create)
app.command("list")(list_)
app.command("publish")(publish)
app.command("yank")(yank)
app.command("unyank")(unyank)
app.command("remove")(remove)
app.command("collect")(collect)
app.command("promote")(promote)
app.command("register")(register)
app.command("mirror")(mirror)
app.command("import")(exchange.import_)
app.command("export")(exchange.export)
app.command("patch")(exchange.patch)
app.command("notices")(exchange.notices)
app.add_typer(envs, name="envs")
app.add_typer(vulnerabilities, name="vulnerabilities")
app.add_typer(access.token, name="token")
app.add_typer(access.publisher, name="publisher")
app.command("audit")(audit.audit)
app.command("visibility")(audit.visibility)
