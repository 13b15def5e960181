"""Why a package is in a lock: who needs whom, as tree text and as a drawing. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Self

from sluice.errors import SluiceError
from sluice.lock import LockedPackage

MAX_LINES = 10_000  # of tree text
MAX_DEPTH = 100  # of tree text
MAX_DRAWN = 1000  # packages in a drawing
_NAME = re.compile(r"(?:.*::)?\s*([A-Za-z0-9_][A-Za-z0-9_.-]*)")


class GraphError(SluiceError):
    """There is no such package in the lock."""


def spec_name(spec: str) -> str:
    """Return the name that a match spec is about, such as `python` of `python >=3.11`."""
    match = _NAME.match(spec)
    return match[1].lower() if match else ""


@dataclass(frozen=True, slots=True)
class Graph:
    """Packages and what each needs directly; `asked` are those that someone asked for by name."""

    labels: Mapping[str, str]  # name -> version
    needs: Mapping[str, tuple[str, ...]]  # name -> names, sorted, only of packages that are there
    specs: Mapping[tuple[str, str], str]  # (who needs, whom) -> the match spec
    asked: tuple[str, ...]

    @classmethod
    def of(cls, packages: Iterable[LockedPackage], asked: Iterable[str] = ()) -> Self:
        """Make the graph of a platform's packages; without `asked`, roots are what nothing else needs.

        Virtual packages are part of it, marked by their name.
        """
        items = {package.name: package for package in packages}
        specs: dict[tuple[str, str], str] = {}
        for package in items.values():
            for spec in package.depends:
                name = spec_name(spec)
                if (name in items or name.startswith("__")) and name != package.name:
                    specs.setdefault((package.name, name), spec)
        virtual = sorted({name for _, name in specs if name.startswith("__")})
        labels = {name: items[name].version for name in sorted(items)} | dict.fromkeys(virtual, "")
        below: dict[str, list[str]] = {name: [] for name in labels}
        for who, whom in specs:
            below[who].append(whom)
        needs = {name: tuple(sorted(names)) for name, names in below.items()}
        chosen = [name for name in dict.fromkeys(asked) if name in items]
        return cls(labels, needs, specs, tuple(sorted(chosen) or _roots(items, needs)))

    @property
    def needed_by(self) -> dict[str, tuple[str, ...]]:
        """The same, the other way round."""
        above: dict[str, list[str]] = {name: [] for name in self.labels}
        for who, names in sorted(self.needs.items()):
            for name in names:
                above[name].append(who)
        return {name: tuple(names) for name, names in above.items()}

    def why(self, name: str) -> Self:
        """Return only a package and what needs it, directly or not.

        Raises:
            GraphError: the package is not there.

        """
        if name not in self.labels:
            raise GraphError(f"{name[:80]!r} is not in the lock for this platform; check its name")
        kept = _reach([name], self.needed_by)
        return type(self)(
            {item: label for item, label in self.labels.items() if item in kept},
            {item: tuple(below for below in self.needs[item] if below in kept) for item in kept},
            {pair: spec for pair, spec in self.specs.items() if set(pair) <= kept},
            tuple(item for item in self.asked if item in kept),
        )

    def without_virtual(self) -> Self:
        """Return the graph of what is really installed."""
        labels = {name: label for name, label in self.labels.items() if not name.startswith("__")}
        needs = {name: tuple(below for below in self.needs[name] if below in labels) for name in labels}
        return type(self)(labels, needs, self.specs, self.asked)

    def ordered(self) -> tuple[str, ...]:
        """List every package after those it needs, as far as there is no circle; the same order always."""
        done: dict[str, None] = {}
        for root in sorted(self.labels):
            stack = [(root, iter(self.needs[root]))]
            open_ = {root}
            while stack:
                name, below = stack[-1]
                following = next((item for item in below if item not in done and item not in open_), None)
                if following is None:
                    done.setdefault(name)
                    stack.pop()
                else:
                    open_.add(following)
                    stack.append((following, iter(self.needs[following])))
        return tuple(done)

    def tree(self) -> str:
        """Draw from what was asked for down to what that needs; a package's own needs are told once."""
        return self._text(self.asked, self.needs, ())

    def why_tree(self, name: str) -> str:
        """Draw from a package up to what was asked for.

        Raises:
            GraphError: the package is not there.

        """
        graph = self.why(name)
        return graph._text((name,), graph.needed_by, self.asked)  # noqa: SLF001 - of the same class

    def _text(
        self, roots: Iterable[str], edges: Mapping[str, tuple[str, ...]], marked: tuple[str, ...]
    ) -> str:
        told: set[str] = set()
        lines: list[str] = []

        def add(indent: str, name: str, note: str = "") -> None:
            again = " …" if name in told and edges[name] else ""
            mark = "  ← asked for" if name in marked else ""
            lines.append(f"{indent}{self.label(name)}{note}{mark}{again}")
            told.add(name)

        for root in roots:
            stack = [] if root in told else [("", root, iter(_last(edges[root])))]
            add("", root)
            while stack and len(lines) < MAX_LINES:
                indent, who, rest = stack[-1]
                if (item := next(rest, None)) is None:
                    stack.pop()
                    continue
                name, last = item
                if name not in told and len(stack) < MAX_DEPTH:
                    stack.append((indent + ("   " if last else "│  "), name, iter(_last(edges[name]))))
                spec = self.specs.get((who, name)) or self.specs.get((name, who), "")
                add(indent + ("└─ " if last else "├─ "), name, f"  ({spec})" if " " in spec else "")
        return "\n".join(lines)

    def label(self, name: str) -> str:
        """Return a package's name and version."""
        return f"{name} {self.labels[name]}".rstrip()


def _last(items: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    return ((item, place == len(items)) for place, item in enumerate(items, 1))


def _roots(items: Iterable[str], needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """List what nothing else needs, and one of each circle that nothing else leads into."""
    names = sorted(items)
    needed = {below for name in names for below in needs[name]}
    roots = [name for name in names if name not in needed]
    reached = _reach(roots, needs)
    for name in names:
        if name not in reached:
            roots.append(name)
            reached |= _reach([name], needs)
    return roots


def _reach(start: Iterable[str], edges: Mapping[str, tuple[str, ...]]) -> set[str]:
    found = set(start)
    pending = list(found)
    while pending:
        for name in edges[pending.pop()]:
            if name not in found:
                found.add(name)
                pending.append(name)
    return found


# The drawing: columns from left to right by the longest way from what was asked for, and in each
# column an order that keeps lines short (the median heuristic of Sugiyama, Tagawa and Toda, 1981).
_CHAR, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN, _SWEEPS = 7.3, 26, 90, 10, 20, 8  # pixels; sweeps
_STYLE = (
    "text{font:12px ui-monospace,monospace;fill:#1f2328}rect{fill:#f6f8fa;stroke:#6e7781}"
    ".asked rect{fill:#ddf4ff;stroke:#0969da}path{fill:none;stroke:#8c959f;stroke-opacity:.55}"
    "path.direct{stroke:#0969da;stroke-opacity:.7}path.implied{stroke-opacity:.13}"
)


def svg(graph: Graph, title: str) -> str:
    """Draw a graph; the same graph gives the same text. Needs that follow from others are faint.

    Raises:
        GraphError: it is too large to be read as a drawing.

    """
    if len(graph.labels) > MAX_DRAWN:
        raise GraphError(
            f"{len(graph.labels)} packages are too many for a drawing; choose one with --why NAME"
        )
    columns = _arranged(graph)
    place: dict[str, tuple[float, float, float]] = {}  # left, middle, width
    left = float(_MARGIN)
    tallest = max((len(column) for column in columns), default=0)
    for column in columns:
        width = max(len(graph.label(name)) for name in column) * _CHAR + 16
        top = _MARGIN + 24 + (tallest - len(column)) * (_HEIGHT + _GAP_Y) / 2
        for row, name in enumerate(column):
            place[name] = (left, top + row * (_HEIGHT + _GAP_Y) + _HEIGHT / 2, width)
        left += width + _GAP_X
    wide, high = left - _GAP_X + _MARGIN, 2 * _MARGIN + 24 + tallest * (_HEIGHT + _GAP_Y)
    wide = max(wide, len(title) * _CHAR + 2 * _MARGIN)
    head = f'viewBox="0 0 {wide:.0f} {high:.0f}" width="{wide:.0f}" height="{high:.0f}" role="img"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {head}><title>{escape(title)}</title><style>{_STYLE}</style>',
        '<rect width="100%" height="100%" style="fill:#fff;stroke:none"/>',
        f'<text x="{_MARGIN}" y="{_MARGIN + 6}">{escape(title)}</text>',
    ]
    implied = _implied(graph)
    lines = [(who, whom) for who in sorted(graph.labels) for whom in graph.needs[who]]
    for who, whom in sorted(lines, key=lambda line: line not in implied):
        kind = "implied" if (who, whom) in implied else "direct" if who in graph.asked else ""
        parts.append(_curve(place[who], place[whom], kind))
    parts += [_box(graph, name, place[name]) for column in columns for name in column]
    return "\n".join([*parts, "</svg>\n"])


def _box(graph: Graph, name: str, at: tuple[float, float, float]) -> str:
    left, middle, width = at
    label = escape(graph.label(name))
    return (
        f"<g{' class=' + chr(34) + 'asked' + chr(34) if name in graph.asked else ''}>"
        f'<rect x="{left:.1f}" y="{middle - _HEIGHT / 2:.1f}" width="{width:.1f}" height="{_HEIGHT}" rx="5"/>'
        f'<text x="{left + 8:.1f}" y="{middle + 4:.1f}">{label}</text></g>'
    )


def _curve(who: tuple[float, float, float], whom: tuple[float, float, float], kind: str) -> str:
    x1, y1, x2, y2 = who[0] + who[2], who[1], whom[0], whom[1]
    bend = max(40.0, (x2 - x1) / 2)
    way = f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    return f'<path class="{kind}" d="{way}"/>' if kind else f'<path d="{way}"/>'


def _implied(graph: Graph) -> set[tuple[str, str]]:
    """Find the needs that also follow from another need of the same package."""
    reach: dict[str, set[str]] = {}
    implied = set()
    for name in graph.ordered():
        below = graph.needs[name]
        further = set().union(*(reach.get(item, set()) for item in below))
        implied |= {(name, item) for item in below if item in further}
        reach[name] = further.union(below)
    return implied


def _arranged(graph: Graph) -> list[list[str]]:
    order = graph.ordered()
    rank = {name: place for place, name in enumerate(order)}
    layer = dict.fromkeys(order, 0)
    for name in reversed(order):  # those that need others come first; a line against the order is a circle's
        for below in graph.needs[name]:
            if rank[below] < rank[name]:
                layer[below] = max(layer[below], layer[name] + 1)
    columns: list[list[str]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for name in sorted(layer):
        columns[layer[name]].append(name)
    above = graph.needed_by
    for sweep in range(_SWEEPS):
        sides = above if sweep % 2 == 0 else graph.needs
        at = {name: row - len(column) / 2 for column in columns for row, name in enumerate(column)}
        for column in columns if sweep % 2 == 0 else reversed(columns):
            column.sort(key=lambda name: (_median([at[side] for side in sides[name]], at[name]), name))
            at.update((name, row - len(column) / 2) for row, name in enumerate(column))
    return columns


def _median(values: list[float], otherwise: float) -> float:
    return sorted(values)[len(values) // 2] if values else otherwise
