"""Render the server's pages: Jinja with escaping on, one embedded style sheet, no script."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

# Characters that change the order or the look of the text around them, or are no text: an author of a
# package could make one name look like another with them. (Unicode UAX 9, and the control characters.)
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)


def visible(value: object) -> object:
    """Show characters that would not be seen, or would move others, by their number."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNSEEN.sub(lambda match: f"\N{REPLACEMENT CHARACTER}U+{ord(match.group()):04X} ", value)
    return value


def moment(value: datetime) -> Markup:
    """Write a time as people read it, and as programs do."""
    shown = value.strftime("%Y-%m-%d %H:%M UTC")
    return Markup('<time datetime="{}">{}</time>').format(value.isoformat(timespec="seconds"), shown)


def human_size(size: int) -> str:
    """Write a number of bytes as people read it: `24.1 MB` (powers of 1000)."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 999.5:  # noqa: PLR2004 - would be shown as 1000
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


_JINJA = Environment(
    loader=PackageLoader("sluice_channel"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=visible,
)
_JINJA.filters["human_size"] = human_size
_JINJA.filters["moment"] = moment
_STYLE = _JINJA.get_template("style.css").render()
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

# Nothing but the one style sheet and the icon in the page itself: no script, no frame, no other host.
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def render(template: str, **values: object) -> str:
    """Fill a template in."""
    return _JINJA.get_template(template).render(style=_STYLE, **values)
