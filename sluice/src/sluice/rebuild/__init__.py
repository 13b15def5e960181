"""Make packages a second time, elsewhere, and compare their bytes."""

from sluice.rebuild.bench import Bench, Rebuilt
from sluice.rebuild.contents import Difference, first_difference
from sluice.rebuild.errors import RebuildError
from sluice.rebuild.provenance import Provenance
from sluice.rebuild.supply import Supply

__all__ = ["Bench", "Difference", "Provenance", "RebuildError", "Rebuilt", "Supply", "first_difference"]
