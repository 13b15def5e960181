import random
from types import SimpleNamespace

import pytest

from sluice_scheduler.worker import seeding


class Torch:
    """Notes which generators are seeded, and with what."""

    def __init__(self, mtia=False, custom="privateuseone", **built):
        self.seeded = []
        self.version = SimpleNamespace(**{"cuda": None, "hip": None, "xpu": None, **built})
        self.default_generator = SimpleNamespace(manual_seed=self._note("cpu"))
        self.cuda = SimpleNamespace(manual_seed_all=self._note("cuda"))
        self.manual_seed = self._note("all")
        self._C = SimpleNamespace(_mtia_isBuilt=lambda: mtia, _get_privateuse1_backend_name=lambda: custom)

    def _note(self, name):
        return lambda seed: self.seeded.append((name, seed))


@pytest.mark.parametrize(
    ("torch", "seeded"),
    [
        (Torch(), ["cpu"]),
        (Torch(cuda="12.6"), ["cpu", "cuda"]),
        (Torch(hip="6.2"), ["cpu", "cuda"]),
        (Torch(xpu="2025"), ["all"]),
        (Torch(mtia=True), ["all"]),
        (Torch(custom="cuda"), ["all"]),  # whatever a package has named it: torch has a module of that name
    ],
    ids=["cpu", "cuda", "hip", "xpu", "mtia", "custom"],
)
def test_all_generators_that_a_torch_can_have_are_seeded_every_time(torch, seeded):
    for _ in range(2):
        seeding.seed(torch)
    assert torch.seeded == [(name, 0) for name in seeded] * 2


def test_an_older_torch_does_not_say_what_else_it_has():
    torch = Torch()
    torch.version = SimpleNamespace(cuda=None)
    torch._C = SimpleNamespace()
    seeding.seed(torch)
    assert torch.seeded == [("cpu", 0)]


def test_pythons_generator_is_as_after_its_seed():
    random.seed(0)
    expected = [random.random(), random.gauss(0, 1), random.random()]
    random.gauss(0, 1)
    seeding.seed(None)
    assert [random.random(), random.gauss(0, 1), random.random()] == expected
