"""Speech by EMOTE at any length, in windows that overlap and are cross-faded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from gen import checkpoints
from gen.emotion.calibration import Calibration
from gen.emotion.track import EmotionTrack
from talking_head.face.basis import FaceBasis
from talking_head.motion.emote.model import STYLES, Emote
from talking_head.motion.layer import Expression
from talking_head.motion.speaker import Said, Speaker
from talking_head.motion.speech import CLOSED, ROWS, SpeechEncoder, spectrum

WINDOW, OVERLAP = 512, 64  # frames; both multiples of 8, the frames of a latent
Ears = Callable[[slice], tuple[Tensor, Tensor]]  # frames -> features (1, n, s), probability (n,) of closed lips


class EmoteSpeaker(Speaker):
    """A speech encoder and EMOTE, which predicts neutral speech, with an expression layer."""

    def __init__(
        self,
        speech: SpeechEncoder,
        emote: Emote,
        expression: Expression | None,
        basis: FaceBasis,
        calibration: Calibration | None = None,
    ):
        super().__init__(expression, basis, calibration or Calibration.linear())
        self.speech, self.emote = (m.float().eval().requires_grad_(False) for m in (speech, emote))

    @classmethod
    def load(cls, names: Sequence[str], basis: FaceBasis, device: str = "cpu") -> Self:
        """Load the checkpoint ``names[0]``."""
        parts = {"speech": SpeechEncoder, "emote": Emote, "expression": Expression}
        models = (checkpoints.load(names[0], kind, part).to(device) for part, kind in parts.items())
        return cls(*models, basis, Calibration.load(checkpoints.folder(names[0])))

    def _say(self, rows, told, samples, seed, progress, style: str = STYLES[0]) -> Said:
        return self._windows(self._ears(rows, samples), self._asked(told), STYLES.index(style), progress)

    def _asked(self, told: EmotionTrack) -> EmotionTrack:
        """The emotion that conditions the network."""
        return told.at_intensity(np.zeros(len(told.intensity)))

    def _ears(self, rows: Tensor, samples: np.ndarray | None) -> Ears:
        usual, count = spectrum(rows)
        rows = rows.to(self.speech.device)
        own = self.speech.mean_shift(usual.to(rows.device), count)

        def hear(part: slice) -> tuple[Tensor, Tensor]:
            features, logits = self.speech(rows[None, part.start * ROWS : part.stop * ROWS] + own)
            return features, logits[0].softmax(-1)[:, CLOSED]

        return hear

    def _shown(self, made: np.ndarray) -> np.ndarray:
        """The network's output -> coefficients (t, 52)."""
        return made

    def _windows(self, hear: Ears, told: EmotionTrack, style: int, progress: Callable[[float], None]) -> Said:
        count, emote = len(told.intensity), self.emote
        coefs, closed, weight = np.zeros((count, 52)), np.zeros(count), np.zeros(count)
        for start in range(0, count, WINDOW - OVERLAP):
            part = slice(start, min(start + WINDOW, count))
            features, shut = hear(part)
            given = emote.emotion.prepare([told.part(part)])
            tokens = emote.emotion(**{name: value.to(emote.device) for name, value in given.items()}).tokens
            styles = torch.tensor([style], device=emote.device)
            made = self._shown(emote(features, tokens, styles)[0].cpu().numpy())
            fade = np.ones(len(made))
            ramp = (np.arange(OVERLAP) + 0.5) / OVERLAP
            if start:
                fade[:OVERLAP] = ramp[: len(fade)]
            if part.stop < count:
                fade[-OVERLAP:] *= ramp[::-1]
            coefs[part] += made * fade[:, None]
            closed[part] += shut.cpu().numpy() * fade
            weight[part] += fade
            progress(part.stop / count)
            if part.stop == count:
                break
        return Said(coefs / weight[:, None], closed / weight)
