"""Expressions drawn on portraits and tracked again: training clips of the face encoder.

A tracker reports an expression that was drawn on a portrait differently from the coefficients that drew it, and a face
at rest differently for everyone. Each film is a portrait, its shape varied, with one of: the motion of the talk
generators for an emotion, an actor's recorded motion, or an expression recipe on recorded speech. Portraits are those
of ``face/portraits``; the held-out actor and ``face/portraits_eval`` are not used.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from apps.embedding import corpus
from apps.embedding.corpus import Clip
from gen import media
from gen.emotion.embedding.features import SHAPES
from gen.emotion.embedding.network import TERMS
from gen.emotion.lexicon import CANONICAL
from gen.emotion.spec import EmotionCurve
from talking_head.face import motion
from talking_head.face.pose import vector
from talking_head.motion.speaker import Motion
from talking_head.pipeline import TalkGenerator
from voice_conversion.training.corpus import SPEECH, labels, part_of

FILMS = 1100
SIZE = 256  # pixels
LONG, SHORT = 75, 40  # frames of a film in which every fifth frame is drawn, and in which all are
SPARSE = 0.85  # share of the films with every fifth frame
LEVELS = 0.5, 1.5  # intensities
KINDS = "talk", "talk", "talk", "actor", "recipe"
WARP = 0.015  # standard deviation of a control point's displacement, in widths of the face
STRETCH = 0.05  # of the ratio of the sides


def films(data: Path, numbers: Iterable[int] = range(FILMS)) -> Iterator[Clip]:
    """The films with the given numbers; a number determines its film."""
    portraits = sorted(path for path in (data / "face" / "portraits").iterdir() if path.suffix in (".jpg", ".png"))
    speakers = [TalkGenerator.from_pretrained(name) for name in ("emote-compact", "dice-compact")]
    lines = spoken(data)
    recorded = [clip for clip in corpus.faces(data) if clip.part == "train"]
    actor = [clip for clip in recorded if clip.group in ("mead", "neurosync")]
    recipe = corpus.painted(data)
    for number in numbers:
        rng = np.random.default_rng((number, 5))
        kind, path = KINDS[number % len(KINDS)], portraits[rng.integers(len(portraits))]
        level, person = float(rng.uniform(*LEVELS)), path.stem
        if kind == "talk":
            term = int(rng.integers(len(CANONICAL)))
            samples, rate = media.read_audio(lines[rng.integers(len(lines))])
            curve = EmotionCurve.parse(f"{TERMS[term]} @ {level:.2f}")
            shown = speakers[rng.integers(2)].speak(samples[: 4 * rate], rate, curve, seed=number)
        else:
            pool = {"actor": actor, "recipe": recipe}[kind]
            terms = sorted({clip.term for clip in pool})
            term = terms[rng.integers(len(terms))]
            own = [clip for clip in pool if clip.term == term]
            clip = own[rng.integers(len(own))]
            level = clip.level
            start = int(rng.integers(max(1, len(clip.rows) - LONG)))
            shown = moved(clip.rows[start : start + LONG])
            if kind == "actor":
                person = f"{clip.person} as {person}"
        sparse = rng.random() < SPARSE
        shown = Motion(*(part[:LONG][2::5] if sparse else part[:SHORT] for part in shown))
        pixels = varied(media.read_image(path), speakers[0], rng)
        rows = seen(speakers[0], pixels, shown)
        if rows is not None:
            rows = np.repeat(rows, 5, 0) if sparse else rows
            yield Clip(rows.astype(np.float16), term, -1, level, person, f"drawn {kind}", "train", "")


def spoken(data: Path, count: int = 24) -> list[Path]:
    """Neutral sentences of people who are trained on."""
    rows = [row for row in labels(data) if row["set"] == "ravdess" and row["emotion"] == "neutral"]
    return [data / SPEECH / row["file"] for row in rows if part_of(row["speaker"]) == "train"][:count]


def moved(rows: np.ndarray) -> Motion:
    """The motion of rows (n, 58) of :func:`talking_head.face.motion.rows`."""
    rows = rows.astype(np.float32)
    return Motion(rows[:, :SHAPES], rows[:, SHAPES : SHAPES + 3] / 2, np.zeros(len(rows), np.float32))


def seen(generator: TalkGenerator, pixels: np.ndarray, shown: Motion, size: int = SIZE) -> np.ndarray | None:
    """(n, 58) rows tracked in the frames of a portrait; None if the face was lost in one of five."""
    faces = [face for face in generator.tracker.video(generator.frames(pixels, shown, size=size)) if face is not None]
    if len(faces) < 0.8 * len(shown.coefs):
        return None
    pose = np.zeros((len(faces), 6), np.float32)
    pose[:, :3] = [vector(face.rotation) for face in faces]
    return motion.rows(np.stack([face.coefs for face in faces]), pose)


def varied(pixels: np.ndarray, generator: TalkGenerator, rng: np.random.Generator) -> np.ndarray:
    """The portrait (h, w, 3) with a face of another shape: mirrored, stretched, and bent smoothly
    and symmetrically."""
    from scipy.ndimage import map_coordinates, zoom

    points = generator.tracker.face(pixels).landmarks[:, :2]
    low, high = points.min(0), points.max(0)
    middle, side = (low + high) / 2, float((high - low).max())
    low = np.maximum(middle - 1.6 * side, 0).astype(int)
    pixels = pixels[low[1] : int(middle[1] + 1.6 * side), low[0] : int(middle[0] + 1.6 * side)]
    h, w = pixels.shape[:2]
    bend = np.zeros((2, 12, 12))
    half = rng.normal(0, WARP * side, (2, 8, 4))
    bend[:, 2:-2, 2:-2] = np.concatenate((half, half[..., ::-1] * np.array([1, -1])[:, None, None]), 2)
    dy, dx = (zoom(part, (h / 12, w / 12), order=3, grid_mode=True, mode="nearest") for part in bend)
    tall = 1 + rng.normal(0, STRETCH)
    y, x = np.mgrid[:h, :w].astype(float)
    at = (y - h / 2) / tall + h / 2 + dy, (x - w / 2) * tall + w / 2 + dx
    bent = np.stack([map_coordinates(pixels[..., k], at, order=1, mode="nearest") for k in range(3)], -1)
    return np.ascontiguousarray(bent[:, ::-1] if rng.random() < 0.5 else bent)
