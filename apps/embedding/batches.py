"""Training batches: voices, faces, music, and voices with faces, balanced and varied."""

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

AS_IT_IS = 0.2  # share of voices with their own throat and pace
SWAPPED = 0.5  # share of voices with the spectrum and pitch of somebody else
REFERRED = 0.5  # share of voices with a reference: some other recordings of their speaker,
PLAIN = 0.3  # of which this share is neutral ones alone
RECORDINGS = (2, 4, 8, 16, 32, 64)
LONGEST = {"voice": 40, "face": 20, "music": 32}  # steps of a training crop; all are padded to it, which is fast
SHARES = {"ravdess": 12, "emodb": 16, "nemo": 32}  # single voices in a batch
PAIRS = 10  # of RAVDESS: the same actor and emotion, normal and strong
FACES = {"mead": 4, "neurosync": 2, "grid": 1, "painted": 9}
PIECES, TOGETHER = 28, 8
HOME = [int(terms()[t].quadrants.argmax()) if t != "neutral" else -1 for t in TERMS]  # the quadrant of each term
POINTS = np.stack([terms()[t].mean for t in TERMS]).astype(np.float32)
MASSES = np.stack([terms()[t].quadrants for t in TERMS]).astype(np.float32)
CENTRES = features.centres()
CORNERS = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], np.float32) * 0.6


class Part(NamedTuple):
    """Clips of one modality (or of voice and face): inputs of the embedder, and what is known of each clip."""

    given: dict[str, tuple[Tensor, Tensor]]
    term: Tensor  # (b,)
    quadrant: Tensor  # (b,)
    level: Tensor  # (b,)
    person: Tensor  # (b,)
    reference: Reference | None = None  # of voices


class Batches:
    """Endless batches of training clips."""

    def __init__(self, clips: dict[str, list[Clip]], seed: int):
        self.random = np.random.default_rng(seed)
        self.clips = {name: [c for c in own if c.part == "train"] for name, own in clips.items()}
        people = dict.fromkeys(c.person for own in self.clips.values() for c in own)
        self.person = {name: i for i, name in enumerate(people)}
        # Songs are too many and too short to be told apart: identity is that of speakers and actors.
        self.known = list(dict.fromkeys(c.person for n in ("voice", "face") for c in self.clips[n]))
        self.named = torch.tensor([self.known.index(name) if name in self.known else -1 for name in people])
        self.pairs_drawn = PAIRS
        self.middle = middles(self.clips["voice"])
        people = np.array([c.person for c in self.clips["voice"]])
        plain = np.array([c.term == 0 for c in self.clips["voice"]])
        self.recordings = {name: np.flatnonzero(people == name) for name in np.unique(people)}
        self.neutral = {name: np.flatnonzero((people == name) & plain) for name in np.unique(people)}
        self.index = {name: self._index(own) for name, own in self.clips.items()}
        self.sound = {name: sound([c for c in self.clips["voice"] if c.person == name]) for name in self.recordings}
        levels = defaultdict(lambda: ([], []))
        for i, clip in enumerate(self.clips["voice"]):
            if clip.level != 1 and clip.term > 0:
                levels[clip.person, clip.term][clip.level > 1].append(i)
        self.levels = [pair for pair in levels.values() if all(pair)]

    def _index(self, clips: list[Clip]) -> dict[str, dict[int, list[int]]]:
        """Places of the clips by corpus and class."""
        found = defaultdict(lambda: defaultdict(list))
        for i, clip in enumerate(clips):
            found[clip.group][max(clip.term, clip.quadrant)].append(i)
        return found

    def moments(self, name: str) -> tuple[Tensor, Tensor]:
        """Mean and one over the standard deviation of the steps, (f,) each."""
        rows = np.concatenate([features.steps(name, clip.rows) for clip in self.clips[name]])
        return torch.from_numpy(rows.mean(0)), torch.from_numpy(1 / (rows.std(0) + 0.05))

    def _draw(self, name: str, group: str, count: int) -> list[int]:
        """Clips of a corpus, every class as often as any other."""
        classes = list(self.index[name][group].values())
        return [int(self.random.choice(classes[self.random.integers(len(classes))])) for _ in range(count)]

    def next(self) -> list[Part]:
        """Voices (the first 2 PAIRS in pairs), faces, music, and voices each with a face of its emotion."""
        pairs = [self.levels[i] for i in self.random.integers(len(self.levels), size=PAIRS)]
        voices = [int(self.random.choice(own)) for pair in pairs for own in pair]
        voices += [i for group, n in SHARES.items() for i in self._draw("voice", group, n)]
        faces = [i for group, n in FACES.items() for i in self._draw("face", group, n)]
        parts = [self._part("voice", voices), self._part("face", faces),
                 self._part("music", self._draw("music", "emopia", PIECES))]  # fmt: skip
        seen = defaultdict(list)
        for i in self._draw("face", "painted", 40) + self._draw("face", "mead", 24):
            seen[self.clips["face"][i].term].append(i)
        spoken = [i for i in self.random.permutation(voices) if seen[self.clips["voice"][i].term]][:TOGETHER]
        beside = [int(self.random.choice(seen[self.clips["voice"][i].term])) for i in spoken]
        voice, face = self._part("voice", spoken), self._part("face", beside)
        return [*parts, voice._replace(given=voice.given | face.given)]

    def _part(self, name: str, chosen: list[int]) -> Part:
        clips = [self.clips[name][i] for i in chosen]
        rows, reference = [self._crop(name, c.rows) for c in clips], None
        if name == "voice":
            known, count = zip(*(self._reference(i) for i in chosen))
            known = np.stack(known)
            for at in np.flatnonzero(self.random.random(len(rows)) < SWAPPED):
                rows[at], known[at] = self._as_another(clips[at].person, rows[at], known[at])
            for at in np.flatnonzero(self.random.random(len(rows)) >= AS_IT_IS):
                rows[at], known[at] = other_voice(rows[at], known[at], self.random)
            reference = Reference(torch.from_numpy(known), torch.tensor(count))
        steps, mask = collate([torch.from_numpy(features.steps(name, row)) for row in rows], LONGEST[name])
        if name == "voice":
            steps, middle = vary_voices(steps, reference.middle)
            reference = reference._replace(middle=middle)
        else:
            steps = {"face": vary_faces, "music": vary_music}[name](steps)
        quadrant = [c.quadrant if c.quadrant >= 0 else HOME[c.term] for c in clips]
        facts = [c.term for c in clips], quadrant, [c.level for c in clips], [self.person[c.person] for c in clips]
        return Part({name: (steps, _drop_steps(mask))}, *map(torch.tensor, facts), reference)

    def _as_another(self, person: str, rows: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n, 68) and the reference (136,) with the mean spectrum and pitch of somebody else's voice."""
        others = [*self.sound]
        shift = self.sound[others[self.random.integers(len(others))]] - self.sound[person]
        mean, spread = reference.reshape(2, 1, -1)
        mean = shifted(mean, shift, mean[:, -1])
        return shifted(rows, shift, rows[:, -1] > 0.5), np.concatenate((mean, spread), 1)[0]

    def _crop(self, name: str, rows: np.ndarray) -> np.ndarray:
        longest = LONGEST[name] * features.STEP[name]
        size = math.ceil(min(len(rows), longest) * self.random.uniform(0.6, 1))
        start = self.random.integers(len(rows) - size + 1)
        return rows[start : start + size].astype(np.float32)

    def _reference(self, i: int) -> tuple[np.ndarray, int]:
        """The mean step (f,) of some other recordings of the speaker of voice i, and their number; 0 for half."""
        if self.random.random() >= REFERRED:
            return self.middle[i], 0
        pool = (self.neutral if self.random.random() < PLAIN else self.recordings)[self.clips["voice"][i].person]
        drawn = self.random.choice(pool, self.random.choice(RECORDINGS))
        drawn = drawn[drawn != i] if (drawn != i).any() else drawn
        return self.middle[drawn].mean(0), len(np.unique(drawn))


def middles(clips: list[Clip]) -> np.ndarray:
    """The mean step (n, f) of each voice."""
    return np.stack([features.steps("voice", clip.rows).mean(0) for clip in clips])


def sound(clips: list[Clip]) -> np.ndarray:
    """(65,) what a speaker sounds like: the mean of the bands while there is sound, and of the pitch while there is
    one; every emotion counts alike.
    """
    found = []
    for k in {clip.term for clip in clips}:
        rows = np.concatenate([clip.rows for clip in clips if clip.term == k]).astype(np.float32)
        loud, pitch = rows[:, features.BANDS], features.BANDS + 1
        bands = rows[loud >= np.median(loud), : features.BANDS].mean(0)
        found.append(np.append(bands, np.average(rows[:, pitch], weights=(rows[:, -1] > 0.5) + 1e-6)))
    return np.mean(found, 0).astype(np.float32)


def shifted(rows: np.ndarray, shift: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """Rows (n, 68) with bands and pitch moved by ``shift`` (65,), the pitch by its share ``voiced`` (n,); what is near
    silence moves less.
    """
    moved, bands = rows.copy(), rows[:, : features.BANDS]
    moved[:, : features.BANDS] = np.maximum(bands + shift[:-1] * (2 * (bands + 1)).clip(0, 1), -1)
    moved[:, features.BANDS + 1] += shift[-1] * voiced
    return moved


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


def other_voice(rows: np.ndarray, reference: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, 68) and the reference (136,) of a voice as of somebody else's: a longer or shorter throat (formants up
    to 16 % lower or higher; Jaitly and Hinton, ICML workshop 2013), another pitch, and up to 20 % slower or faster.
    """
    formants, speed = np.exp(random.uniform(-0.15, 0.15)), np.exp(random.uniform(-0.18, 0.18))
    lift = 1.5 * np.log2(formants) + random.normal(0, 0.12)
    at = np.arange(0, len(rows) - 1, speed)
    low, share = at.astype(int), (at % 1)[:, None]
    if len(at):
        rows = (rows[low] * (1 - share) + rows[low + 1] * share)[: LONGEST["voice"] * features.STEP["voice"]]
    mean, spread = reference.reshape(2, 1, -1)
    mean = throat(mean, formants, lift * mean[:, -1:])
    spread = throat(spread, formants, 0)
    return throat(rows, formants, lift * (rows[:, -1:] > 0.5)), np.concatenate((mean, spread), 1)[0]


def throat(rows: np.ndarray, formants: float, lift: np.ndarray | float) -> np.ndarray:
    """Rows (n, 68) with every frequency of the bands times ``formants``, and the pitch ``lift`` (n, 1) octaves up."""
    band = np.interp(CENTRES / formants, CENTRES, np.arange(features.BANDS))
    low = np.minimum(band.astype(int), features.BANDS - 2)
    bands = rows[:, low] * (1 - band + low) + rows[:, low + 1] * (band - low)
    pitch = features.BANDS + 1
    return np.concatenate([bands, rows[:, pitch - 1 : pitch], rows[:, pitch : pitch + 1] + lift,
                           rows[:, pitch + 1 :]], 1).astype(np.float32)  # fmt: skip


def vary_voices(steps: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Another microphone and room, for a voice and its reference (b f): a smooth filter, a noise floor; and a stretch
    of bands goes missing.
    """
    b, bands = len(steps), features.BANDS
    steps = torch.cat((steps, reference[:, None]), 1)
    waves = torch.cos(torch.rand(b, 3, 1) * 6.3 + torch.linspace(0, 1, bands) * torch.rand(b, 3, 1) * 9)
    mean = steps[..., :bands] + (torch.randn(b, 3, 1) * 0.1 * waves).sum(1)[:, None]
    floor = torch.rand(b, 1, 1) * 0.6 - 1.1
    buried = mean < floor
    steps[..., :bands] = torch.maximum(mean, floor)
    spread = steps[..., features.VOICE : features.VOICE + bands]
    steps[..., features.VOICE : features.VOICE + bands] = torch.where(buried, spread.clamp(max=0.05), spread)
    first = torch.randint(0, bands - 8, (b, 1))
    band = torch.arange(bands)
    lost = (band >= first) & (band < first + torch.randint(0, 9, (b, 1)))
    steps[..., :bands] = steps[..., :bands].masked_fill(lost[:, None], -0.6)
    return steps[:, :-1], steps[:, -1]


def vary_faces(steps: Tensor) -> Tensor:
    """Another face and tracker: its own offset and gain per coefficient; sometimes no mouth, or no head pose."""
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
    """Some noise on every measure."""
    return steps + 0.1 * torch.randn_like(steps)


def _drop_steps(mask: Tensor) -> Tensor:
    kept = mask & (torch.rand(mask.shape) > 0.1)
    return torch.where(kept.any(1, keepdim=True), kept, mask)
