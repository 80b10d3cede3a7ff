"""Another encoder of voices for the embedding: Whisper base, whose weights the user pulls, in place of the small one.

It hears emotions of people it has never heard better than the encoder that is shipped (the card says by how much) and
takes 74 MB more: ``affekt checkpoints pull whisper-base``. The space, its priors and its directions are the same; the
map from Whisper's pooled blocks into the space is ``whisper.safetensors`` in the embedding's checkpoint.
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
BLOCKS = range(1, 6)  # of Whisper's encoder, counted from 0
SIZE = 2 * WIDTH * len(BLOCKS)
OWN = ("voice.", "heard.", "outside.", "vector_", "temperature")  # what an ear brings to a space


class WhisperVoice(nn.Module):
    """Whisper's pooled blocks -> a vector: stands where :class:`gen.emotion.embedding.voice.VoiceEncoder` does."""

    def __init__(self, vector: int):
        super().__init__()
        self.into = nn.Linear(SIZE, vector)

    @staticmethod
    def rows(samples: np.ndarray) -> np.ndarray:
        """(s,) -> (1, f) float32: a recording is one row. Raises :class:`InputError` where it is silent."""
        blocks = _whisper()(features.levelled(samples))
        return pooled(blocks)[None]

    def forward(self, rows: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (b, 1, f) -> themselves, and vectors (b, v)."""
        return rows, self.into(rows[:, 0])


def pooled(blocks: list[np.ndarray]) -> np.ndarray:
    """Frames of all blocks -> (f,) mean and deviation of each of BLOCKS, float32."""
    return np.concatenate([part for i in BLOCKS for part in (blocks[i].mean(0), blocks[i].std(0))]).astype(np.float32)


@cache
def _whisper() -> Whisper:
    return Whisper(checkpoints.folder(WHISPER) / "model.bin")


@cache
def embedder(name: str = EMBEDDING, ear: str = "compact") -> EmotionEmbedder:
    """The embedding with one of EARS, in float32. Raises CheckpointError, naming the command that mends it, where
    weights are not here.
    """
    if ear not in EARS:
        raise InputError(f"there is no ear {ear!r}: use {' or '.join(EARS)}")
    model = checkpoints.load(name, EmotionEmbedder).float().eval()
    if ear == "compact":
        return model
    checkpoints.digest(WHISPER)
    own = {key: value.float() for key, value in load_file(checkpoints.folder(name) / FILE).items()}
    return fitted(model, own)


def fitted(model: EmotionEmbedder, own: dict[str, Tensor]) -> EmotionEmbedder:
    """The space of ``model`` with Whisper's ear, of which ``own`` are the numbers."""
    vector = len(own["vector_centre"])
    config = {name: value for name, value in model.config.items() if name[0] != "_"}
    found = EmotionEmbedder(**config | {"vector": vector})
    found.voice = WhisperVoice(vector)
    held = {key: value for key, value in model.state_dict().items() if not key.startswith(OWN)}
    found.load_state_dict(held | own)
    return found.float().eval()
