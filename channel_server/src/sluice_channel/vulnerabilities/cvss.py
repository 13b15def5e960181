"""The base score of a CVSS 3 vector. Pure.

https://www.first.org/cvss/v3.1/specification-document, section 7
"""

from __future__ import annotations

import re
from typing import Final

_VECTOR: Final = re.compile(r"CVSS:3\.[01]((?:/[A-Z]{1,3}:[A-Z])+)")
_WEIGHTS: Final = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "UI": {"N": 0.85, "R": 0.62},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
_PRIVILEGES: Final = {
    "U": {"N": 0.85, "L": 0.62, "H": 0.27},
    "C": {"N": 0.85, "L": 0.68, "H": 0.5},
}
_RATINGS: Final = ((9.0, "CRITICAL"), (7.0, "HIGH"), (4.0, "MODERATE"), (0.1, "LOW"), (0.0, "NONE"))


def score(vector: str) -> float | None:
    """Return the base score, 0 to 10; None for what is no CVSS 3 vector."""
    match = _VECTOR.fullmatch(vector)
    if match is None:
        return None
    metrics = dict(item.split(":", 1) for item in match[1][1:].split("/"))
    try:
        weight = {name: values[metrics[name]] for name, values in _WEIGHTS.items()}
        privileges = _PRIVILEGES[metrics["S"]][metrics["PR"]]
    except KeyError:
        return None
    lost = 1 - (1 - weight["C"]) * (1 - weight["I"]) * (1 - weight["A"])
    changed = metrics["S"] == "C"
    impact = 7.52 * (lost - 0.029) - 3.25 * (lost - 0.02) ** 15 if changed else 6.42 * lost
    if impact <= 0:
        return 0.0
    exploitability = 8.22 * weight["AV"] * weight["AC"] * privileges * weight["UI"]
    return _up(min((1.08 if changed else 1.0) * (impact + exploitability), 10.0))


def rating(base: float) -> str:
    """Return the word for a base score, as advisories spell it."""
    return next(word for least, word in _RATINGS if base >= least)


def _up(value: float) -> float:
    """Round up to one decimal as the specification's appendix A does, without floating-point surprises."""
    hundred_thousandths = round(value * 100_000)
    whole, rest = divmod(hundred_thousandths, 10_000)
    return (whole + (1 if rest else 0)) / 10
