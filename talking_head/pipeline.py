"""Renders a video from a photograph, a recording and an emotion; used by YAML, the command line and Python."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gen import checkpoints, media
from gen.emotion.spec import Emotion, EmotionCurve
from gen.errors import InputError
from gen.notes import note
from talking_head.models import class_name

if TYPE_CHECKING:
    from moviepy import VideoClip

    from talking_head.face.basis import FaceBasis
    from talking_head.face.graph import Graph
    from talking_head.face.tracker import Face, FaceTracker
    from talking_head.motion.dice.speaker import DiceSpeaker
    from talking_head.motion.emote.speaker import EmoteSpeaker
    from talking_head.motion.speaker import Motion
    from talking_head.render.portrait import Portrait
    from talking_head.task import TalkTask
    from talking_head.video.talk import VideoTalk

FPS = 25
HEAR = 16_000  # Hz
MODELS = {"emote": "emote-compact", "dice": "dice-compact", "dice-video": "dice-talk"}
LONGEST = 1280  # maximum pixels of an uncropped picture's longer side
MOTION, DICE, VIDEO = {"EmoteSpeaker", "UpstreamSpeaker", "DiceSpeaker"}, {"DiceSpeaker", "DiceVideo"}, {"DiceVideo"}
# fields supported by some models only: default, supporting classes
FOREIGN = {
    "emotion_scale": (1.0, DICE),
    "steps": (0, DICE),
    "vram": (24, VIDEO),
    "head_motion": (0.6, MOTION),
    "blinks": (True, MOTION),
    "mouth": (1.0, MOTION),
    "export": ((), MOTION),
    "background": ("keep", MOTION),
    "aspect": ("1:1", MOTION),
    "crop": ("head", MOTION),
    "fps": (FPS, MOTION),
}
HINTS = {"vram": "omit it: it applies to dice-video only"}
HINTS |= dict.fromkeys(("emotion_scale", "steps"), "use `emotion @ intensity`, or --model dice")
HINTS |= dict.fromkeys(("head_motion", "blinks", "mouth", "export"), "omit it: the model renders the whole face")
HINTS |= dict.fromkeys(("aspect", "background", "crop", "fps"), "its frames are square, 25 per second")
Progress = Callable[[float, str], None]
Told = Callable[[float], None]  # the fraction completed


def silent(done: float) -> None:
    """Ignores the progress."""


class TalkGenerator:
    """Tracker, basis and speaker."""

    endings = (".mp4",)
    models = tuple(MODELS.values())  # offered by the studio if installed

    def __init__(
        self, tracker: FaceTracker, basis: FaceBasis, speaker: EmoteSpeaker | DiceSpeaker, matte: Graph | None = None
    ):
        """``matte`` segments the person; without it the background bends beside a turning head."""
        self.tracker, self.basis, self.speaker, self.matte = tracker, basis, speaker, matte
        self.portraits: dict[bytes, Portrait] = {}  # the last two, for another emotion or a preview

    @staticmethod
    def reading(emotion: Emotion) -> str:
        """The expression of an emotion, in words."""
        from talking_head.face.points import ARKIT
        from talking_head.motion.expression import target

        face = target(emotion.weights()[None], emotion.point()[None])[0] * emotion.intensity
        both = {}
        for name, value in zip(ARKIT, face):
            both.setdefault(name.removesuffix("Left").removesuffix("Right"), []).append(value)
        both = {name: max(values, key=abs) for name, values in both.items()}
        most = sorted((name for name in both if abs(both[name]) > 0.1), key=lambda name: -abs(both[name]))[:5]
        plain = lambda name: re.sub("([A-Z])", r" \1", name).lower()
        return ", ".join(f"{plain(name)} {100 * both[name]:+.0f} %" for name in most) or "a face at rest"

    @staticmethod
    def checkpoints(task: TalkTask) -> tuple[str, ...]:
        """The checkpoint names; InputError if the task has fields that its model does not support."""
        model = MODELS.get(task.model, task.model)
        _refuse_foreign(task, model)
        return (model, "face-tracker", "face-basis", "person-mask", *([task.flame] if task.flame else []))

    @classmethod
    def from_pretrained(
        cls, name: str | Path = "emote-compact", *others: str | Path, device: str = "cpu"
    ) -> TalkGenerator | VideoTalk:
        """The generator of a checkpoint's class; ``others`` as in :meth:`checkpoints`."""
        from talking_head.face.basis import FaceBasis
        from talking_head.face.graph import Graph
        from talking_head.face.tracker import FaceTracker
        from talking_head.models import class_of

        names = (name, *others)
        found = class_of(name)
        if found.__name__ == "DiceVideo":
            from talking_head.video.talk import VideoTalk

            return VideoTalk.load(names, device)
        if device != "cpu":
            note(f"only the motion model runs on {device}: frames are rendered on the CPU")
        basis = FaceBasis.load()
        return cls(FaceTracker.load(), basis, found.load(names, basis, device), checkpoints.load("person-mask", Graph))

    def render(self, task: TalkTask, folder: Path, manifest: dict, progress: Progress) -> list[Path]:
        """Writes ``talk.mp4`` and the requested exports to ``folder``."""
        from talking_head import export
        from talking_head.task import chapters

        progress(0.0, "listening")
        samples, rate = media.read_audio(task.audio)
        motion = self._motion(task, samples, rate, lambda done: progress(0.1 * done, "listening"))
        frames = self._drawn(task, motion, lambda done: progress(0.1 + 0.9 * done, "drawing"))
        film = folder / f"talk.{task.ending}"
        how = {"codec": task.codec, "chapters": () if task.emotion_from else chapters(task.emotion)}
        paths = media.write_video(film, frames, task.fps, samples, rate, manifest, **how)
        for name in task.export:
            paths.append(folder / f"talk{export.ENDINGS[name]}")
            export.WRITERS[name](paths[-1], motion, self.basis, manifest, lambda: self._look(task))
        if task.flame is not None:
            paths.append(folder / "talk.flame.npz")
            export.flame_npz(paths[-1], motion, self.basis, manifest, task.flame)
        return paths

    def clip(self, task: TalkTask) -> VideoClip:
        """The film of a task as a moviepy clip with sound; frames are rendered on demand."""
        from gen.emotion.resolve import resolve
        from gen.jobs.schema import curves
        from gen.provenance import manifest

        heard = curves(task, resolve)
        samples, rate = media.read_audio(task.audio)
        motion = self._motion(heard, samples, rate)
        facts = manifest(task, task.seed, "cpu", self.checkpoints(task))
        count = max(1, round(len(samples) / rate * task.fps))
        return media.as_clip(lambda: self._drawn(heard, motion), count, task.fps, samples, rate, (facts,))

    def _motion(self, task: TalkTask, samples: np.ndarray, rate: int, told: Told = silent) -> Motion:
        """The motion of a task; ``told`` receives the fraction completed."""
        how = {"steps": task.steps} if task.steps else {}
        return self.speak(
            samples,
            rate,
            task.felt(),
            seed=task.seed,
            head_motion=task.head_motion,
            blinks=task.blinks,
            mouth=task.mouth,
            emotion_scale=task.emotion_scale,
            progress=told,
            **how,
        )

    def _drawn(self, task: TalkTask, motion: Motion, told: Told = silent) -> Iterator[np.ndarray]:
        """The frames of a task."""
        return self.frames(
            media.read_image(task.portrait),
            motion,
            size=task.size,
            which=task.face,
            aspect=task.aspect,
            crop=task.crop,
            fps=task.fps,
            background=_background(task),
            progress=told,
        )

    def speak(self, samples: np.ndarray, rate: int, emotion: EmotionCurve, **options) -> Motion:
        """Mono samples -> motion; ``options`` are those of the speaker's ``from_rows``."""
        import soxr

        from gen.emotion.track import note_unreached

        if len(samples) < rate // FPS:
            raise InputError("the recording is shorter than a frame: give at least 0.04 seconds")
        note_unreached(emotion, len(samples) / rate)
        heard = samples if rate == HEAR else soxr.resample(samples, rate, HEAR)
        motion = self.speaker.speak(heard, emotion, **options)
        count = max(1, round(len(samples) / rate * FPS))
        return type(motion)(*(_counted(part, count) for part in motion))

    def frames(
        self,
        pixels: np.ndarray,
        motion: Motion,
        *,
        size: int = 512,
        which: int | None = None,
        aspect: str = "1:1",
        crop: str = "head",
        fps: int = FPS,
        background: str | np.ndarray = "keep",
        progress: Told = silent,
    ) -> Iterator[np.ndarray]:
        """The video's frames (h, w, 3) uint8 as an iterator, without the visible label of written files; (h, w, 4) for
        the background "none"."""
        from talking_head.render.film import film

        portrait = self.portrait(pixels, size, which, aspect, crop, background)
        _say(portrait, motion)
        motion = type(motion)(*(_at_rate(part, fps) for part in motion))
        for i, frame in enumerate(film(portrait, motion, fps), 1):
            progress(i / len(motion.coefs))
            yield frame

    def _look(self, task: TalkTask) -> tuple[np.ndarray, Face]:
        return self.prepare(media.read_image(task.portrait), task.size, task.face, task.aspect, task.crop)

    def portrait(
        self,
        pixels: np.ndarray,
        size: int = 512,
        which: int | None = None,
        aspect: str = "1:1",
        crop: str = "head",
        background: str | np.ndarray = "keep",
    ) -> Portrait:
        """The photograph prepared for animation, with the person segmented. ``background``: "keep", "none", a colour
        such as "#00ff00", or a picture (h, w, 3)."""
        from talking_head.render.person import cut_out
        from talking_head.render.portrait import Portrait

        whole = self.tracker.face(pixels, which)
        picture, face = fitted(pixels, whole, size, aspect, crop)
        key = _key(pixels, picture, face.landmarks, background)
        if key not in self.portraits:
            person = self.matte and cut_out(self.matte, pixels, whole, picture, face, background)
            made = Portrait(picture, face, self.basis, person)
            if self.matte and not person:
                return made  # noted each time
            self.portraits = dict([*self.portraits.items()][-1:]) | {key: made}
        return self.portraits[key]

    def prepare(
        self, pixels: np.ndarray, size: int, which: int | None = None, aspect: str = "1:1", crop: str = "head"
    ) -> tuple[np.ndarray, Face]:
        """The frame's picture and the face in it."""
        return prepared(self.tracker, pixels, size, which, aspect, crop)


def prepared(
    tracker: FaceTracker,
    pixels: np.ndarray,
    size: int,
    which: int | None = None,
    aspect: str = "1:1",
    crop: str = "head",
) -> tuple[np.ndarray, Face]:
    """The frame's picture and the face in it; arguments as in :func:`talking_head.frame.framed`."""
    return fitted(pixels, tracker.face(pixels, which), size, aspect, crop)


def fitted(
    pixels: np.ndarray, face: Face, size: int, aspect: str = "1:1", crop: str = "head"
) -> tuple[np.ndarray, Face]:
    """:func:`prepared` for a face that is already detected."""
    from PIL import Image

    from talking_head.frame import even, framed

    if size % 2:
        note(f"frame size reduced from {size} to {size // 2 * 2} pixels: a film's sides are even")
    if not size and (aspect, crop) != ("1:1", "head"):
        note("aspect and crop are ignored for size 0 (the whole picture): give a size")
    if size:
        return framed(pixels, face, size // 2 * 2, aspect, crop)
    scale = min(1.0, LONGEST / max(pixels.shape[:2]))
    if scale < 1:
        wanted = tuple(round(n * scale) for n in pixels.shape[1::-1])
        note(f"the picture of {pixels.shape[1]} x {pixels.shape[0]} pixels was reduced to {wanted[0]} x {wanted[1]}")
        pixels = np.asarray(Image.fromarray(pixels).resize(wanted, Image.Resampling.LANCZOS))
        face = face._replace(landmarks=face.landmarks * scale)
    return even(pixels), face


def _key(*parts: np.ndarray | str) -> bytes:
    """A hash of arrays and words."""
    raw = (part.encode() if isinstance(part, str) else part.tobytes() for part in parts)
    return b"".join(hashlib.sha256(one).digest() for one in raw)


def _background(task: TalkTask) -> str | np.ndarray:
    return media.read_image(task.background) if isinstance(task.background, Path) else task.background


def _say(portrait: Portrait, motion: Motion) -> None:
    """Notes limitations of the photograph."""
    from talking_head.face.points import side

    if portrait.covered:
        note("the mouth seems to be covered, so it does not move: give a photograph with a visible mouth")
    elif portrait.broad and np.median(motion.coefs[:, side("mouthSmile")]) < 0.3:
        note("some of the photograph's broad smile remains: give one with a closed mouth for other expressions")


def _refuse_foreign(task: TalkTask, model: str) -> None:
    """Raises InputError for fields that the model's class does not support."""
    asked = {name for name, (usual, _) in FOREIGN.items() if getattr(task, name) != usual}
    if not asked:
        return
    found = class_name(model)
    for name in sorted(asked):
        if found not in FOREIGN[name][1]:
            raise InputError(f"{task.model} has no {name}: {HINTS[name]}")


def _at_rate(values: np.ndarray, fps: int) -> np.ndarray:
    """Resamples rows from :data:`FPS` to ``fps``, linearly interpolated between frame centres."""
    if fps == FPS:
        return values
    at = ((np.arange(round(len(values) * fps / FPS)) + 0.5) * FPS / fps - 0.5).clip(0, len(values) - 1)
    before = at.astype(int)
    share = (at - before).reshape(-1, *[1] * (values.ndim - 1))
    return values[before] * (1 - share) + values[np.minimum(before + 1, len(values) - 1)] * share


def _counted(values: np.ndarray, count: int) -> np.ndarray:
    """Exactly ``count`` rows: repeats the last one or drops surplus ones."""
    return np.concatenate((values, np.repeat(values[-1:], max(0, count - len(values)), 0)))[:count]
