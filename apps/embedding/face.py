"""``affekt train face``: trains the embedding's face encoder on expressions drawn on portraits and tracked again.

Everything else of the checkpoint is kept: the space, its priors and directions, voices and music are unchanged. Drawn
films (:mod:`apps.embedding.films`) are mixed with the recorded and synthetic motion of the first training. Targets: the
class, its point, and its prior at the clip's intensity.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from apps.embedding import corpus
from apps.embedding.batches import POINTS, vary_faces
from apps.embedding.corpus import Clip
from apps.embedding.films import films
from gen import checkpoints
from gen.emotion.embedding import features
from gen.emotion.embedding.network import EmotionEmbedder, collate
from gen.emotion.spec import EMBEDDING
from talking_head.face.points import INDEX, MIRROR

SHARES = {
    "mead": 6,
    "neurosync": 2,
    "grid": 2,
    "painted": 10,
    "drawn talk": 16,
    "drawn actor": 16,
    "drawn recipe": 8,
}
NEAR, AIMED = 0.3, 6.0  # loss weights relative to the class loss
REST = (0.0, 0.8), (0.0, 0.3)  # of another face's shape at rest that is added to recorded and to drawn clips
GAZE = 0.3  # standard deviation of the gaze to a side
MIRRORED = np.append(MIRROR, range(features.SHAPES, features.FACE))
TURN = np.ones(features.FACE, np.float32)
TURN[features.SHAPES + np.array([1, 2, 3])] = -1  # yaw and roll, and the translation to the side
ASIDE = np.zeros(features.SHAPES, np.float32)  # of the eyes, to the right
ASIDE[[INDEX["eyeLookInLeft"], INDEX["eyeLookOutRight"]]] = 1
ASIDE[[INDEX["eyeLookOutLeft"], INDEX["eyeLookInRight"]]] = -1


class Settings(NamedTuple):
    """The ``--set`` options."""

    space: str = EMBEDDING
    cache: str = ""  # default OUT/cache
    steps: int = 1500
    rate: float = 1e-3
    seed: int = 0


def train(data: Path, out: Path, minutes: float | None, settings: Settings) -> None:
    """Writes the checkpoint ``settings.space`` with the new face encoder to ``out``."""
    cache = Path(settings.cache or out / "cache")
    clips = corpus.cached(cache / "face.npz", lambda: corpus.faces(data))
    clips += corpus.cached(cache / "films.npz", lambda: [*films(data)])
    model = learn(settings.space, clips, settings)
    out.mkdir(parents=True, exist_ok=True)
    for path in checkpoints.folder(settings.space).glob("*.*"):
        if path.suffix in (".json", ".safetensors") and path.name != "report.json":
            shutil.copyfile(path, out / path.name)
    checkpoints.save(model.half(), out)


def learn(name: str, clips: list[Clip], settings: Settings) -> EmotionEmbedder:
    """The model of a checkpoint with its face encoder trained on the clips of the part "train"."""
    torch.manual_seed(settings.seed)
    model = checkpoints.load(name, EmotionEmbedder).float().requires_grad_(False)
    drawn, rng = Drawn(clips), np.random.default_rng(settings.seed)
    prior = load_file(checkpoints.folder(name) / "priors.safetensors")["terms.mean"].float()
    encoder = torch.nn.ModuleList((model.encoders["face"], model.pools["face"])).requires_grad_(True)
    optimizer = torch.optim.AdamW(encoder.parameters(), settings.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    encoder.train()
    for _ in range(settings.steps):
        optimizer.zero_grad()
        loss(model, *drawn.batch(rng), prior).backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def loss(model: EmotionEmbedder, face: tuple[Tensor, Tensor], term: Tensor, level: Tensor, prior: Tensor) -> Tensor:
    """Steps and mask, terms (b,) and intensities (b,) -> the weighted losses."""
    place = model(face=face)
    reading = model.read(place.sample())
    points = (torch.from_numpy(POINTS)[term] * level[:, None]).clamp(-1, 1)
    aim = prior[0] + level[:, None] * (prior[term] - prior[0])
    classes = F.cross_entropy(reading.terms, term, label_smoothing=0.1)
    near = (place.mu - aim).square().mean() / prior.var(0).mean()
    return classes + NEAR * near + AIMED * (reading.vad - points).square().mean()


class Drawn:
    """Batches of clips, a number of each corpus, all classes equally likely, varied."""

    def __init__(self, clips: list[Clip]):
        self.index: dict[str, dict[int, list[Clip]]] = {}
        for clip in clips:
            if clip.part == "train":
                self.index.setdefault(clip.group, {}).setdefault(clip.term, []).append(clip)
        plain = [clip.rows.astype(np.float32).mean(0) for clip in self.index.get("drawn talk", {}).get(0, [])]
        self.rest = np.array(plain) - np.mean(plain, 0) if plain else np.zeros((1, features.FACE), np.float32)

    def batch(self, rng: np.random.Generator) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
        """Steps and mask, terms, intensities."""
        chosen = []
        for group, count in SHARES.items():
            classes = [*self.index.get(group, {}).values()]
            for _ in range(count if classes else 0):
                own = classes[rng.integers(len(classes))]
                chosen.append(own[rng.integers(len(own))])
        steps, mask = collate([torch.from_numpy(features.steps("face", self.varied(c, rng))) for c in chosen])
        facts = torch.tensor([c.term for c in chosen]), torch.tensor([c.level for c in chosen], dtype=torch.float32)
        return (vary_faces(steps), mask), *facts

    def varied(self, clip: Clip, rng: np.random.Generator) -> np.ndarray:
        """A part of a clip's rows (n, 58) as of another face: mirrored, looking elsewhere, of another shape at rest,
        at five frames a second."""
        most = 20 * features.STEP["face"]
        size = int(np.ceil(min(len(clip.rows), most) * rng.uniform(0.5, 1)))
        start = rng.integers(len(clip.rows) - size + 1)
        rows = clip.rows[start : start + size].astype(np.float32)
        if rng.random() < 0.5:
            rows = rows[:, MIRRORED] * TURN
        shapes = rows[:, : features.SHAPES]
        shapes += (
            rng.uniform(*REST[clip.group[:5] == "drawn"]) * self.rest[rng.integers(len(self.rest)), : features.SHAPES]
        )
        shapes += rng.normal(0, GAZE) * ASIDE
        rows[:, : features.SHAPES] = shapes.clip(0, 1)
        return np.repeat(rows[2::5], 5, 0) if rng.random() < 0.5 and len(rows) > 9 else rows
