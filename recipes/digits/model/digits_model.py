"""Handwritten digits: a picture or ready pixels in, the digit and how likely each of the ten is out.

The pixels are those of the UCI "Optical Recognition of Handwritten Digits" set: 8 by 8, 0 for paper and 1 for ink.
"""

import io
import warnings
from pathlib import Path

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

SIDE = 8  # pixels
CLASSES = 10
MAX_FILE = 8 << 20  # bytes
MAX_PIXELS = 4096 * 4096
FORMATS = ("PNG", "JPEG")
MIN_CONTRAST = 24  # of 255: less between paper and ink is an empty page
INK = 64  # of 255: what belongs to the digit when its place is looked for
SMALL = 256  # pixels: the longer side is brought down to this before the digit is looked for


class Net(nn.Module):
    """Two convolutions and two linear layers: [n, 1, 8, 8] to ten logits each."""

    def __init__(self) -> None:
        """Make the parameters."""
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 32, 3, padding=1)
        self.third = nn.Linear(32 * 4 * 4, 64)
        self.last = nn.Linear(64, CLASSES)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits."""
        hidden = functional.relu(self.first(pixels))
        hidden = functional.max_pool2d(functional.relu(self.second(hidden)), 2)
        return self.last(functional.relu(self.third(hidden.flatten(1))))


class Digits:
    """The model as a worker calls it."""

    def __init__(self, directory: Path) -> None:
        """Read the weights."""
        with torch.device("meta"):  # no time is spent on values that the file replaces
            self._net = Net()
        self._net.load_state_dict(load_file(directory / "weights.safetensors"), assign=True)
        self._net.eval()

    def predict(self, inputs: dict[str, Tensor | list[bytes]]) -> dict[str, Tensor]:
        """Classify a batch, which is always of the size that model.toml names: no picture depends on the others."""
        if "image" in inputs:
            read_once = {
                file: read(file) for file in dict.fromkeys(inputs["image"])
            }  # what fills up is a copy
            pixels = torch.stack([read_once[file] for file in inputs["image"]])
        else:
            pixels = inputs["pixels"]
        logits = self._net(pixels)
        return {"label": logits.argmax(1), "probabilities": logits.softmax(1)}


def load(directory: Path) -> Digits:
    """Make the model from its package."""
    return Digits(directory)


def read(file: bytes) -> Tensor:
    """Decode a PNG or JPEG file into [1, 8, 8] pixels.

    Ink may be darker or lighter than the paper: the picture's edge says which. The digit may lie anywhere in it.

    Raises:
        ValueError: it is no such file, is too large, or shows nothing.

    """
    grey = _decode(file)
    grey.thumbnail((SMALL, SMALL), Image.Resampling.BOX)
    width, height = grey.size
    edge = list(grey.crop((0, 0, width, 1)).tobytes() + grey.crop((0, height - 1, width, height)).tobytes())
    edge += list(grey.crop((0, 0, 1, height)).tobytes() + grey.crop((width - 1, 0, width, height)).tobytes())
    paper = sorted(edge)[len(edge) // 2]
    low, high = grey.getextrema()
    if max(paper - low, high - paper) < MIN_CONTRAST:
        raise ValueError("the picture shows nothing: paper and ink have the same grey")
    if paper - low >= high - paper:
        grey, paper = ImageOps.invert(grey), 255 - paper
    reach = max(grey.getextrema()[1] - paper, 1)
    grey = grey.point([max(0, min(255, (value - paper) * 255 // reach)) for value in range(256)])
    small = _frame(grey).resize((SIDE, SIDE), Image.Resampling.BOX)
    return torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(1, SIDE, SIDE) / 255


def _decode(file: bytes) -> Image.Image:
    if len(file) > MAX_FILE:
        raise ValueError(f"a picture of {len(file)} bytes; at most {MAX_FILE} are taken")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of harmless oddities, such as in a camera's notes
            warnings.simplefilter(
                "error", Image.DecompressionBombWarning
            )  # but not of a file's huge pictures
            with Image.open(io.BytesIO(file), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ValueError(
                        f"a picture of {image.width} x {image.height}; at most {MAX_PIXELS} pixels are taken"
                    )
                image.load()
                upright = ImageOps.exif_transpose(image)
                if upright.mode in {"RGBA", "LA", "PA", "P"}:  # what shines through is white
                    upright = upright.convert("RGBA")
                    upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
                return upright.convert("L")
    except UnidentifiedImageError:
        raise ValueError("not a PNG or JPEG file") from None
    except (OSError, SyntaxError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"a picture that cannot be decoded: {error}") from None


def _frame(grey: Image.Image) -> Image.Image:
    """Cut the digit out and centre it in a square, as tall as the pictures it was learnt from."""
    box = grey.point([255 * (value > INK) for value in range(256)]).getbbox() or (0, 0, *grey.size)
    digit = grey.crop(box)
    side = max(digit.size)
    square = Image.new("L", (side, side))
    square.paste(digit, ((side - digit.width) // 2, (side - digit.height) // 2))
    return square
