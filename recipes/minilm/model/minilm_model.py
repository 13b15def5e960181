"""all-MiniLM-L6-v2: a text in, the unit vector of its meaning out.

A BERT encoder (https://arxiv.org/abs/1810.04805) of six layers, mean pooling over the tokens, L2 norm 1, as
https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 describes.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

WIDTH = 384
INNER = 1536
HEADS = 12
LAYERS = 6
WORDS = 30522
POSITIONS = 512
EPSILON = 1e-12  # of every layer norm
MAX_TOKENS = 256  # longer texts are cut, as sentence-transformers does for this model
MAX_TEXT = 1 << 18  # bytes
# A text is padded to the first of these that holds it, and computed in a batch of as many as have together the
# tokens of one full batch of the shortest: its vector then depends on nothing but itself and that shape.
BUCKETS = (16, 32, 64, 128, MAX_TOKENS)

# The weights' names for what is called as below here.
_EMBEDDINGS = {
    "embeddings.word_embeddings": "words",
    "embeddings.position_embeddings": "positions",
    "embeddings.token_type_embeddings": "types",
    "embeddings.LayerNorm": "norm",
}
_LAYER = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "mix",
    "attention.output.LayerNorm": "mix_norm",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
    "output.LayerNorm": "narrow_norm",
}


class Layer(nn.Module):
    """Self-attention and a feed-forward block, each with its residual and norm."""

    def __init__(self) -> None:
        """Make the parameters without values."""
        super().__init__()
        self.query, self.key, self.value, self.mix = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.mix_norm = nn.LayerNorm(WIDTH, EPSILON)
        self.widen = nn.Linear(WIDTH, INNER)
        self.narrow = nn.Linear(INNER, WIDTH)
        self.narrow_norm = nn.LayerNorm(WIDTH, EPSILON)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Map [texts, tokens, WIDTH] to the same shape; `mask` is true where there is a token."""
        heads = [self._split(part(hidden)) for part in (self.query, self.key, self.value)]
        seen = functional.scaled_dot_product_attention(*heads, attn_mask=mask)
        joined = seen.transpose(1, 2).reshape(hidden.shape)
        hidden = self.mix_norm(hidden + self.mix(joined))
        return self.narrow_norm(hidden + self.narrow(functional.gelu(self.widen(hidden))))

    @staticmethod
    def _split(hidden: Tensor) -> Tensor:
        return hidden.unflatten(2, (HEADS, WIDTH // HEADS)).transpose(1, 2)


class Encoder(nn.Module):
    """Token numbers to hidden states."""

    def __init__(self) -> None:
        """Make the parameters without values."""
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.positions = nn.Embedding(POSITIONS, WIDTH)
        self.types = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Map [texts, tokens] numbers to [texts, tokens, WIDTH]."""
        positions = torch.arange(tokens.shape[1])
        hidden = self.words(tokens) + self.positions(positions) + self.types.weight[0]
        hidden = self.norm(hidden)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return hidden


class MiniLM:
    """The model as a worker calls it."""

    def __init__(self, directory: Path) -> None:
        """Read tokenizer and weights."""
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        with torch.device("meta"):  # no time is spent on values that the file replaces
            self._encoder = Encoder()
        self._encoder.load_state_dict(_renamed(load_file(directory / "weights.safetensors")), assign=True)
        self._encoder.eval()

    def predict(self, inputs: dict[str, list[bytes]]) -> dict[str, Tensor]:
        """Embed a batch of texts, those of like length together; equal texts once."""
        texts = inputs["text"]
        alike: dict[int, list[tuple[bytes, list[int]]]] = {}
        for text in dict.fromkeys(texts):  # what fills up a batch is a copy
            numbers = self._numbers(text)
            length = next(bucket for bucket in BUCKETS if bucket >= len(numbers))
            alike.setdefault(length, []).append((text, numbers))
        vectors: dict[bytes, Tensor] = {}
        for length, some in alike.items():
            size = max(1, len(texts) * BUCKETS[0] // length)
            for start in range(0, len(some), size):
                part = some[start : start + size]
                hidden = self._hidden([numbers for _, numbers in part], length, size)
                for place, (text, numbers) in enumerate(part):
                    mean = hidden[place, : len(numbers)].sum(0) / len(numbers)
                    vectors[text] = functional.normalize(mean, dim=0)
        return {"embedding": torch.stack([vectors[text] for text in texts])}

    def _numbers(self, text: bytes) -> list[int]:
        if len(text) > MAX_TEXT:
            raise ValueError(f"a text of {len(text)} bytes; at most {MAX_TEXT} are taken")
        return self._tokenizer.encode(_decode(text)).ids

    def _hidden(self, some: list[list[int]], length: int, size: int) -> Tensor:
        """Encode token numbers as [size, length, WIDTH], whatever number of texts there is."""
        filled = some + some[:1] * (size - len(some))
        tokens = torch.tensor([numbers + [0] * (length - len(numbers)) for numbers in filled])
        counts = torch.tensor([len(numbers) for numbers in filled])
        mask = torch.arange(length) < counts.unsqueeze(1)
        with sdpa_kernel(SDPBackend.MATH):  # one algorithm on every machine
            return self._encoder(tokens, mask.view(size, 1, 1, length))


def load(directory: Path) -> MiniLM:
    """Make the model from its package."""
    return MiniLM(directory)


def _decode(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"a text is not UTF-8 at byte {error.start}") from None


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in weights.items():
        module, _, parameter = name.rpartition(".")
        if module in _EMBEDDINGS:
            renamed[f"{_EMBEDDINGS[module]}.{parameter}"] = value
        elif module.startswith("encoder.layer."):
            number, _, rest = module.removeprefix("encoder.layer.").partition(".")
            renamed[f"layers.{number}.{_LAYER[rest]}.{parameter}"] = value
    return renamed  # the pooler's and the positions' numbers have no use here
