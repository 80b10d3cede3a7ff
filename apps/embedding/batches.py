"""Training batches of voices, faces and music, balanced and augmented."""

import math
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from apps.embedding.corpus import Clip
from gen.emotion.embedding import features
from gen.emotion.embedding.network import TERMS, Reference, collate
from gen.emotion.lexicon import terms

REFERRED = 0.5  # share of voices that get a reference: other recordings of the speaker
PLAIN = 0.3  # share of references that are neutral recordings only
RECORDINGS = (1, 1, 2, 4, 8, 16, 32)
LONGEST = {"face": 20, "music": 32}  # steps of a training crop; shorter clips are padded to it
SHARES = {"ravdess": 16, "emodb": 16, "nemo": 32, "aligned": 4, "grid": 1, "facegood": 1}  # single voices in a batch
PAIRS = 10  # RAVDESS pairs in a batch: same actor and emotion, normal and strong
FACES = {"mead": 4, "neurosync": 2, "grid": 1, "painted": 9}
PIECES = 28
HOME = [int(terms()[t].quadrants.argmax()) if t != "neutral" else -1 for t in TERMS]  # the quadrant of each term
POINTS = np.stack([terms()[t].mean for t in TERMS]).astype(np.float32)
MASSES = np.stack([terms()[t].quadrants for t in TERMS]).astype(np.float32)
CENTRES = features.centres()
CORNERS = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], np.float32) * 0.6


class Part(NamedTuple):
    """Clips of one modality: inputs of the embedder and labels."""

    given: dict[str, tuple[Tensor, Tensor] | Tensor]
    term: Tensor  # (b,)
    quadrant: Tensor  # (b,)
    level: Tensor  # (b,)
    person: Tensor  # (b,)
    reference: Reference | None = None  # of voices


class Batches:
    """Endless batches of training clips; the rows of a voice are vectors (k v) of its versions."""

    def __init__(self, clips: dict[str, list[Clip]], seed: int):
        self.random = np.random.default_rng(seed)
        self.clips = {name: [c for c in own if c.part == "train"] for name, own in clips.items()}
        people = dict.fromkeys(c.person for own in self.clips.values() for c in own)
        self.person = {name: i for i, name in enumerate(people)}
        # Identity covers speakers and actors; songs are too many and too short to be identified.
        self.known = list(dict.fromkeys(c.person for n in ("voice", "face") for c in self.clips[n]))
        self.named = torch.tensor([self.known.index(name) if name in self.known else -1 for name in people])
        self.pairs_drawn = PAIRS
        self.middle = middles(self.clips["voice"])
        people = np.array([c.person for c in self.clips["voice"]])
        plain = np.array([c.term == 0 for c in self.clips["voice"]])
        self.recordings = {name: np.flatnonzero(people == name) for name in np.unique(people)}
        self.neutral = {name: np.flatnonzero((people == name) & plain) for name in np.unique(people)}
        self.index = {name: self._index(own) for name, own in self.clips.items()}
        levels = defaultdict(lambda: ([], []))
        for i, clip in enumerate(self.clips["voice"]):
            if clip.level != 1 and clip.term > 0:
                levels[clip.person, clip.term][clip.level > 1].append(i)
        self.levels = [pair for pair in levels.values() if all(pair)]

    def _index(self, clips: list[Clip]) -> dict[str, dict[int, list[int]]]:
        """Indices of the clips by corpus and class."""
        found = defaultdict(lambda: defaultdict(list))
        for i, clip in enumerate(clips):
            found[clip.group][max(clip.term, clip.quadrant)].append(i)
        return found

    def moments(self, name: str) -> tuple[Tensor, Tensor]:
        """Mean (f,) and reciprocal of the standard deviation (f,) of the steps."""
        own = self.clips[name]
        rows = np.concatenate([c.rows if name == "voice" else features.steps(name, c.rows) for c in own])
        return torch.from_numpy(rows.mean(0)), torch.from_numpy(1 / (rows.std(0) + 0.05))

    def _draw(self, name: str, group: str, count: int) -> list[int]:
        """Clips of a corpus, all classes equally likely."""
        classes = list(self.index[name][group].values())
        if not classes:
            return []
        return [int(self.random.choice(classes[self.random.integers(len(classes))])) for _ in range(count)]

    def next(self) -> list[Part]:
        """A part for each modality: voices, faces, music."""
        faces = [i for group, n in FACES.items() for i in self._draw("face", group, n)]
        return [self.voices(), self._part("face", faces), self._part("music", self._draw("music", "emopia", PIECES))]

    def voices(self) -> Part:
        """Voices; the first 2 PAIRS are pairs of a normal and a strong rendition."""
        pairs = [self.levels[i] for i in self.random.integers(len(self.levels), size=PAIRS)]
        voices = [int(self.random.choice(own)) for pair in pairs for own in pair]
        voices += [i for group, n in SHARES.items() for i in self._draw("voice", group, n)]
        clips = [self.clips["voice"][i] for i in voices]
        heard = np.stack([c.rows[self.random.integers(len(c.rows))] for c in clips])
        known, count = zip(*(self._reference(i) for i in voices))
        reference = Reference(torch.from_numpy(np.stack(known)), torch.tensor(count))
        return self._labelled(clips, {"heard": torch.from_numpy(heard)}, reference)

    def _part(self, name: str, chosen: list[int]) -> Part:
        clips = [self.clips[name][i] for i in chosen]
        rows = [torch.from_numpy(features.steps(name, self._crop(name, c.rows))) for c in clips]
        steps, mask = collate(rows, LONGEST[name])
        steps = {"face": vary_faces, "music": vary_music}[name](steps)
        return self._labelled(clips, {name: (steps, _drop_steps(mask))})

    def _labelled(self, clips: list[Clip], given: dict, reference: Reference | None = None) -> Part:
        quadrant = [c.quadrant if c.quadrant >= 0 else HOME[c.term] for c in clips]
        facts = [c.term for c in clips], quadrant, [c.level for c in clips], [self.person[c.person] for c in clips]
        return Part(given, *map(torch.tensor, facts), reference)

    def _crop(self, name: str, rows: np.ndarray) -> np.ndarray:
        longest = LONGEST[name] * features.STEP[name]
        size = math.ceil(min(len(rows), longest) * self.random.uniform(0.6, 1))
        start = self.random.integers(len(rows) - size + 1)
        return rows[start : start + size].astype(np.float32)

    def _reference(self, i: int) -> tuple[np.ndarray, int]:
        """The mean vector (v,) of other recordings of the speaker of voice i, and their number; 0 in half the cases."""
        if self.random.random() >= REFERRED:
            return self.middle[i], 0
        pool = (self.neutral if self.random.random() < PLAIN else self.recordings)[self.clips["voice"][i].person]
        drawn = self.random.choice(pool, self.random.choice(RECORDINGS))
        drawn = drawn[drawn != i] if (drawn != i).any() else drawn
        return self.middle[drawn].mean(0), len(np.unique(drawn))


def middles(clips: list[Clip]) -> np.ndarray:
    """The vector (n, v) of the unmodified version of each voice."""
    return np.stack([clip.rows[0] for clip in clips])


def targets(part: Part) -> tuple[Tensor, Tensor, Tensor]:
    """Points in valence-arousal-dominance (b 3), their mask (b 3), and shares of the quadrants (b 4)."""
    spoken = part.term[:, None] >= 0
    term, corner = part.term.clamp(min=0), part.quadrant.clamp(min=0)
    points = (torch.from_numpy(POINTS)[term] * part.level[:, None]).clamp(-1, 1)
    corners = torch.nn.functional.pad(torch.from_numpy(CORNERS)[corner], (0, 1))
    known = torch.ones_like(points)
    known[:, 2] = (part.term >= 0).float()
    shares = torch.where(spoken, torch.from_numpy(MASSES)[term], torch.eye(4)[corner])
    return torch.where(spoken, points, corners), known, shares


def vary_faces(steps: Tensor) -> Tensor:
    """Simulates another face and tracker: offset and gain for each coefficient; sometimes drops the mouth or the head
    pose.
    """
    b, shapes = len(steps), features.SHAPES
    gain = torch.exp(0.25 * torch.randn(b, 1, steps.shape[2]))
    offset = 0.04 * torch.randn(b, 1, steps.shape[2])
    offset[..., features.FACE :] = 0
    steps = steps * gain + offset
    hidden = torch.zeros(b, features.FACE, dtype=torch.bool)
    hidden[:, 14:shapes] = (torch.rand(b) < 0.15)[:, None]
    hidden[:, shapes:] = (torch.rand(b) < 0.3)[:, None]
    return steps.masked_fill(torch.cat((hidden, hidden), 1)[:, None], 0)


def vary_music(steps: Tensor) -> Tensor:
    """Adds noise to every feature."""
    return steps + 0.1 * torch.randn_like(steps)


def _drop_steps(mask: Tensor) -> Tensor:
    kept = mask & (torch.rand(mask.shape) > 0.1)
    return torch.where(kept.any(1, keepdim=True), kept, mask)
