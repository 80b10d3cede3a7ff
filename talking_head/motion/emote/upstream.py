"""Upstream EMOTE: wav2vec2 encodes speech, EMOTE moves FLAME, an adapter converts FLAME to ARKit coefficients.

Needs ``transformers``, a converted EMOTE (``affekt checkpoints convert emote``) and the user's converted FLAME.
EMOTE (Danecek et al., SIGGRAPH Asia 2023), sec. 3.3. t motion frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen import checkpoints
from gen.emotion.track import EmotionTrack
from gen.errors import CheckpointError, InputError
from talking_head.face.basis import FaceBasis
from talking_head.face.flame import Flame, FlameAdapter
from talking_head.motion.emote.model import Emote
from talking_head.motion.emote.speaker import Ears, EmoteSpeaker
from talking_head.motion.speaker import LEAD
from talking_head.motion.speech import FRAME, HOP

if TYPE_CHECKING:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

FILE = "audio.safetensors"
EARLY = LEAD * HOP  # samples


class Wav2Vec(nn.Module):
    """Samples at 16 kHz -> features at 25 frames a second: resampled before the transformer, as EMOTE does."""

    def __init__(self, model: Wav2Vec2Model):
        super().__init__()
        self.model = model

    @classmethod
    def load(cls, name: str, config: Wav2Vec2Config | None = None) -> Wav2Vec:
        """The network that a converted EMOTE carries; of wav2vec2-base's size where ``config`` says nothing else."""
        try:
            from transformers import Wav2Vec2Config, Wav2Vec2Model
        except ImportError as error:
            raise InputError("the published EMOTE hears with wav2vec2: install transformers") from error
        from safetensors.torch import load_file

        from gen.convert.states import fit

        model = Wav2Vec2Model(config or Wav2Vec2Config())
        fit(model, load_file(checkpoints.folder(name) / FILE), f"{FILE} of {name}")
        return cls(model)

    def forward(self, samples: Tensor) -> Tensor:
        """(n,) of mean 0 and variance 1 -> (1, t, d)."""
        count = max(1, round(len(samples) / FRAME))
        fine = self.model.feature_extractor(samples[None])
        frames = F.interpolate(fine, size=count, mode="linear", align_corners=True).transpose(1, 2)
        return self.model.encoder(self.model.feature_projection(frames)[0]).last_hidden_state


class UpstreamSpeaker(EmoteSpeaker):
    """An :class:`EmoteSpeaker` with upstream weights; its network shows the emotion itself.

    It predicts no probability of closed lips, so that no closure is enforced.
    """

    def __init__(self, ears: Wav2Vec, emote: Emote, adapter: FlameAdapter, basis: FaceBasis):
        super().__init__(ears, emote, None, basis)
        self.adapter = adapter

    @classmethod
    def load(cls, names: Sequence[str], basis: FaceBasis, device: str = "cpu") -> Self:
        """The speaker of the checkpoint ``names[0]``; the last of ``names`` is the converted FLAME that it moves."""
        if len(names) < 4:
            raise CheckpointError(
                f"{names[0]} moves FLAME and has no speech encoder of ours: name your converted FLAME too, with `flame`"
            )
        emote = checkpoints.load(names[0], Emote, "emote")
        adapter = FlameAdapter(Flame.load(names[-1], emote.config.features - 3), basis)
        return cls(Wav2Vec.load(names[0]).to(device), emote.to(device), adapter, basis)

    def _asked(self, told: EmotionTrack) -> EmotionTrack:
        return told

    def _ears(self, rows: Tensor, samples: np.ndarray) -> Ears:
        samples = np.concatenate((samples[EARLY:], np.zeros(EARLY, np.float32)))
        even = torch.from_numpy((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)).float()

        def hear(part: slice) -> tuple[Tensor, Tensor]:
            wave = even[part.start * FRAME : part.stop * FRAME]
            wave = F.pad(wave, (0, (part.stop - part.start) * FRAME - len(wave)))
            return self.speech(wave.to(self.emote.device)), torch.zeros(part.stop - part.start)

        return hear

    def _shown(self, made: np.ndarray) -> np.ndarray:
        return self.adapter.arkit(made[:, :-3], made[:, -3:])
