"""``affekt train music-guidance``: distils guidance into the music prior.

Guidance away from the opposite emotion makes pieces follow an emotion more closely, and doubles the time of sampling.
Here a copy of the prior learns the guided distribution of the original (as Meng et al., CVPR 2023, sec. 3.1, do for
diffusion), so that it needs none. Passages are EMOPIA's training clips, told their own labels, or any point of the
valence-arousal plane, so that moods between the corners of the quadrants are learnt too.
"""

from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from apps.embedding.conditioners import BEYOND, Placed, emopia
from gen.diffusion import guide
from gen.emotion.track import EmotionTrack, track
from gen.training import Run
from music.labels import curve_of
from music.muser.condition import at_bar
from music.muser.model import MusER
from music.muser.prior import Prior
from music.pipeline import MusicGenerator
from music.training import corpus
from music.training.corpus import Batch
from music.training.losses import coded
from music.training.train import Settings as MusicSettings
from music.training.train import export


class Settings(NamedTuple):
    """The ``--set`` options."""

    guidance: float = 2.0  # that the prior learns
    steps: int = 2000
    rate: float = 6e-4
    seed: int = 0
    clips: int = 1000  # EMOPIA training clips
    placed: float = 0.3  # share of the passages that are told with their clip's embedding
    any: float = 0.6  # share of the passages that are told any point, which may change once
    arousal: float = 0.7  # factor of the labeller's stretch of arousal, since a guided prior exaggerates labels
    model: str = "muser-compact"  # the checkpoint that is taught


class Told(Placed):
    """Passages with their own labels and, a share of them, with other points."""

    def __init__(self, pieces: list[corpus.Piece], beyond: np.ndarray, settings: Settings, how: MusicSettings):
        super().__init__(pieces, beyond, settings.placed, how)
        self.any = settings.any

    def tracks(self, batch: Batch) -> list[EmotionTrack]:
        return [self._other(one) if self.random.random() < self.any else one for one in super().tracks(batch)]

    def _other(self, own: EmotionTrack) -> EmotionTrack:
        bars = len(own.intensity)
        points = np.repeat(self.random.uniform(-1, 1, (2, 2)), bars, 0)[self.random.integers(bars + 1) :][:bars]
        return track(curve_of(points), np.arange(bars))


def train(data: Path, out: Path, minutes: float | None, settings: Settings) -> None:
    """Writes ``OUT/checkpoint``, that of ``settings.model`` with a prior that needs no guidance."""
    path, place = out / "tokens.npz", out / "checkpoint"
    data = data / "music" if (data / "music").is_dir() else data
    out.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        emopia(data, settings.clips, path)
    given = MusicGenerator.from_pretrained(settings.model)
    torch.manual_seed(settings.seed)
    teacher, student = given.prior, deepcopy(given.prior).requires_grad_(True)
    student.emotion.null.requires_grad_(False)
    for layer in student.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # the wanted distribution is known, not sampled
    how = MusicSettings(device="cpu", batch=4, length=256, seed=settings.seed)
    told = Told(corpus.load(path), np.load(path.with_name(BEYOND)), settings, how)
    how_long = {"steps": settings.steps, "average": 0.995, "settings": settings._asdict()}
    run = Run("guidance", student, out, minutes, settings.rate, **how_long)
    run.train(lambda: loss(student, teacher, given.autoencoder, told, settings.guidance))
    export(given.autoencoder, student.eval(), place, given.vocabulary)
    labeller = corpus.labeller_of(data)
    labeller.gain = labeller.gain * np.array([1.0, settings.arousal])
    labeller.save(place / "labeller.json")


def loss(student: Prior, teacher: Prior, autoencoder: MusER, data: Told, guidance: float) -> tuple[Tensor, dict]:
    """The mean divergence, in nats a step, of the student's distribution from the teacher's guided one."""
    batch = data.batch()
    codes, mask, bar, left = coded(student, autoencoder, data, batch)
    tracks = data.tracks(batch)
    before = torch.cat((torch.full_like(codes[:, :1], student.start), codes[:, :-1]), 1)
    state = lambda prior, tracks: prior.hidden(before, at_bar(_told(prior, tracks), bar), left)
    learnt, total = state(student, tracks), 0.0
    with torch.no_grad():
        full, null = state(teacher, tracks), state(teacher, [one.opposite() for one in tracks])
    for slot in range(student.config.slots):
        said = lambda prior, hidden, slot=slot: prior.logits(hidden, codes, slot).float().log_softmax(-1)
        with torch.no_grad():
            wanted = guide({"null": said(teacher, null), "emotion": said(teacher, full)}, {"emotion": guidance})
            wanted = wanted.log_softmax(-1)
        total = total + (wanted.exp() * (wanted - said(student, learnt)))[mask].sum()
    total = total / mask.sum()
    return total, {"divergence": total.detach()}


def _told(prior: Prior, tracks: list[EmotionTrack]) -> Tensor:
    return prior.emotion(**prior.emotion.prepare(tracks)).tokens
