"""Render the server's pages: Jinja with escaping on, one embedded style sheet, no script."""

from __future__ import annotations

import base64
import hashlib

from jinja2 import Environment, PackageLoader, StrictUndefined

from sluice_channel.listing import human_size

_JINJA = Environment(
    loader=PackageLoader("sluice_channel"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_JINJA.filters["human_size"] = human_size
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
