import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "harness.py"
spec = importlib.util.spec_from_file_location("harness", PATH)
harness = importlib.util.module_from_spec(spec)
sys.modules["harness"] = harness
spec.loader.exec_module(harness)
Figure = harness.Figure


def test_a_missing_peer_makes_a_figure_not_hold():
    assert not Figure("a", 1.0, "s", peer="conda").holds
    assert not Figure("a", 1.0, "s", peer="conda", target=2.0, bound="ratio").holds


@pytest.mark.parametrize(
    ("value", "better", "holds"),
    [(1.0, "lower", True), (3.0, "lower", False), (1.0, "higher", False), (3.0, "higher", True)],
)
def test_a_target_bounds_the_ratio_to_the_side_that_is_better(value, better, holds):
    figure = Figure("a", value, "s", "conda", 1.0, target=2.0, bound="ratio", better=better)
    assert figure.ratio == value
    assert figure.holds is holds


def test_the_document_has_the_keys_of_the_format():
    document = Figure("a", 1.0, "s", target=0.5).document()
    assert set(document) == {
        "name",
        "value",
        "unit",
        "peer",
        "peer_value",
        "ratio",
        "spread",
        "target",
        "holds",
    }
    assert document["holds"] is False
    assert document["ratio"] is None


def test_spread_is_half_the_quartile_distance_over_the_median():
    assert harness.spread([1, 2, 3, 4, 5]) == pytest.approx((4.5 - 1.5) / 2 / 3)
    assert harness.spread([1.0, 2.0]) is None
