"""From a recording and an emotion curve to motion by EMOTE, at any length: windows with overlaps, cross-faded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import torch

from gen import checkpoints
from gen.emotion.resolve import resolve
from gen.emotion.spec import EmotionCurve
from gen.emotion.track import EmotionTrack, track
from talking_head.face.basis import FaceBasis
from talking_head.motion import life
from talking_head.motion.emote.model import STYLES, Emote
from talking_head.motion.expression import strength
from talking_head.motion.speaker import FPS, Motion, contact, loudness, nearby, recorded, sealed, steadied
from talking_head.motion.speech import CLOSED, ROWS, SpeechEncoder, spectrum

WINDOW, OVERLAP = 512, 64  # frames; both multiples of 8, the frames of a latent


class EmoteSpeaker:
    """A trained encoder and EMOTE."""

    def __init__(self, speech: SpeechEncoder, emote: Emote, basis: FaceBasis):
        self.speech, self.emote = (m.float().eval().requires_grad_(False) for m in (speech, emote))
        self.basis = basis

    @classmethod
    def load(cls, names: Sequence[str], basis: FaceBasis, device: str = "cpu") -> Self:
        """The speaker of the checkpoint ``names[0]``."""
        speech, emote = (checkpoints.load(names[0], c, p) for c, p in ((SpeechEncoder, "speech"), (Emote, "emote")))
        return cls(speech, emote, basis)

    def speak(self, samples: np.ndarray, curve: EmotionCurve, *, seed: int = 0, head_motion: float = 0.6,
              blinks: bool = True, style: str = STYLES[0],
              progress: Callable[[float], None] = lambda done: None) -> Motion:  # fmt: skip
        """Mono samples at 16 kHz -> round(seconds * 25) frames of motion."""
        return self.from_rows(recorded(samples), curve, seed=seed, head_motion=head_motion, blinks=blinks,
                              style=style, progress=progress, samples=samples)  # fmt: skip

    @torch.inference_mode()
    def from_rows(self, rows, curve: EmotionCurve, *, seed: int = 0, head_motion: float = 0.6, blinks: bool = True,
                  style: str = STYLES[0], progress: Callable[[float], None] = lambda done: None,
                  samples: np.ndarray | None = None) -> Motion:  # fmt: skip
        """:meth:`speak` for log-mel rows (4 t, 80) of a whole recording."""
        rows = torch.as_tensor(rows, dtype=torch.float32)
        count = len(rows) // ROWS
        heard = track(resolve(curve), np.arange(count) / FPS)
        lively = 1 + 0.10 * life.slow(count, 2.5, np.random.default_rng((seed, 2))).clip(-1.5, 1.5)
        intensity = (heard.intensity * lively).clip(0, 2).astype(np.float32)
        level = loudness(rows)
        hear = self._ears(rows, samples)
        coefs, closed = self._windows(hear, heard.at_intensity(intensity), STYLES.index(style), progress)
        closed = contact(closed) * nearby(level > 0.05)
        coefs = sealed(steadied(coefs), closed, self.basis)
        amount = strength(torch.from_numpy(intensity)).numpy()[:, None] * heard.weights
        turns = head_motion * life.head(count, level, amount, np.random.default_rng((seed, 3)))
        return Motion(life.enliven(coefs, level, seed, blinks).clip(-0.3, 1.1), turns.astype(np.float32), closed)

    def _ears(self, rows, samples) -> Callable[[slice], tuple[torch.Tensor, torch.Tensor]]:
        """Features (1, n, s) of a stretch of n frames, and its probability (n,) of closed lips."""
        own = self.speech.familiar(*spectrum(rows))

        def hear(part: slice) -> tuple[torch.Tensor, torch.Tensor]:
            features, logits = self.speech(rows[None, part.start * ROWS : part.stop * ROWS] + own)
            return features, logits[0].softmax(-1)[:, CLOSED]

        return hear

    def _shown(self, made: np.ndarray) -> np.ndarray:
        """What the network moves -> coefficients (t, 52)."""
        return made

    def _windows(self, hear, felt: EmotionTrack, style: int, progress) -> tuple[np.ndarray, np.ndarray]:
        """(t, 52) motion and (t,) probability of closed lips."""
        count = len(felt.intensity)
        coefs, closed, weight = np.zeros((count, 52)), np.zeros(count), np.zeros(count)
        for start in range(0, count, WINDOW - OVERLAP):
            part = slice(start, min(start + WINDOW, count))
            features, shut = hear(part)
            tokens = self.emote.emotion(**self.emote.emotion.prepare([felt.part(part)])).tokens
            made = self._shown(self.emote(features, tokens, torch.tensor([style]))[0].numpy())
            fade = np.ones(len(made))
            ramp = (np.arange(OVERLAP) + 0.5) / OVERLAP
            if start:
                fade[:OVERLAP] = ramp[: len(fade)]
            if part.stop < count:
                fade[-OVERLAP:] *= ramp[::-1]
            coefs[part] += made * fade[:, None]
            closed[part] += shut.numpy() * fade
            weight[part] += fade
            progress(part.stop / count)
            if part.stop == count:
                break
        return coefs / weight[:, None], closed / weight
