"""Training data as log-mel rows: motion with sound, motion alone, and speech with phonemes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen import media
from talking_head.face.points import ARKIT
from talking_head.motion.speech import CLOSED, RATE, SILENT, VISEMES, log_mel, spectrum
from talking_head.training.teacher import Ears, Teacher

HELD = 0.06  # share of GRID clips that only evaluates
HELD_TAKE = "1114_3_15"  # FACEGOOD
HELD_VOICES = ("af_nova", "bm_lewis", "am_echo")  # aligned speech
HELD_PEOPLE = (
    "ravdess/Actor_17",
    "ravdess/Actor_18",
    "ravdess/Actor_19",
    "ravdess/Actor_20",
    "emodb/12",
    "emodb/13",
    "nemo/MK0",
    "nemo/WR0",
)  # acted speech
TEMPOS = (0.85, 1.2, 1.45)  # of GRID resampled, as an augmentation of its one voice
LIFE = np.array([name.startswith(("eyeBlink", "eyeLook", "tongue")) for name in ARKIT])  # not predictable from speech
MOUTH = np.array([name.startswith(("jaw", "mouth")) for name in ARKIT])
MOTION = Path("face") / "motion"
SOUNDS = {
    "grid": ("grid_s1", "grid_s1_audio"),
    "facegood": ("facegood", "facegood_audio"),
    "other": ("other_clips", "other_audio"),
}
Teach = Callable[[np.ndarray, int], np.ndarray]  # samples and a number t of frames -> motion (t, 52)


class Clip(NamedTuple):
    """t frames. ``rows`` (4 t, 80) log-mel or empty; ``motion`` (t, 52) or empty; ``visemes`` (t, 15) or empty."""

    name: str
    source: str
    part: str  # train or test
    rows: np.ndarray
    motion: np.ndarray
    visemes: np.ndarray


def share(name: str) -> float:
    """A number in [0, 1) from the hash of a name."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32


def clips_of(path: Path) -> Iterator[tuple[str, np.ndarray, dict]]:
    """Name, coefficients (t, 52) and facts of each clip of a motion file."""
    with np.load(path, allow_pickle=False) as file:
        data = {key: file[key] for key in file}
    for i, name in enumerate(data["clip_names"]):
        rows = slice(data["offsets"][i], data["offsets"][i + 1])
        facts = {key: data[key][i] for key in ("emotion", "label", "actor") if key in data}
        facts |= {key: data[key][rows] for key in ("detected", "pose") if key in data}
        yield str(name), data["coefs"][rows].astype(np.float32), facts


def rest(motion: np.ndarray, loud: np.ndarray) -> np.ndarray:
    """(52,) the face at rest: the median over quiet frames."""
    return np.median(motion[~loud], 0) if (~loud).sum() >= 5 else np.percentile(motion, 20, axis=0)


def fitted(rows: np.ndarray, frames: int) -> np.ndarray:
    """Rows cut or padded with the last one to 4 per frame."""
    return np.concatenate((rows, np.repeat(rows[-1:], max(0, 4 * frames - len(rows)), 0)))[: 4 * frames]


def is_loud(rows: np.ndarray) -> np.ndarray:
    """(t,) True if a frame of rows (4 t, 80) is less than 2.5 nepers below the loudest."""
    level = rows.mean(1).reshape(-1, 4).max(1)
    return level > np.percentile(level, 98) - 2.5


def spoken(data: Path, file: str, folder: str, source: str) -> list[Clip]:
    """Clips with motion and sound; motion is relative to the face at rest."""
    found = []
    for name, motion, _ in clips_of(data / MOTION / f"{file}.npz"):
        samples, _ = media.read_audio(data / MOTION / folder / f"{name}.opus", RATE)
        found.append((name, motion, fitted(log_mel(samples).numpy(), len(motion))))
    still = np.zeros(len(ARKIT), np.float32)
    if source == "grid":  # one speaker
        still = rest(*(np.concatenate(parts) for parts in zip(*((m, is_loud(rows)) for _, m, rows in found))))
    clips = []
    for name, motion, rows in found:
        own = rest(motion, is_loud(rows)) if source == "other" else still
        held = name == HELD_TAKE or source == "other" or (source == "grid" and share(name) < HELD)
        motion = np.where(LIFE, 0, motion - own).astype(np.float32)
        clips.append(Clip(name, source, "test" if held else "train", rows, motion, np.zeros((0, len(VISEMES)))))
    return clips


def paced(data: Path, clips: list[Clip]) -> list[Clip]:
    """GRID's training clips resampled: pitch, formants and tempo change together."""
    import soxr

    found = []
    for clip in clips:
        samples, _ = media.read_audio(data / MOTION / "grid_s1_audio" / f"{clip.name}.opus", RATE)
        tempo = TEMPOS[int(share(clip.name) * 1000) % len(TEMPOS)]
        count = round(len(clip.motion) / tempo)
        place = ((np.arange(count) + 0.5) * tempo - 0.5).clip(0, len(clip.motion) - 1)
        low = np.minimum(place.astype(int), len(clip.motion) - 2)
        part = (place - low)[:, None]
        motion = (clip.motion[low] * (1 - part) + clip.motion[low + 1] * part).astype(np.float32)
        rows = fitted(log_mel(soxr.resample(samples, RATE * tempo, RATE)).numpy(), count)
        found.append(clip._replace(name=f"{clip.name} x{tempo}", source="paced", rows=rows, motion=motion))
    return found


def still(samples: np.ndarray, count: int) -> np.ndarray:
    """No motion at all."""
    return np.zeros((0, len(ARKIT)), np.float32)


def voices(data: Path, teach: Teach) -> Iterator[Clip]:
    """Acted sentences of many people, with motion from ``teach``."""
    folder = data / "speech" / "emotional"
    for path in sorted(folder.rglob("*.opus")):
        name = path.relative_to(folder).as_posix()
        samples, _ = media.read_audio(path, RATE)
        rows, part = log_mel(samples).numpy(), "test" if name.startswith(HELD_PEOPLE) else "train"
        yield Clip(name, "voices", part, rows, teach(samples, len(rows) // 4), np.zeros((0, len(VISEMES))))


def viseme_rows(phones: list[str], frames: list[int], seconds: float, count: int) -> np.ndarray:
    """(count, 15) share of each viseme in each motion frame.

    A short gap between words is split between its neighbours; a stress mark counts as the vowel after it.
    """
    kind = {symbol: i for i, symbols in enumerate(VISEMES) for symbol in symbols}
    steps: list[int] = []
    known = [kind.get(symbol) for symbol in phones]
    for i, (symbol, n) in enumerate(zip(phones, frames, strict=True)):
        own = known[i]
        if symbol in "ˈˌ":
            own = next(k for k in known[i + 1 :] if k is not None)
        if symbol == " " and n <= 4:
            after = next((k for k in known[i + 1 :] if k is not None), SILENT)
            steps += [steps[-1] if steps else SILENT] * (n // 2) + [after] * (n - n // 2)
        else:
            steps += [own] * n
    fine = np.repeat(np.eye(len(VISEMES), dtype=np.float32)[steps], 5, 0)  # 5 ms
    step = round(0.04 / (seconds / 5))
    fine = np.concatenate((fine, np.repeat(fine[-1:], max(0, count * step - len(fine)), 0)))[: count * step]
    return fine.reshape(count, step, -1).mean(1)


def aligned(data: Path, teach: Teach = still) -> Iterator[Clip]:
    """Synthetic speech with exact phoneme times and motion from ``teach``."""
    folder = data / "speech" / "aligned"
    for line in (folder / "rows.jsonl").read_text().splitlines():
        row = json.loads(line)
        samples, _ = media.read_audio(folder / row["file"], RATE)
        rows = log_mel(samples).numpy()
        visemes = viseme_rows(row["phones"], row["frames"], row["frame_s"], len(rows) // 4)
        part = "test" if row["voice"] in HELD_VOICES else "train"
        yield Clip(row["file"], "aligned", part, rows, teach(samples, len(rows) // 4), visemes)


def silent(data: Path, file: str) -> list[Clip]:
    """Motion without sound, for the motion prior."""
    none = np.zeros((0, 80), np.float32)
    return [
        Clip(name, file, "train", none, np.where(LIFE, 0, motion), np.zeros((0, len(VISEMES))))
        for name, motion, _ in clips_of(data / MOTION / f"{file}.npz")
    ]


def sound(data: Path, clip: Clip) -> np.ndarray:
    """Samples at 16 kHz of a filmed clip."""
    return media.read_audio(data / MOTION / SOUNDS[clip.source][1] / f"{clip.name}.opus", RATE)[0]


def mandarin(data: Path, clips: list[Clip], teach: Teach) -> Iterator[Clip]:
    """The sound of FACEGOOD's training takes with motion from ``teach``: its own makes other people's lips worse."""
    for clip in clips:
        if clip.part == "train":
            motion = teach(sound(data, clip), len(clip.motion))
            yield clip._replace(source="mandarin", motion=motion)


def build(data: Path, ears: str | Path = "whisper-base") -> list[Clip]:
    """All clips. GRID trains lips and the :class:`Teacher`, which labels the voices; aligned speech trains visemes;
    ``other`` and FACEGOOD's motion are for evaluation alone."""
    grid, facegood, other = (spoken(data, *SOUNDS[source], source) for source in SOUNDS)
    filmed = [c for c in grid if c.part == "train"]
    teach = Teacher(Ears(ears), ((sound(data, c), c.motion) for c in filmed))
    return [
        *grid,
        *paced(data, filmed),
        *facegood,
        *other,
        *silent(data, "mead_silent"),
        *silent(data, "neurosync"),
        *mandarin(data, facegood, teach),
        *voices(data, teach),
        *aligned(data, teach),
    ]


def held_out(data: Path) -> list[Clip]:
    """Held-out clips with motion and sound, held-out aligned speech, and FACEGOOD."""
    clips = [clip for source, files in SOUNDS.items() for clip in spoken(data, *files, source)] + list(aligned(data))
    return [clip for clip in clips if clip.part == "test" or clip.source == "facegood"]


def save(clips: list[Clip], path: Path) -> None:
    """Save all clips in one npz file."""
    facts = json.dumps([[c.name, c.source, c.part, len(c.rows), len(c.motion), len(c.visemes)] for c in clips])
    stacks = {key: np.concatenate([getattr(c, key) for c in clips]).astype(np.float16) for key in FIELDS}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, facts=np.array(facts), **stacks)


FIELDS = ("rows", "motion", "visemes")


def load(path: Path) -> list[Clip]:
    with np.load(path, allow_pickle=False) as file:
        facts, stacks = json.loads(str(file["facts"])), {key: file[key] for key in FIELDS}
    at, clips = dict.fromkeys(FIELDS, 0), []
    for name, source, part, *lengths in facts:
        parts = []
        for key, n in zip(FIELDS, lengths, strict=True):
            parts.append(stacks[key][at[key] : at[key] + n])
            at[key] += n
        clips.append(Clip(name, source, part, *parts))
    return clips


def own_spectrum(rows: np.ndarray):
    """:func:`spectrum` of float16 rows."""
    import torch

    return spectrum(torch.from_numpy(rows.astype(np.float32)))


__all__ = ["CLOSED", "Clip", "aligned", "build", "load", "own_spectrum", "save", "spoken"]
