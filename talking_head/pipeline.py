"""From a photograph, a recording and an emotion to a video: what YAML, the command line and Python call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gen import checkpoints, media
from gen.emotion.spec import Emotion, EmotionCurve
from gen.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from talking_head.face.basis import FaceBasis
    from talking_head.face.tracker import Face, FaceTracker
    from talking_head.speaker import Motion, Speaker
    from talking_head.task import TalkTask

FPS = 25
HEAR = 16_000  # Hz
MODELS = {"emote": "emote-compact", "dice": "dice-compact", "dice-video": "dice-talk"}
LONGEST = 1280  # pixels of a whole picture's longer side
Progress = Callable[[float, str], None]


class TalkGenerator:
    """Tracker, basis and speaker, ready to animate."""

    def __init__(self, tracker: FaceTracker, basis: FaceBasis, speaker: Speaker):
        self.tracker, self.basis, self.speaker = tracker, basis, speaker

    @staticmethod
    def reading(emotion: Emotion) -> str:
        """What the face makes of an emotion, in words."""
        import torch

        from talking_head.emote.expression import TABLE
        from talking_head.face.points import ARKIT

        face = (torch.from_numpy(emotion.weights().astype(np.float32)) @ TABLE).numpy() * emotion.intensity
        both = {}
        for name, value in zip(ARKIT, face):
            both.setdefault(name.removesuffix("Left").removesuffix("Right"), []).append(value)
        both = {name: max(values, key=abs) for name, values in both.items()}
        most = sorted((name for name in both if abs(both[name]) > 0.1), key=lambda name: -abs(both[name]))[:5]
        plain = lambda name: re.sub("([A-Z])", r" \1", name).lower()
        return ", ".join(f"{plain(name)} {100 * both[name]:+.0f} %" for name in most) or "a face at rest"

    @staticmethod
    def checkpoints(task: TalkTask) -> tuple[str, ...]:
        model = MODELS.get(task.model, task.model)
        return (model, "face-tracker", "face-basis", *([task.flame] if task.flame else []))

    @classmethod
    def load(cls, names: Sequence[str], device: str = "cpu") -> TalkGenerator:
        """The generator of the first checkpoint of ``names``. Everything runs on the CPU, which is quick enough."""
        from talking_head.dice import talk as dice
        from talking_head.emote.model import Emote
        from talking_head.emote.speech import SpeechEncoder
        from talking_head.face.basis import FaceBasis
        from talking_head.face.tracker import FaceTracker
        from talking_head.speaker import Speaker

        if found := dice.load(names, device):
            return found
        basis, emote = FaceBasis.load(), checkpoints.load(names[0], Emote, "emote")
        if (checkpoints.folder(names[0]) / "speech").is_dir():
            speech = checkpoints.load(names[0], SpeechEncoder, "speech")
            return cls(FaceTracker.load(), basis, Speaker(speech, emote, basis))
        if len(names) < 4:
            raise CheckpointError(
                f"{names[0]} has no speech encoder of ours: a converted EMOTE moves FLAME, so name your converted "
                "FLAME too, with `flame`"
            )
        from talking_head.emote.released import ReleasedSpeaker, Wav2Vec
        from talking_head.face.flame import Flame, FlameAdapter

        adapter = FlameAdapter(Flame.load(names[3], emote.config.features - 3), basis)
        return cls(FaceTracker.load(), basis, ReleasedSpeaker(Wav2Vec.load(names[0]), emote, adapter, basis))

    def render(self, task: TalkTask, folder: Path, manifest: dict, progress: Progress) -> list[Path]:
        """Write ``talk.mp4`` and the exports asked for into ``folder``."""
        from talking_head import export
        from talking_head.dice.motion.speaker import DiceSpeaker

        progress(0.0, "listening")
        samples, rate = media.read_audio(task.audio)
        drawn = {"emotion_scale": task.emotion_scale} if task.emotion_scale != 1 else {}  # what only diffusion knows
        drawn |= {"steps": task.steps} if task.steps else {}
        if drawn and not isinstance(self.speaker, DiceSpeaker):
            raise InputError("EMOTE has no emotion_scale and no steps: use `emotion @ intensity`, or --model dice")
        motion = self.speak(
            samples, rate, task.felt(), seed=task.seed, head_motion=task.head_motion,
            blinks=task.blinks, progress=lambda done: progress(0.1 * done, "listening"), **drawn,
        )  # fmt: skip
        frames = self.frames(
            media.read_image(task.portrait), motion, size=task.size, which=task.face,
            progress=lambda done: progress(0.1 + 0.9 * done, "drawing"),
        )  # fmt: skip
        paths = [folder / "talk.mp4"]
        media.write_video(paths[0], frames, FPS, samples, rate, manifest)
        for name in task.export:
            paths.append(folder / f"talk{export.ENDINGS[name]}")
            export.WRITERS[name](paths[-1], motion, self.basis, manifest)
        if task.flame is not None:
            paths.append(folder / "talk.flame.npz")
            export.flame_npz(paths[-1], motion, self.basis, manifest, task.flame)
        return paths

    def speak(self, samples: np.ndarray, rate: int, emotion: EmotionCurve, **options) -> Motion:
        """Mono samples -> motion; ``options`` as of :meth:`Speaker.speak`."""
        import soxr

        if len(samples) < rate // FPS:
            raise InputError("the recording is shorter than a frame: give at least 0.04 seconds")
        heard = samples if rate == HEAR else soxr.resample(samples, rate, HEAR)
        motion = self.speaker.speak(heard, emotion, **options)
        count = max(1, round(len(samples) / rate * FPS))
        return type(motion)(*(_counted(part, count) for part in motion))

    def frames(self, pixels: np.ndarray, motion: Motion, *, size: int = 512, which: int | None = None,
               progress: Callable[[float], None] = lambda done: None) -> Iterator[np.ndarray]:  # fmt: skip
        """The video's frames (h, w, 3) uint8, one by one, without the visible label that a written file gets."""
        from talking_head.render.portrait import Portrait

        pixels, face = self.prepare(pixels, size, which)
        portrait = Portrait(pixels, face, self.basis)
        count = len(motion.coefs)
        for i, (coefs, turn, closed) in enumerate(zip(*motion, strict=True)):
            frame = portrait.frame(coefs, turn, float(closed))
            progress((i + 1) / count)
            yield frame

    def prepare(self, pixels: np.ndarray, size: int, which: int | None = None) -> tuple[np.ndarray, Face]:
        """The frame's picture and the face in it."""
        from PIL import Image

        from talking_head.frame import even, head_square

        face = self.tracker.face(pixels, which)
        if size:
            return head_square(pixels, face, size // 2 * 2)
        scale = min(1.0, LONGEST / max(pixels.shape[:2]))
        if scale < 1:
            wanted = tuple(round(n * scale) for n in pixels.shape[1::-1])
            pixels = np.asarray(Image.fromarray(pixels).resize(wanted, Image.Resampling.LANCZOS))
            face = face._replace(landmarks=face.landmarks * scale)
        return even(pixels), face


def _counted(values: np.ndarray, count: int) -> np.ndarray:
    """Exactly ``count`` rows: the last one held, or surplus ones left out."""
    return np.concatenate((values, np.repeat(values[-1:], max(0, count - len(values)), 0)))[:count]
