"""Trains the digits model from a fixed seed: `python train.py DIRECTORY` writes DIRECTORY/weights.safetensors.

Every fifth picture of scikit-learn's digits is held out; the script fails when fewer than 97 % of those are right.
The same torch on the same instruction set writes the same bytes.
"""

import os
import sys
from pathlib import Path

# As in the workers' numeric profile; read when torch is imported.
os.environ.update(
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    ATEN_CPU_CAPABILITY="avx2",
    ONEDNN_MAX_CPU_ISA="AVX2",
    MKL_CBWR="AVX2,STRICT",
)
sys.dont_write_bytecode = True
sys.path.append(str(Path(__file__).parent / "model"))

import torch  # noqa: E402 - after the variables
from digits_model import SIDE, Net  # noqa: E402 - after the path
from safetensors.torch import save_file  # noqa: E402 - as above
from sklearn.datasets import load_digits  # noqa: E402 - as above
from torch import Tensor  # noqa: E402 - as above
from torch.nn import functional  # noqa: E402 - as above

SEED = 20
EPOCHS = 40
BATCH = 64
RATE = 2e-3  # of Adam, falling to zero along a cosine
HELD_OUT = 5  # every fifth
TARGET = 0.97
INK_LEVELS = 16  # of the data set


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return pixels and labels to learn from, then those held out."""
    pixels, labels = load_digits(return_X_y=True)
    every = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, SIDE, SIDE) / INK_LEVELS
    names = torch.tensor(labels, dtype=torch.int64)
    held = torch.arange(len(names)) % HELD_OUT == 0
    return every[~held], names[~held], every[held], names[held]


def moved(pixels: Tensor, random: torch.Generator) -> Tensor:
    """Shift each picture by less than a pixel and scale it a little, as a pen and a camera do."""
    count = len(pixels)
    scale = 1 + 0.24 * (torch.rand(count, 2, generator=random) - 0.5)
    shift = 0.4 * (torch.rand(count, 2, generator=random) - 0.5)
    shear = 0.3 * (torch.rand(count, generator=random) - 0.5)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale[:, 0], scale[:, 1]
    theta[:, 0, 1] = shear
    theta[:, :, 2] = shift
    grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, align_corners=False)


def train(pixels: Tensor, labels: Tensor) -> Net:
    """Fit the network."""
    torch.manual_seed(SEED)
    random = torch.Generator().manual_seed(SEED)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        order = torch.randperm(len(labels), generator=random)
        for some in order.split(BATCH):
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(moved(pixels[some], random)), labels[some])
            loss.backward()
            optimizer.step()
        schedule.step()
    return net.eval()


def main() -> None:
    """Train, measure, write."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    learnt_pixels, learnt_labels, held_pixels, held_labels = data()
    net = train(learnt_pixels, learnt_labels)
    with torch.no_grad():
        right = (net(held_pixels).argmax(1) == held_labels).float().mean().item()
    print(f"{right:.2%} of {len(held_labels)} held-out digits are right")
    if right < TARGET:
        sys.exit(f"fewer than {TARGET:.0%}: the weights are not written")
    save_file(net.state_dict(), Path(sys.argv[1]) / "weights.safetensors")


if __name__ == "__main__":
    main()
