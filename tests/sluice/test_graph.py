import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.digest import Digest
from sluice.graph import MAX_DEPTH, MAX_DRAWN, MAX_LINES, Graph, GraphError, spec_name, svg
from sluice.lock import LockedPackage
from sluice.package import PackageId

SVG = "{http://www.w3.org/2000/svg}"


def package(name, *depends):
    return LockedPackage(
        PackageId(name, "1.0", "0"),
        "noarch",
        f"http://h/{name}-1.0-0.conda",
        Digest("a" * 64),
        depends=depends,
    )


STACK = (
    package("model", "torch ==1.0", "python"),
    package("torch", "__glibc >=2.28", "sympy", "python >=3.11,<3.12"),
    package("sympy", "mpmath >=1.1", "python"),
    package("mpmath", "python"),
    package("python", "pip"),
    package("pip", "python"),  # a circle, as conda-forge has it
    package("lonely"),
)


def graph(asked=("model",)):
    return Graph.of(STACK, asked)


@st.composite
def stacks(draw):
    names = [f"p{number}" for number in range(draw(st.integers(1, 25)))]
    return tuple(package(name, *draw(st.lists(st.sampled_from(names), max_size=4))) for name in names)


@pytest.mark.parametrize(
    ("spec", "name"),
    [("python >=3.11", "python"), ("main::Torch==2", "torch"), ("__glibc", "__glibc"), ("[x]", ""), ("", "")],
)
def test_a_spec_is_about_a_name(spec, name):
    assert spec_name(spec) == name


def test_a_package_is_there_because_of_what_needs_it():
    said = graph().why_tree("mpmath")
    assert said.splitlines() == [
        "mpmath 1.0",
        "└─ sympy 1.0  (mpmath >=1.1)",
        "   └─ torch 1.0",
        "      └─ model 1.0  (torch ==1.0)  ← asked for",
    ]
    assert "torch" in graph().why_tree("__glibc")
    with pytest.raises(GraphError, match="'nosuch' is not in the lock"):
        graph().why("nosuch")


def test_the_tree_goes_from_what_was_asked_for_and_tells_all_once():
    said = graph().tree()
    assert said.startswith("model 1.0\n├─ python 1.0")
    assert said.count("mpmath 1.0") == 1
    assert said.count("└─ pip 1.0") == 1


def test_without_a_spec_roots_are_what_nothing_needs():
    assert graph(()).asked == ("lonely", "model")
    assert Graph.of([package("a", "b"), package("b", "a")]).asked == ("a",)


@given(stacks())
def test_everything_is_reached_and_ordered(packages):
    whole = Graph.of(packages)
    names = {item.name for item in packages}
    assert {line.strip("│├└─ …").split()[0] for line in whole.tree().splitlines()} == names
    order = whole.ordered()
    assert sorted(order) == sorted(names)
    assert svg(whole, "x") == svg(Graph.of(packages[::-1]), "x")
    for name in names:
        assert whole.why_tree(name).startswith(name)


@given(stacks())
def test_the_order_puts_needs_first_where_there_is_no_circle(packages):
    index = {item.name: place for place, item in enumerate(packages)}
    straight = [
        package(item.name, *(need for need in item.depends if index[need] < index[item.name]))
        for item in packages
    ]
    place = {name: at for at, name in enumerate(Graph.of(straight).ordered())}
    assert all(place[need] < place[item.name] for item in straight for need in item.depends)


def boxes(text):
    root = ET.fromstring(text)
    return root, {
        group.find(f"{SVG}text").text: [
            float(group.find(f"{SVG}rect").get(key)) for key in ("x", "y", "width", "height")
        ]
        for group in root.iter(f"{SVG}g")
    }


def test_the_drawing_of_forty_packages_is_readable():
    packages = [package("app", *(f"p{number}" for number in range(13)))]
    packages += [package(f"p{number}", f"p{number + 13}") for number in range(26)]
    packages += [package(f"p{number}", "python") for number in range(26, 39)]
    packages.append(package("python"))
    root, placed = boxes(svg(Graph.of(packages), "forty"))
    assert len(placed) == len(packages)
    wide, high = float(root.get("width")), float(root.get("height"))
    rectangles = list(placed.values())
    for place, (x, y, width, height) in enumerate(rectangles):
        assert 0 <= x <= x + width <= wide
        assert 0 <= y <= y + height <= high
        for x2, y2, width2, height2 in rectangles[place + 1 :]:
            assert x + width <= x2 or x2 + width2 <= x or y + height <= y2 or y2 + height2 <= y
    assert wide < 2000
    assert high < 1000


def test_a_title_cannot_break_the_drawing():
    root, _ = boxes(svg(graph(), '<script>"&'))
    assert root.find(f"{SVG}title").text == '<script>"&'
    assert not list(root.iter(f"{SVG}script"))


def test_sizes_are_bounded():
    chain = [package(f"p{number}", f"p{number + 1}") for number in range(MAX_LINES)]
    lines = Graph.of(chain, ["p0"]).tree().splitlines()
    assert len(lines) <= MAX_DEPTH + 1
    with pytest.raises(GraphError, match="too many for a drawing"):
        svg(Graph.of(chain[: MAX_DRAWN + 1]), "x")
