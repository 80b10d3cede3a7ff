"""A second voice encoder for the embedding: Whisper base, with weights downloaded by the user.

It recognises emotions of unseen speakers better than the shipped encoder (figures in the model card) and needs 74 MB
more: ``affekt checkpoints pull whisper-base``. Space, priors and directions are the same; the map from Whisper's pooled
blocks into the space is ``whisper.safetensors`` in the embedding's checkpoint.
b batch, s samples at 16 kHz, f = 5120 means and deviations of five blocks.
"""

from functools import cache

import numpy as np
from safetensors.torch import load_file
from torch import Tensor, nn

from gen import checkpoints
from gen.emotion.embedding import features
from gen.emotion.embedding.network import EmotionEmbedder
from gen.emotion.spec import EMBEDDING
from gen.errors import InputError
from gen.whisper import WIDTH, Whisper

EARS = ("compact", "whisper")
WHISPER = "whisper-base"
FILE = "whisper.safetensors"
BLOCKS = range(1, 6)  # encoder blocks of Whisper, from 0
SIZE = 2 * WIDTH * len(BLOCKS)
OWN = ("voice.", "heard.", "outside.", "vector_", "temperature")  # the weights that belong to a voice encoder


class WhisperVoice(nn.Module):
    """Whisper's pooled blocks -> a vector: replaces :class:`gen.emotion.embedding.voice.VoiceEncoder`."""

    def __init__(self, vector: int):
        super().__init__()
        self.into = nn.Linear(SIZE, vector)

    @staticmethod
    def rows(samples: np.ndarray) -> np.ndarray:
        """(s,) -> (1, f) float32: a recording is one row. Raises :class:`InputError` if it is silent."""
        blocks = _whisper()(features.levelled(samples))
        return pooled(blocks)[None]

    def forward(self, rows: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (b, 1, f) -> the rows, and vectors (b, v)."""
        return rows, self.into(rows[:, 0])


def pooled(blocks: list[np.ndarray]) -> np.ndarray:
    """Frames of all blocks -> (f,) mean and standard deviation of each of BLOCKS, float32."""
    return np.concatenate([part for i in BLOCKS for part in (blocks[i].mean(0), blocks[i].std(0))]).astype(np.float32)


@cache
def _whisper() -> Whisper:
    return Whisper(checkpoints.folder(WHISPER) / "model.bin")


@cache
def embedder(name: str = EMBEDDING, ear: str = "compact") -> EmotionEmbedder:
    """The embedding with one of EARS, in float32. Raises CheckpointError with the command to run if weights are
    missing.
    """
    if ear not in EARS:
        raise InputError(f"unknown voice encoder {ear!r}: use {' or '.join(EARS)}")
    model = checkpoints.load(name, EmotionEmbedder).float().eval()
    if ear == "compact":
        return model
    checkpoints.verified(WHISPER)
    own = {key: value.float() for key, value in load_file(checkpoints.folder(name) / FILE).items()}
    return fitted(model, own)


def fitted(model: EmotionEmbedder, own: dict[str, Tensor]) -> EmotionEmbedder:
    """The space of ``model`` with the Whisper encoder, whose weights are ``own``."""
    vector = len(own["vector_centre"])
    config = {name: value for name, value in model.config.items() if name[0] != "_"}
    found = EmotionEmbedder(**config | {"vector": vector})
    found.add_module("voice", WhisperVoice(vector))
    held = {key: value for key, value in model.state_dict().items() if not key.startswith(OWN)}
    found.load_state_dict(held | own)
    return found.float().eval()
