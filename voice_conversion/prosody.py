"""Pitch, its range, pace and dynamics of an emotion, as ratios to the same person's neutral reading of the words.

Fitted to acted speech in which everybody says the same sentences in every emotion; t times, c = 8 canonical emotions.
"""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen.emotion import lexicon
from gen.emotion.spec import CANONICAL, Samples
from voice_conversion.corpus import Clip, Corpus
from voice_conversion.features import HOP, PITCH, RATE, filled

MEASURES = ("height", "range", "pace", "swing", "life", "onset", "end")
SIZE = len(MEASURES)
SIGN = np.array([1, 1, -1, *[1] * (SIZE - 3)])  # seconds -> pace
LOUD = 3.0  # nepers below the loudest frames: where the dynamics are measured
RIDGE = 0.1
SPREAD = (0.5, 2.0)  # limits of the change in range, and
PACE = (0.75, 1.35)  # in pace, and
SWING = (0.6, 1.6)  # in dynamics, and
LIFE = (0.5, 2.5)  # in quick movements of the pitch
BREATH = 26  # frames without a voice that end a phrase
QUICK = 17  # frames: movements within fewer are quick


class Shift(NamedTuple):
    """How to change a reading; (t,) each."""

    height: np.ndarray  # octaves up
    range: np.ndarray  # factor on the distance from the median, in octaves
    pace: np.ndarray  # factor on the speed
    life: np.ndarray  # factor on quick movements of the pitch
    onset: np.ndarray  # octaves that the first third of a phrase rises against the whole, and
    end: np.ndarray  # the last third
    swing: np.ndarray  # factor on how far the level of a voiced frame is from their mean


def level(mel: np.ndarray) -> np.ndarray:
    """(n, 80) -> (n,) logarithm of the sum over bands."""
    return np.logaddexp.reduce(mel, axis=1)


def loud(mel: np.ndarray, hz: np.ndarray) -> np.ndarray:
    """(n,) bool: the frames in which a voice is loud."""
    energy = level(mel)
    return (hz > 0) & (energy > np.quantile(energy, 0.95) - LOUD)


def measure(hz: np.ndarray, mel: np.ndarray) -> np.ndarray:
    """(n,) Hz and (n, 80) -> (7,): median log2 Hz; log2 of its spread, of the seconds spoken, of the spread of levels
    and of the pitch's movement from frame to frame; its first and last third against all.

    All nan where there is hardly a voice.
    """
    mel = mel.astype(np.float32)
    energy, sounding = level(mel), loud(mel, hz)
    if sounding.sum() < 8:
        return np.full(SIZE, np.nan)
    low, middle, high = np.quantile(np.log2(hz[hz > 0]), [0.1, 0.5, 0.9])
    heard = np.flatnonzero(energy > np.quantile(energy, 0.95) - 3.5)
    seconds = (heard[-1] - heard[0] + 1) * HOP / RATE
    steps = np.abs(np.diff(np.log2(np.maximum(hz, 1))))
    moving = steps[(steps < 0.15) & (hz[1:] > 0) & (hz[:-1] > 0)]
    life = moving.mean() if len(moving) else 0.0
    plain = max(high - low, 0.03), seconds, energy[sounding].std() + 0.05, life + 1e-3
    octave = np.log2(hz[hz > 0])
    ends = [part.mean() - octave.mean() for part in (octave[: len(octave) // 3], octave[-(len(octave) // 3) :])]
    return np.array([middle, *np.log2(plain), *ends])


def measures(corpus: Corpus, clips: list[Clip]) -> np.ndarray:
    """(len(clips), 7) of :func:`measure`."""
    return np.stack([measure(corpus.hz[corpus.rows(c)], corpus.mel[corpus.rows(c)]) for c in clips])


def shifts(corpus: Corpus, clips: list[Clip]) -> list[tuple[Clip, np.ndarray]]:
    """Every clip that is not neutral with its measures less those of its speaker's neutral readings of the words."""
    found, neutral = measures(corpus, clips), defaultdict(list)
    for clip, row in zip(clips, found):
        if clip.emotion == "neutral" and np.isfinite(row).all():
            neutral[clip.speaker, clip.text].append(row)
    return [
        (clip, row - np.mean(neutral[clip.speaker, clip.text], 0))
        for clip, row in zip(clips, found)
        if clip.emotion != "neutral" and (clip.speaker, clip.text) in neutral and np.isfinite(row).all()
    ]


class Prosody:
    """What each canonical emotion does at intensity 1, (8, 7): octaves and log2 of factors."""

    def __init__(self, table: np.ndarray):
        self.table = table
        points = lexicon.canonical()[0]
        gram = points.T @ points + RIDGE * np.eye(3)
        self.points, self.slope = points, np.linalg.solve(gram, points.T @ table)

    @classmethod
    def fit(cls, found: list[tuple[Clip, np.ndarray]]) -> "Prosody":
        """From :func:`shifts`: a line through zero for each speaker, each corpus counting alike; what has no clips
        follows from VAD.

        What speakers do not agree on is done less: their mean m is taken times m^2 / (m^2 + s^2), s their deviation.
        """
        table, known = np.zeros((len(CANONICAL), SIZE)), [0]
        for index, name in enumerate(CANONICAL):
            own = defaultdict(list)
            for clip, change in found:
                if _canonical(clip.emotion) == name:
                    own[clip.group, clip.speaker].append((clip.level, change))
            if own:
                slopes = np.stack([_slope(rows) for rows in own.values()])
                size = Counter(group for group, _ in own)
                share = np.array([1 / size[group] for group, _ in own]) / len(size)
                mean = share @ slopes
                table[index] = SIGN * mean**3 / (mean**2 + share @ (slopes - mean) ** 2 + 1e-12)
                known.append(index)
        points = lexicon.canonical()[0]
        gram = points[known].T @ points[known] + RIDGE * np.eye(3)
        slope = np.linalg.solve(gram, points[known].T @ table[known])
        for index in set(range(len(CANONICAL))) - set(known):
            table[index] = points[index] @ slope
        return cls(table)

    def __call__(self, asked: Samples) -> Shift:
        """What a curve asks for at its times."""
        beyond = asked.vad - asked.weights @ self.points
        change = asked.intensity[:, None] * (asked.weights @ self.table + beyond @ self.slope)
        factors = zip((1, 2, 4, 3), (SPREAD, PACE, LIFE, SWING))
        spread, pace, life, swing = (np.clip(2 ** change[:, i], *ends) for i, ends in factors)
        return Shift(change[:, 0], spread, pace, life, *np.clip(change[:, 5:7], -0.6, 0.6).T, swing)

    def save(self, path: Path) -> None:
        facts = {name: dict(zip(MEASURES, row.round(4).tolist())) for name, row in zip(CANONICAL, self.table)}
        path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Prosody":
        facts = json.loads(path.read_text(encoding="utf-8"))
        return cls(np.array([[facts[name][one] for one in MEASURES] for name in CANONICAL]))


def _slope(rows: list[tuple[float, np.ndarray]]) -> np.ndarray:
    """(7,) change a level, of levels and changes."""
    level, change = np.array([level for level, _ in rows]), np.stack([change for _, change in rows])
    return level @ change / (level @ level)


def _canonical(emotion: str) -> str:
    return {"angry": "anger"}.get(emotion, emotion)


def moved(hz: np.ndarray, median: float, shift: Shift) -> np.ndarray:
    """A track (n,) in Hz, 0 unvoiced -> (n,) log2 Hz of the new one, also where there is no voice."""
    octave = filled(hz)
    window = np.hanning(QUICK + 2)[1:-1]
    slow = np.convolve(np.pad(octave, QUICK // 2, mode="edge"), window / window.sum(), "valid")
    new = median + shift.height + (slow - median) * shift.range + (octave - slow) * shift.life
    new = new + bow(hz > 0, shift)
    return np.clip(new, np.log2(PITCH[0]), np.log2(PITCH[1])).astype(np.float32)


def bow(voiced: np.ndarray, shift: Shift) -> np.ndarray:
    """(n,) octaves that bend each phrase so that its first and last third rise as asked, and its middle sinks."""
    at, found = np.flatnonzero(voiced), np.zeros(len(voiced))
    for phrase in np.split(at, np.flatnonzero(np.diff(at) > BREATH) + 1) if len(at) else []:
        first, last = phrase[0], phrase[-1]
        place = (np.arange(first, last + 1) - first) / max(last - first, 1)
        onset, end = shift.onset[first : last + 1], shift.end[first : last + 1]
        middle = -(onset + end)
        early, late = np.clip(3 * place - 0.5, -0.5, 1), np.clip(3 * place - 1.5, 0, 1.5)
        found[first : last + 1] = onset + early * (middle - onset) + late * (end - middle)
    return found


def swung(mel: np.ndarray, voiced: np.ndarray, shift: Shift) -> np.ndarray:
    """A mel (n, 80) with the levels of its loud voiced frames spread as ``shift`` asks for -> what to add to it."""
    if not (sounding := loud(mel, voiced)).any():
        return np.zeros_like(mel)
    energy = level(mel)
    near = 1 / (1 + np.exp(-2 * (energy - np.quantile(energy, 0.95) + LOUD + 1)))
    return (near * (shift.swing - 1) * np.clip(energy - energy[sounding].mean(), -LOUD, LOUD))[:, None]
