"""The same measures of real clips and of videos rendered from one of their frames and their sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gen import media
from gen.emotion.spec import EmotionCurve
from talking_head.evaluation.likeness import descriptor, distance, jitter
from talking_head.face.points import INDEX
from talking_head.face.tracker import Face
from talking_head.motion.expression import JAW
from talking_head.pipeline import TalkGenerator
from talking_head.render.portrait import Portrait
from talking_head.training import corpus, lips

MEASURES = (
    "jaw, correlation with the real one",
    "jaw, standard deviation",
    "lips apart, standard deviation, cm",
    "jitter, thousandths of the eyes' distance",
    "descriptor's distance, median",
    "descriptor's distance, most",
)


def held(data: Path, count: int) -> list[Path]:
    """Held-out videos of GRID."""
    paths = sorted((data / "face" / "clips").glob("*.mp4"))
    return [path for path in paths if corpus.share(path.stem) < corpus.HELD][:count]


def measures(
    generator: TalkGenerator, frames: list[np.ndarray], faces: list[Face], real: np.ndarray, photograph: np.ndarray
) -> list[float]:
    """One value for each of :data:`MEASURES`; ``real`` (t,) jaw opening of the filmed speaker."""
    coefs = np.stack([face.coefs for face in faces])
    jaw = coefs[:, JAW]
    apart = [distance(descriptor(f, face), photograph) for f, face in zip(frames[::5], faces[::5])]
    return [
        lips.correlation(jaw, real),
        float(jaw.std()),
        float(generator.basis.lip_gap(coefs).std()),
        jitter(faces),
        float(np.median(apart)),
        max(apart),
    ]


def pair(generator: TalkGenerator, path: Path) -> tuple[list[float], list[float]]:
    """Measures of a clip, and of the video rendered from its quietest frame."""
    filmed = list(media.read_video(path, 25)[0])
    faces = list(generator.tracker.video(filmed))
    still = int(np.argmin([face.coefs[JAW] + face.coefs[INDEX["eyeBlinkLeft"]] for face in faces]))
    photograph = descriptor(filmed[still], faces[still])
    real = np.array([face.coefs[JAW] for face in faces])
    samples, rate = media.read_audio(path)
    motion = generator.speak(samples, rate, EmotionCurve.parse("neutral"))
    portrait = Portrait(filmed[still], faces[still], generator.basis)
    made = [portrait.frame(c, turn, float(shut)) for c, turn, shut in zip(*motion)][: len(filmed)]
    again = list(generator.tracker.video(made))
    others = [i for i in range(len(filmed)) if abs(i - still) > 2]
    return (
        measures(generator, [filmed[i] for i in others], [faces[i] for i in others], real[others], photograph),
        measures(generator, made, again, real[: len(made)], photograph),
    )


def rows(generator: TalkGenerator, data: Path, count: int) -> list[list]:
    """[measure, mean of real clips, mean of rendered ones]."""
    pairs = np.array([pair(generator, path) for path in held(data, count)])
    return [[name, round(float(a), 3), round(float(b), 3)] for name, a, b in zip(MEASURES, *pairs.mean(0))]
