"""A listener that says which emotion a voice has, trained apart from everything that converts.

It hears statistics of a whole recording, brought to one loudness: the spectrum's shape and movement, pitch, pauses and
pace. The speakers that evaluations use are not among those it learned from. f features, k emotions.
"""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.network import ConfigMixin, ModelMixin, register_to_config
from voice_conversion import corpus as recordings
from voice_conversion import features
from voice_conversion.corpus import Corpus

log = logging.getLogger(__name__)

EMOTIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry")
ALSO = {"calm": "neutral"}  # heard as
GROUPS = 20  # bands of the spectrum
FEATURES = 4 * GROUPS + 17
MEMBERS = 8
DEEP = 4.5  # nepers below the loud frames: quieter ones are pauses


def describe(mel: np.ndarray, hz: np.ndarray) -> np.ndarray:
    """Mel (n, 80) and Hz (n,) -> (f,) float32, the same at every level."""
    mel = mel.astype(np.float32).reshape(len(mel), GROUPS, -1).mean(2)
    energy = np.logaddexp.reduce(mel, axis=1)
    loud = np.quantile(energy, 0.95)
    active = energy > loud - DEEP
    ends = np.flatnonzero(active)
    heard = mel[active] - loud
    step = np.diff(mel, axis=0)[active[1:] & active[:-1]]
    step = step if len(step) else np.zeros((1, GROUPS), np.float32)
    spectrum = [heard.mean(0), heard.std(0), np.abs(step).mean(0), np.quantile(heard, 0.9, axis=0)]
    octave = np.log2(hz[hz > 0]) if (hz > 0).sum() > 4 else np.full(5, 7.0)
    third = max(len(octave) // 3, 1)
    slope = np.diff(octave)
    slope = slope[np.abs(slope) < 0.2] if (np.abs(slope) < 0.2).any() else np.zeros(1)
    span = ends[-1] - ends[0] + 1
    pitch = [*np.quantile(octave, [0.05, 0.25, 0.5, 0.75, 0.95]), octave.std(), np.abs(slope).mean(), slope.mean() * 10,
             octave[:third].mean() - octave.mean(), octave[-third:].mean() - octave.mean()]  # fmt: skip
    inner = energy[ends[0] : ends[-1] + 1] - loud
    moves = np.diff(inner) if len(inner) > 1 else np.zeros(1)
    rhythm = [np.log(span), active[ends[0] : ends[-1] + 1].mean(), (hz > 0)[active].mean(), inner.std(),
              np.quantile(inner, 0.5), np.abs(moves).mean(), (np.diff(np.sign(moves)) != 0).mean()]  # fmt: skip
    return np.concatenate([*spectrum, pitch, rhythm]).astype(np.float32)


class Judge(ModelMixin, ConfigMixin):
    """An ensemble of small networks on :func:`describe`: (b, f) -> logarithm of the shares (b, k)."""

    @register_to_config
    def __init__(self, width: int = 64, members: int = MEMBERS):
        super().__init__()
        self.register_buffer("centre", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))
        make = lambda: nn.Sequential(nn.Dropout(0.1), nn.Linear(FEATURES, width), nn.SiLU(), nn.Dropout(0.4),
                                     nn.Linear(width, len(EMOTIONS)))  # fmt: skip
        self.heads = nn.ModuleList(make() for _ in range(members))

    def forward(self, described: Tensor) -> Tensor:
        x = ((described - self.centre) * self.scale).clamp(-4, 4)
        return torch.stack([head(x).softmax(-1) for head in self.heads]).mean(0).clamp_min(1e-8).log()

    @torch.inference_mode()
    def hear(self, samples: np.ndarray) -> np.ndarray:
        """(s,) at 22,050 Hz -> (k,) shares of EMOTIONS."""
        samples = recordings.levelled(samples)
        mel = features.mel(torch.from_numpy(samples)[None])[0].numpy()
        return self(torch.from_numpy(describe(mel, features.track(samples)))[None]).exp()[0].numpy()


def material(corpus: Corpus, parts: set[str]) -> tuple[Tensor, Tensor, list[recordings.Clip]]:
    """Features (m, f), emotions (m,) and the clips of some parts."""
    clips = [c for c in corpus.clips if c.part in parts and c.group != "aligned" and _index(c.emotion) >= 0]
    rows = np.stack([describe(corpus.mel[corpus.rows(c)], corpus.hz[corpus.rows(c)]) for c in clips])
    return torch.from_numpy(rows), torch.tensor([_index(c.emotion) for c in clips]), clips


def _index(emotion: str) -> int:
    name = ALSO.get(emotion, emotion)
    return EMOTIONS.index(name) if name in EMOTIONS else -1


class Settings(NamedTuple):
    """What ``--set`` may change."""

    seed: int = 0
    steps: int = 1500  # some hundred passes


def train(data: Path, out: Path, minutes: float | None, settings: Settings) -> None:
    """Train on the training and validation speakers, always all steps; writes ``OUT/checkpoint``."""
    torch.manual_seed(settings.seed)
    corpus = recordings.build(Path(data), out / "corpus")
    x, y, clips = material(corpus, {"train", "valid"})
    model = Judge()
    model.centre.copy_(x.mean(0))
    model.scale.copy_(1 / x.std(0).clamp_min(1e-4))
    weight = _weights(clips)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.05)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    for _ in range(settings.steps):
        picked = torch.multinomial(weight, 256, replacement=True)
        seen = ((x[picked] - model.centre) * model.scale).clamp(-4, 4) + 0.15 * torch.randn(256, FEATURES)
        loss = sum(F.cross_entropy(head(seen), y[picked], label_smoothing=0.05) for head in model.heads)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rates.step()
    model.eval()
    log.info("accuracy on speakers never heard: %s", accuracy(model, corpus))
    model.half().save_pretrained(out / "checkpoint")


def _weights(clips: list[recordings.Clip]) -> Tensor:
    """Each corpus, and in it each emotion, is drawn as often as the others; RAVDESS twice as often."""
    cells = [(c.group, ALSO.get(c.emotion, c.emotion)) for c in clips]
    return torch.tensor([(2.0 if cell[0] == "ravdess" else 1.0) / cells.count(cell) for cell in cells])


@torch.no_grad()
def accuracy(model: Judge, corpus: Corpus) -> dict[str, float]:
    """Mean recall over emotions in each corpus, on the test speakers."""
    x, y, clips = material(corpus, {"test"})
    right, found = model(x).argmax(1) == y, {}
    for group in sorted({c.group for c in clips}):
        own = torch.tensor([c.group == group for c in clips])
        recalls = [right[own & (y == k)].float().mean() for k in range(len(EMOTIONS)) if (own & (y == k)).any()]
        found[group] = round(float(torch.stack(recalls).mean()), 3)
    return found
