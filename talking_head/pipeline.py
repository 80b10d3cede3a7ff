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
from talking_head.frame import fitted, prepared
from talking_head.supported import refuse_foreign

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
        refuse_foreign(task, model)
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
            background=media.read_image(task.background) if isinstance(task.background, Path) else task.background,
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
        return motion.lasting(count)

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
        motion = motion.at_rate(fps)
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


def _key(*parts: np.ndarray | str) -> bytes:
    """A hash of arrays and words."""
    raw = (part.encode() if isinstance(part, str) else part.tobytes() for part in parts)
    return b"".join(hashlib.sha256(one).digest() for one in raw)


def _say(portrait: Portrait, motion: Motion) -> None:
    """Notes limitations of the photograph."""
    from talking_head.face.points import side

    if portrait.covered:
        note("the mouth seems to be covered, so it does not move: give a photograph with a visible mouth")
    elif portrait.broad and np.median(motion.coefs[:, side("mouthSmile")]) < 0.3:
        note("some of the photograph's broad smile remains: give one with a closed mouth for other expressions")
