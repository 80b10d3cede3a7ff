"""Quick preview of an emotion: one frame at 256 pixels, and one phrase."""

import html
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from apps.studio import emotion, form
from apps.studio.files import address, fresh, uploaded
from gen import media, registry
from gen.emotion.spec import EmotionCurve
from gen.errors import AffektError
from gen.jobs import run
from gen.jobs.executors import pick_device
from gen.jobs.schema import Task, parse_task
from gen.notes import collect
from gen.provenance import manifest

SIDE = 256  # pixels
PHRASE = 1.6  # seconds
CANDIDATES = 3  # performances that are tried; a rendering tries more


class Preview:
    """Shows the emotion of the page while nothing is rendered; the models stay in memory."""

    def __init__(self, renderer):
        self.renderer, self.lock = renderer, threading.Lock()

    def warm(self) -> None:
        """Load what a preview needs, once a picture or a recording is there."""
        with self.lock:
            generator("talk")
            generator("voice")

    def shown(self, felt: Any, portrait: dict | None, recording: dict | None) -> str:
        """The preview as HTML; nothing where there is nothing to see yet, or where a rendering needs the machine."""
        try:
            curve = emotion.parse(felt["text"], felt.get("files"))
            kind = felt.get("kind")
            with self.lock, collect():
                if self.renderer.line:
                    return ""
                face = portrait and kind in ("scene", "talk") and frame(portrait, curve)
                voice = recording and kind in ("scene", "voice") and phrase(recording, curve)
        except (AffektError, KeyError, TypeError):
            return ""
        says = html.escape(felt["text"])
        seen = f'<img src="{address(face)}" alt="Preview: {says}">' if face else ""
        heard = f'<audio controls src="{address(voice)}" aria-label="Preview: {says}"></audio>' if voice else ""
        return f"<p class='glance'>{seen}{heard}<span>Preview</span></p>" if face or voice else ""


def generator(kind: str):
    """The generator of a kind with its usual weights, which a rendering uses as well."""
    task = {"talk": {"portrait": "_", "audio": "_"}, "voice": {"source": "_", "emotion": "happy"}}[kind]
    names = registry.get("generator", kind).checkpoints(parse_task({"kind": kind, **task}))
    return run.generator(kind, names, pick_device("auto"))


@lru_cache(maxsize=2)
def face_of(path: Path):
    return generator("talk").portrait(media.read_image(path), SIDE)


@lru_cache(maxsize=2)
def loudest(path: Path) -> tuple[np.ndarray, int, float]:
    """The part of a recording in which most is said: samples (n,), their rate, and the second at which it begins."""
    samples, rate = media.read_audio(path)
    length = min(len(samples), round(PHRASE * rate))
    energy = np.concatenate(([0.0], np.cumsum(np.square(samples, dtype=np.float64))))
    start = int(np.argmax(energy[length:] - energy[:-length] if length else [0]))
    return samples[start : start + length], rate, start / rate


def part(curve: EmotionCurve, start: float) -> EmotionCurve:
    """The emotion that a curve has in the middle of the phrase, as a constant curve."""
    nearest = min(curve.keyframes, key=lambda key: abs(key.at - start - PHRASE / 2))
    return EmotionCurve.constant(nearest.emotion)


def frame(portrait: dict, curve: EmotionCurve) -> Path:
    """The portrait with an emotion, its mouth a little open, as a picture."""
    path = uploaded(portrait.get("still") or portrait["path"])
    talk, last = generator("talk"), curve.keyframes[-1].emotion
    rate = 16_000
    hum = (0.05 * np.sin(np.arange(rate // 2) * 2 * np.pi * 150 / rate)).astype(np.float32)
    motion = talk.speak(hum, rate, EmotionCurve.constant(last), head_motion=0, blinks=False)
    still = type(motion)(*(values[-1:] for values in motion))
    from talking_head.render.film import film

    task = parse_task({"kind": "talk", "portrait": str(path), "audio": str(path), "emotion": str(last)})
    return written("preview.png", task, next(iter(film(face_of(path), still))))


def phrase(recording: dict, curve: EmotionCurve) -> Path:
    """A phrase of the recording in an emotion."""
    path = uploaded(recording["path"])
    samples, rate, start = loudest(path)
    felt = part(curve, start)
    made = generator("voice").convert(samples, rate, felt, candidates=CANDIDATES)
    task = parse_task({"kind": "voice", "source": str(path), "emotion": form.spelled(felt)})
    return written("preview.wav", task, made, rate)


def written(name: str, task: Task, content: np.ndarray, rate: int | None = None) -> Path:
    """A file that says, as every other does, that a machine made it."""
    facts = manifest(task, task.seed, "cpu", ())
    path = fresh(name)
    if rate is None:
        media.write_image(path, content, facts)
    else:
        media.write_audio(path, content, rate, facts)
    return path
