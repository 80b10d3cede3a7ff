"""``affekt train music-residual``: how clips and one's own emotions reach a trained prior whose other weights stay.

A prior whose conditioner reads numbers hears of an emotion no more than two of them. Here it learns, from EMOPIA's
training clips, what the place of each clip in the shared embedding says beside its numbers: one linear map, of which
words and points have nothing (:class:`gen.emotion.conditioner.NumbersConditioner`).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from gen import checkpoints, registry
from gen.emotion.conditioner import NumbersConditioner
from gen.emotion.resolve import resolve
from gen.emotion.spec import EMBEDDING, EmotionCurve
from gen.emotion.track import EmotionTrack, track
from gen.errors import InputError
from gen.training import Run
from music.labels import Labeller, features
from music.muser.model import MusER
from music.muser.prior import Prior
from music.tokens import Vocabulary
from music.training import corpus
from music.training.corpus import Batch, Piece, Source
from music.training.emopia import emopia
from music.training.losses import Data, prior_loss

DOMINANCE = 0.0


class Settings(BaseModel):
    """What ``--set`` may change."""

    model_config = ConfigDict(extra="forbid")
    model: str = "muser-compact"  # the checkpoint to teach
    seed: int = 0
    batch: int = 6
    length: int = 384  # steps of a passage
    rate: float = 2e-3
    device: str = "cpu"


class Felt(NamedTuple):
    """Pieces (of n clips), and what each clip's place in the embedding has beyond its numbers (n, e)."""

    pieces: list[Piece]
    beyond: np.ndarray


def felt(data: Path, labeller: Labeller) -> Felt:
    """EMOPIA's clips as compound words, and as the embedding perceives them."""
    pieces, beyond = [], []
    for clip in emopia(data):
        source = Source(clip.path, None, "emopia", clip.part, clip.quadrant, False)
        if len(notes := corpus.read(source)) < corpus.LEAST:
            continue
        rows, around = corpus.tokenise(notes, None, Vocabulary.default())
        windows = [features(window) if len(window) > 4 else None for window in around]
        found = track(resolve(EmotionCurve.parse({"from": str(clip.path)})), [0.0])
        pieces.append(corpus.labelled(source, rows, windows, labeller, (labeller.mean, labeller.spread)))
        beyond.append(found.beyond()[0])
    return Felt(pieces, np.array(beyond, np.float32))


def prepared(data: Path, out: Path, labeller: Labeller) -> Felt:
    """:func:`felt`, made once and kept in ``OUT``."""
    words, places = out / "tokens.npz", out / "beyond.npy"
    if not (words.exists() and places.exists()):
        out.mkdir(parents=True, exist_ok=True)
        found = felt(data, labeller)
        corpus.save(found.pieces, words)
        np.save(places, found.beyond)
    return Felt(corpus.load(words), np.load(places))


class Places(Data):
    """Passages of some clips, each told its clip's place; ``shuffled`` tells another's of the same quadrant."""

    def __init__(self, clips: Felt, part: tuple[str, ...], settings: Settings, vary: bool = False):
        chosen = [i for i, piece in enumerate(clips.pieces) if piece.part in part]
        super().__init__([clips.pieces[i] for i in chosen], {"emopia": 1.0}, settings, settings.seed, vary)
        self.own, self.shuffled = clips.beyond[chosen], False

    def conditions(self, model: nn.Module, batch: Batch, drop: float):
        frames = np.arange(max(len(f) for f in batch.feeling), dtype=float)
        beyond = self.own[[self._other(i) for i in batch.piece] if self.shuffled else batch.piece]
        tracks = [told(f, frames, b) for f, b in zip(batch.feeling, beyond, strict=True)]
        prepared = model.emotion.prepare(tracks)
        return model.emotion(**{name: value.to(self.settings.device) for name, value in prepared.items()})

    def _other(self, index: int) -> int:
        """Another clip, of the same quadrant where there is one."""
        signs = np.array([np.sign(piece.feeling[0]) for piece in self.passages.pieces])
        others = np.arange(len(signs)) != index
        alike = others & (signs == signs[index]).all(1)
        return int(self.random.choice(np.flatnonzero(alike if alike.any() else others)))


def told(feeling: np.ndarray, frames: np.ndarray, beyond: np.ndarray) -> EmotionTrack:
    """The labels (bars, 2) of a passage as a track, with what a clip's place (e,) has beyond its numbers."""
    at = np.minimum(frames.astype(int), len(feeling) - 1)
    points = np.column_stack((feeling[at], np.full(len(frames), DOMINANCE)))
    neutral = track(EmotionCurve.parse("neutral"), frames)
    clip = neutral._replace(embedding=neutral.embedding + beyond, known=np.ones(len(frames), np.float32))
    return clip.restated(points)


def taught(prior: Prior) -> Prior:
    """The prior with a residual in its conditioner; everything but that is frozen."""
    config = {name: value for name, value in prior.config.items() if not name.startswith("_")}
    told = {name: value for name, value in config["conditioner"].items() if name != "embedding"}
    if not issubclass(registry.get("conditioner", told["name"]), NumbersConditioner):
        raise InputError(f"the conditioner {told['name']!r} has no residual to learn: 'label' and 'vad' have")
    new = Prior(**config | {"conditioner": told | {"priors": EMBEDDING}})
    new.load_state_dict(prior.state_dict(), strict=False)
    new.register_to_config(conditioner=told | {"embedding": new.emotion.config.embedding})
    new.requires_grad_(False)
    new.emotion.residual.requires_grad_(True)
    return new


@torch.no_grad()
def likelihoods(prior: Prior, autoencoder: MusER, places: Places, batches: int = 40) -> dict[str, float]:
    """Mean negative log-likelihood of held-out passages told with their own place, with none, and with another's of
    the same quadrant."""
    found, scale = {}, prior.emotion.residual.weight.clone()
    for name, weight, shuffled in (("own", 1.0, False), ("none", 0.0, False), ("other", 1.0, True)):
        places.passages.random, places.random = (np.random.default_rng(1) for _ in range(2))
        places.shuffled = shuffled
        prior.emotion.residual.weight.copy_(weight * scale)
        values = [prior_loss(prior, autoencoder, places, places.settings, 0.0)[1]["nll"] for _ in range(batches)]
        found[name] = round(float(np.mean(values)), 4)
    prior.emotion.residual.weight.copy_(scale)
    return found


def loss(prior: Prior, autoencoder: MusER, places: Places, settings: Settings) -> tuple[Tensor, dict]:
    return prior_loss(prior, autoencoder, places, settings, 0.0)


def train(data: Path, out: Path, minutes: float | None, settings: Settings) -> None:
    """Learn the residual for ``minutes`` (10 by default) and write the prior to ``OUT/checkpoint/prior``."""
    torch.manual_seed(settings.seed)
    place = checkpoints.folder(settings.model)
    autoencoder = checkpoints.load(settings.model, MusER, "autoencoder").float().to(settings.device)
    autoencoder.eval().requires_grad_(False)
    prior = taught(checkpoints.load(settings.model, Prior, "prior").float()).to(settings.device)
    clips = prepared(Path(data), out, Labeller.load(place / "labeller.json"))
    learnt, held = Places(clips, ("train",), settings, vary=True), Places(clips, ("valid", "test"), settings)
    run = Run("residual", prior, out, 10.0 if minutes is None else minutes, settings.rate, precision=None)
    prior.eval()  # no dropout: what is learnt is small
    run.train(lambda: loss(prior, autoencoder, learnt, settings))
    run.record(**likelihoods(prior.eval(), autoencoder, held))
    checkpoints.save(prior.cpu().half(), out / "checkpoint" / "prior")
