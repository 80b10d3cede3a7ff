"""Films for external recognisers of expressions, and contact sheets.

Tracked coefficients are no judge of an expression: trackers report too little of brows, nose and cheeks.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gen import media
from gen.emotion.spec import CANONICAL, EmotionCurve
from gen.errors import InputError
from gen.evaluate.report import Report
from talking_head.motion.speaker import Motion
from talking_head.pipeline import FPS, TalkGenerator
from talking_head.render.film import film
from talking_head.render.portrait import Portrait

INTENSITIES = (0.5, 1.0, 2.0)
COLUMNS = ("video", "portrait", "audio", "emotion", "intensity")
SIDE = 160  # pixels per picture of the contact sheet
HELD = 1.2  # seconds of a film without speech


def asked(intensities: Sequence[float]) -> list[tuple[str, float]]:
    """Emotions and intensities of the films, those at 1 first."""
    first = [(name, 1.0) for name in CANONICAL]
    return first + [(name, value) for value in intensities if value != 1 for name in CANONICAL[1:]]


def films(
    generator: TalkGenerator,
    people: Sequence[Path],
    sound: Path,
    out: Path,
    size: int,
    fps: int = FPS,
    seconds: float | None = None,
) -> list[Path]:
    """Films in ``out`` of each portrait and emotion: speaking at each of :data:`INTENSITIES`, with ``films.csv``, and
    holding the expression in silence at 1, with ``held.csv``. Those that are there stay.

    ``fps`` below :data:`FPS` leaves frames out: recognisers look at five a second. ``seconds`` is what is taken of the
    sound.
    """
    if FPS % fps:
        raise InputError(f"films have {FPS} frames a second or a whole part of that: 5, not {fps}")
    samples, rate = media.read_audio(sound)
    drawn = [Portrait(*generator.prepare(media.read_image(path), size), generator.basis) for path in people]
    kinds = {
        "held": (np.zeros(round(HELD * rate), np.float32), (1.0,)),
        "films": (samples[: None if seconds is None else round(seconds * rate)], INTENSITIES),
    }
    for kind, (said, intensities) in kinds.items():
        (out / kind).mkdir(parents=True, exist_ok=True)
        spoken = out / f"{kind}.wav"
        media.write_audio(spoken, said, rate)
        rows = []
        for name, value in asked(intensities):
            motion = generator.speak(said, rate, EmotionCurve.parse(f"{name} @ {value}"))
            motion = Motion(*(part[:: FPS // fps] for part in motion))
            for path, portrait in zip(people, drawn):
                video = out / kind / f"{path.stem}-{name}-{value:g}.mp4"
                rows.append([f"{kind}/{video.name}", path.resolve(), spoken.resolve(), name, value])
                if not video.exists():
                    media.write_video(video, film(portrait, motion), fps, said, rate, {"ai_generated": True})
        with (out / f"{kind}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
    return [out / f"{kind}.csv" for kind in kinds]


def people_of(data: Path) -> list[Path]:
    """Evaluation portraits if available, else the portraits that may be published."""
    for folder in ("portraits_eval", "portraits"):
        if found := sorted((data / "face" / folder).glob("*.jpg")):
            return found
    return []


def sheet(report: Report, generator: TalkGenerator, people: Sequence[Path], sound: Path) -> None:
    """Add a contact sheet of publishable portraits: each emotion at the widest mouth opening of a line."""
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
