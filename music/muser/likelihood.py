"""The prior's likelihood of given bars, used to evaluate seams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from gen.emotion.spec import EmotionCurve
from gen.emotion.track import track
from music.muser.condition import at_bar
from music.muser.prior import FAR
from music.tokens import BAR, BEAT

if TYPE_CHECKING:
    from music.pipeline import MusicGenerator


@torch.inference_mode()
def nats(generator: MusicGenerator, rows: np.ndarray, curve: EmotionCurve) -> np.ndarray:
    """Rows (T, 7) at home -> (bars,) mean negative log-likelihood of each bar's steps, given what comes before."""
    prior = generator.prior
    ids = torch.from_numpy(rows.astype(np.int64)).to(generator.device)[None]
    codes = generator.autoencoder.codes(ids)
    bar = ((ids[..., BEAT] == BAR).cumsum(1) - 1).clamp_min(0)
    before = torch.cat((bar[:, :1], bar[:, :-1]), 1)
    asked = track(curve, np.arange(int(bar.max()) + 1, dtype=float))
    condition = at_bar(generator.conditions(prior, [asked]), before)
    start = torch.full_like(codes[:, :1], prior.start)
    hidden = prior.hidden(torch.cat((start, codes[:, :-1]), 1), condition, torch.full_like(before, FAR))
    total = torch.zeros(bar.shape[1], device=bar.device)
    for slot in range(prior.config.slots):
        logits = prior.logits(hidden, codes, slot)[0]
        total += F.cross_entropy(logits, codes[0, :, slot], reduction="none")
    count = torch.bincount(bar[0])
    return (torch.zeros(len(count), device=total.device).index_add(0, bar[0], total) / count).cpu().numpy()
