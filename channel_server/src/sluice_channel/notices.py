"""Notices of a channel's maintainers, which conda shows to its users (CEP 6). Pure."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from sluice_channel.entry import canonical
from sluice_channel.errors import NoticeError

LEVELS: Final = ("info", "warning", "critical")
_MAX: Final = 100  # notices
_MAX_MESSAGE: Final = 2000  # characters
_DATES: Final = ("created_at", "expired_at")
_KEYS: Final = frozenset({"id", "message", "level", "interval", *_DATES})


def parse(text: str) -> str:
    """Check a `notices.json`, and return the list of its notices as it is stored.

    Raises:
        NoticeError: it is no such document; says which notice and what.

    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise NoticeError(f"the notices are no JSON: {error}") from error
    notices = document.get("notices") if isinstance(document, dict) else None
    if not isinstance(notices, list) or len(notices) > _MAX:
        raise NoticeError(f'the notices are no object {{"notices": [...]}} of at most {_MAX}')
    for number, notice in enumerate(notices, 1):
        if problem := _problem(notice):
            raise NoticeError(f"notice {number}: {problem}")
    if len({notice["id"] for notice in notices}) < len(notices):
        raise NoticeError("two notices have one id, by which conda remembers which were seen")
    return canonical(notices)


def document(stored: str) -> bytes:
    """Write `notices.json`."""
    return f'{{"notices":{stored}}}'.encode()


def _problem(notice: Any) -> str | None:  # noqa: ANN401 - somebody's JSON
    if not isinstance(notice, dict) or set(notice) - _KEYS:
        return f"it is no object of {', '.join(sorted(_KEYS))}"
    for key in ("id", "message"):
        if not isinstance(notice.get(key), str) or not 0 < len(notice[key]) <= _MAX_MESSAGE:
            return f"its {key} is no text of 1 to {_MAX_MESSAGE} characters"
    if notice.get("level") not in LEVELS:
        return f"its level is none of {', '.join(LEVELS)}"
    interval = notice.get("interval", 0)
    if isinstance(interval, bool) or not isinstance(interval, int) or interval < 0:
        return "its interval is no number of seconds"
    for key in _DATES:
        try:
            if key in notice or key == "created_at":
                datetime.fromisoformat(notice[key])
        except (KeyError, TypeError, ValueError):
            return f"its {key} is no date such as 2026-11-21T08:00:00+00:00"
    return None
