"""`sluice receipt`: read and check receipts, with nothing but files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import httpx
import typer

from sluice.cli import options
from sluice.cli.console import out, print_json
from sluice.receipt import Receipt, ReceiptError, dsse, published
from sluice.receipt.answer import Answer
from sluice.receipt.errors import KeyFileError
from sluice.receipt.published import PublishedKey
from sluice.receipt.statement import Statement

TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)  # seconds
COLUMN: Final = 18  # characters
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

app = typer.Typer(help="Show and check the signed receipts of answers.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="A receipt, as GET /v1/tasks/ID/receipt gives it.")]


@app.command()
def show(file: File, json: options.Json = False) -> None:
    """Show what a receipt says. This does not check its signature: `sluice receipt verify` does.

    Example: sluice receipt show answer.receipt.json
    """
    receipt = read(file)
    if json:
        print_json(document(receipt))
        return
    for name, *values in _lines(receipt):
        for number, value in enumerate(values):
            out.print(f"{name if number == 0 else '':<{COLUMN}}{value}", markup=False)
    out.print("not checked: `sluice receipt verify FILE --key KEY` checks the signature", style="dim")


@app.command()
def verify(
    file: File,
    key: Annotated[
        str,
        typer.Option(
            envvar="SLUICE_RECEIPT_KEY",
            help="The public key: a PEM file, or the JSON of a scheduler's /v1/keys as a file or URL.",
        ),
    ],
    json: options.Json = False,
) -> None:
    """Check that a key's owner signed a receipt and that no byte of it changed since.

    Status 0 when it holds; else 1 and one line that says why. With files only, no network is used.

    Example: sluice receipt verify answer.receipt.json --key keys.json
    """
    receipt = read(file)
    try:
        signer = receipt.verify(read_keys(key))
    except ReceiptError as error:
        raise type(error)(f"{file}: {error}") from None
    if json:
        print_json({**document(receipt), "verified": True, "signer": signer.document()})
        return
    answer = receipt.answer
    out.print(
        f"{file}: holds: task {answer.task}, model {answer.model}, output {answer.output.short}, "
        f"signed with key {signer.key.keyid[: dsse.SHORT]}",
        markup=False,
    )
    if not answer.deterministic:
        out.print("its deployment is not deterministic: the same request may give other bytes")


def read(file: Path) -> Receipt:
    """Read a receipt's file.

    Raises:
        ReceiptError: it cannot be read, or is no receipt.

    """
    try:
        with file.open("rb") as opened:
            data = opened.read(dsse.MAX_BYTES + 1)
        return Receipt.parse(data)
    except OSError as error:
        raise ReceiptError(f"{file}: {error.strerror or error}") from None
    except ReceiptError as error:
        raise type(error)(f"{file}: {error}") from None


def read_keys(place: str) -> tuple[PublishedKey, ...]:
    """Read public keys from a file or a URL.

    Raises:
        KeyFileError: there are none.

    """
    if place.startswith(("http://", "https://")):
        return published.parse(_fetch(place), place)
    try:
        with Path(place).open("rb") as opened:
            return published.parse(opened.read(published.MAX_BYTES + 1), place)
    except OSError as error:
        raise KeyFileError(f"{place}: {error.strerror or error}") from None


def document(receipt: Receipt) -> dict[str, object]:
    """Show a receipt as JSON: its statement as it was signed, and the ids of the keys it names."""
    statement = Statement.parse(receipt.envelope.payload)
    return {
        "subject": {"name": statement.subject, "sha256": statement.sha256.hex},
        "predicate_type": statement.predicate_type,
        "predicate": statement.predicate,
        "keyids": [one.keyid for one in receipt.envelope.signatures],
    }


def _fetch(url: str) -> bytes:
    content = bytearray()
    try:
        direct = urlsplit(url).hostname in LOOPBACK
        with (
            httpx.Client(timeout=TIMEOUT, trust_env=not direct) as client,
            client.stream("GET", url, follow_redirects=True) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise KeyFileError(
                    f"{url} answers {response.status_code}; a scheduler's keys are at /v1/keys"
                )
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > published.MAX_BYTES:
                    break  # refused as too large by whoever parses it
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise KeyFileError(f"{url}: {str(error) or type(error).__name__}") from None
    return bytes(content)


def _lines(receipt: Receipt) -> list[tuple[str, ...]]:
    answer: Answer = receipt.answer
    version = f"{answer.scheduler} {answer.scheduler_version}"
    package = f", package {answer.scheduler_digest}" if answer.scheduler_digest else ", not from a package"
    promise = "yes" if answer.deterministic else "no: the same request may give other bytes"
    settings = ", ".join(f"{name} {value}" for name, value in sorted(answer.profile_document.items()))
    return [
        ("task", answer.task),
        ("model", answer.model),
        ("environment", answer.environment),
        ("deterministic", promise),
        ("enqueued", answer.enqueued.isoformat()),
        ("started", answer.started.isoformat()),
        ("finished", answer.finished.isoformat()),
        ("lock", answer.lock.hex, answer.lock_url),
        ("tree", answer.tree.hex),
        ("model's package", answer.package_digest.hex, answer.package),
        ("numeric profile", answer.profile.hex, settings),
        ("bucket", answer.bucket or "not named: an older scheduler"),
        ("input", answer.input.hex),
        ("output", answer.output.hex),
        ("scheduler", f"{version}{package}"),
        ("signed with key", *(one.keyid or "unnamed" for one in receipt.envelope.signatures)),
    ]
