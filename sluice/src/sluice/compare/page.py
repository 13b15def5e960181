"""A comparison as one HTML page: everything in it, no script, every text escaped. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from importlib import resources
from string import Template

from sluice.compare.difference import Change, Comparison, printable

MARKS = {"added": "+", "removed": "−", "changed": "~"}  # noqa: RUF001 - as wide as the plus


def page(before: str, after: str, comparison: Comparison) -> str:
    """Write the page; `before` and `after` say what was compared."""
    template = Template(resources.files("sluice.compare").joinpath("page.html").read_text(encoding="utf-8"))
    count = sum(len(section.changes) for section in comparison.sections)
    body = [
        f"<h2>{escape(section.title)} <span class=faint>{len(section.changes)}</span></h2>\n"
        + "\n".join(_list(section.changes))
        for section in comparison.sections
    ]
    return template.substitute(
        title=escape(printable(f"{before} → {after}")),
        count=f"{count} differences" if count else "Nothing differs.",
        body="\n".join(body),
    )


def _list(changes: Iterable[Change]) -> Iterator[str]:
    yield "<ul>"
    for change in changes:
        head = f'<span class="{change.kind}">{MARKS[change.kind]}</span> <code>{_line(change)}</code>'
        if change.inside:
            yield f"<li><details><summary>{head}</summary>"
            yield from _list(change.inside)
            yield "</details></li>"
        else:
            yield f"<li>{head}</li>"
    yield "</ul>"


def _line(change: Change) -> str:
    return escape(change.text)
