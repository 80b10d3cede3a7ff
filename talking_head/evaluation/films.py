"""Films for recognisers from outside, which see pictures and hear sound as strangers do, and contact sheets to look at.

Tracked coefficients are no judge of an expression: trackers report too little of brows, nose and cheeks.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gen import media
from gen.emotion.spec import CANONICAL, EmotionCurve
from gen.evaluate.report import Report
from talking_head.motion.speaker import Motion
from talking_head.pipeline import FPS, TalkGenerator

INTENSITIES = (0.5, 1.0, 2.0)
COLUMNS = ("video", "portrait", "audio", "emotion", "intensity")
SEEN = ("neutral", "happy", "sad", "anger", "fear", "disgust", "surprise")  # by recognisers; contempt by none
SIDE = 160  # pixels of a picture of the sheet


def asked() -> Iterator[tuple[str, float]]:
    """Emotions and intensities of the films."""
    yield "neutral", 1.0
    for name in CANONICAL[1:]:
        yield from ((name, value) for value in INTENSITIES)


def films(generator: TalkGenerator, people: Sequence[Path], sound: Path, out: Path, size: int) -> Path:
    """A film of each portrait, emotion and intensity in ``out``, and their ``films.csv``; those that are there stay."""
    out.mkdir(parents=True, exist_ok=True)
    samples, rate = media.read_audio(sound)
    rows = []
    for portrait in people:
        pixels = media.read_image(portrait)
        for name, value in asked():
            path = out / f"{portrait.stem}-{name}-{value:g}.mp4"
            rows.append([path.name, portrait.resolve(), sound.resolve(), name, value])
            if not path.exists():
                motion = generator.speak(samples, rate, EmotionCurve.parse(f"{name} @ {value}"))
                frames = generator.frames(pixels, motion, size=size)
                media.write_video(path, frames, FPS, samples, rate, {"ai_generated": True})
    with (out / "films.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return out / "films.csv"


def people_of(data: Path) -> list[Path]:
    """Portraits to judge by: those for evaluation where they are, else those that may be shown."""
    for folder in ("portraits_eval", "portraits"):
        if found := sorted((data / "face" / folder).glob("*.jpg")):
            return found
    return []


def sheet(report: Report, generator: TalkGenerator, people: Sequence[Path], sound: Path) -> None:
    """A contact sheet of portraits that may be shown: each emotion at the loudest moment of a line."""
    samples, rate = media.read_audio(sound)
    rows = []
    for portrait in people:
        pixels, row = media.read_image(portrait), []
        for name in CANONICAL:
            motion = generator.speak(samples, rate, EmotionCurve.parse(name), head_motion=0, blinks=False)
            loudest = int(np.argmax(generator.basis.lip_gap(motion.coefs)))
            still = Motion(*(part[loudest : loudest + 1] for part in motion))
            (frame,) = generator.frames(pixels, still, size=256)
            row.append(np.asarray(Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.LANCZOS)))
        rows.append(np.concatenate(row, 1))
    if rows:
        png = io.BytesIO()
        Image.fromarray(np.concatenate(rows)).save(png, "PNG")
        report.picture(png.getvalue(), f"At intensity 1, where the mouth opens most: {', '.join(CANONICAL)}.")
