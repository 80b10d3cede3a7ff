"""``affekt talk --model dice-video``: DICE-Talk generates every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gen import checkpoints, media
from talking_head.frame import prepared
from talking_head.pipeline import FPS, HEAR, Progress

if TYPE_CHECKING:
    from talking_head.face.tracker import FaceTracker
    from talking_head.task import TalkTask
    from talking_head.video.pipeline import DiceVideo


class VideoTalk:
    """Face tracker and video network."""

    def __init__(self, tracker: FaceTracker, model: DiceVideo):
        self.tracker, self.model = tracker, model

    @classmethod
    def load(cls, names: Sequence[str], device: str = "cpu") -> Self:
        """Load the checkpoint ``names[0]``, with the ``lora.safetensors`` in it if there is one."""
        from talking_head.face.tracker import FaceTracker
        from talking_head.video.memory import PARTS
        from talking_head.video.pipeline import DiceVideo

        changes = checkpoints.folder(names[0]) / "lora.safetensors"  # of the user's training
        model = DiceVideo.load(names[0], device, PARTS, changes=changes if changes.is_file() else None)
        return cls(FaceTracker.load(), model)

    def render(self, task: TalkTask, folder: Path, manifest: dict, progress: Progress) -> list[Path]:
        """Write ``talk.mp4`` into ``folder``."""
        import soxr

        from talking_head.task import chapters
        from talking_head.video.memory import fitting
        from talking_head.video.pipeline import DiceVideo
        from talking_head.video.portrait import size_of
        from talking_head.video.sampler import Plan
        from talking_head.video.schedule import frame_count

        progress(0.0, "listening")
        samples, rate = media.read_audio(task.audio)
        heard = samples if rate == HEAR else soxr.resample(samples, rate, HEAR)
        pixels, face = prepared(self.tracker, media.read_image(task.portrait), task.size, task.face)
        low, high = face.landmarks[:, :2].min(0), face.landmarks[:, :2].max(0)
        plan = Plan(task.steps or Plan.steps)
        plan = replace(plan, scales=plan.scales | {"emotion": plan.scales["emotion"] * task.emotion_scale})
        side, box = min(512, task.size or 512), (*low, *(high - low))
        size = size_of(*pixels.shape[:2], side) if task.size else size_of(side, side, side)
        memory = fitting(self.model, task.vram, frame_count(len(heard)), size, plan)
        model = DiceVideo(self.model.parts, self.model.priors, str(self.model.device), memory)
        frames = model.talk(
            pixels,
            box,
            heard,
            task.felt(),
            side=side,
            crop=not task.size,
            seed=task.seed,
            plan=plan,
            progress=lambda done: progress(0.9 * done, "drawing"),
        )
        film = folder / f"talk.{task.ending}"
        how = {"codec": task.codec, "chapters": () if task.emotion_from else chapters(task.emotion)}
        return media.write_video(film, frames, FPS, samples, rate, manifest, **how)
