"""``affekt talk`` with DICE-Talk: ``--model dice`` moves the photograph, ``--model dice-video`` draws every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gen import checkpoints, media
from gen.errors import InputError
from talking_head.pipeline import FPS, HEAR, Progress, TalkGenerator

if TYPE_CHECKING:
    from talking_head.dice.video.pipeline import DiceVideo
    from talking_head.face.tracker import FaceTracker
    from talking_head.task import TalkTask

OWN = {"head_motion": 0.6, "blinks": True, "export": ()}  # what only models of motion know


def load(names: Sequence[str], device: str) -> TalkGenerator | VideoTalk | None:
    """The generator of a checkpoint of DICE-Talk, or None where it is another's."""
    from talking_head.face.basis import FaceBasis
    from talking_head.face.tracker import FaceTracker

    place = checkpoints.folder(names[0])
    if (place / "motion").is_dir():
        from talking_head.dice.motion.generate import DiceMotion
        from talking_head.dice.motion.speaker import DiceSpeaker

        basis = FaceBasis.load()
        return TalkGenerator(FaceTracker.load(), basis, DiceSpeaker(DiceMotion.load(names[0], device), basis))
    if (place / "unet").is_dir():
        from talking_head.dice.video.pipeline import DiceVideo

        changes = place / "lora.safetensors"  # of a training of one's own, put there
        model = DiceVideo.load(names[0], device, vram=16, changes=changes if changes.is_file() else None)
        return VideoTalk(FaceTracker.load(), model)
    return None


class VideoTalk:
    """Tracker and video network, ready to draw."""

    def __init__(self, tracker: FaceTracker, model: DiceVideo):
        self.tracker, self.model = tracker, model

    def render(self, task: TalkTask, folder: Path, manifest: dict, progress: Progress) -> list[Path]:
        """Write ``talk.mp4`` into ``folder``."""
        import soxr

        from talking_head.dice.video.pipeline import DiceVideo, Memory
        from talking_head.dice.video.sampler import Plan

        if wrong := [name for name, usual in OWN.items() if getattr(task, name) != usual]:
            raise InputError(f"the video model draws head and eyes by itself: leave {', '.join(wrong)} as it is")
        progress(0.0, "listening")
        samples, rate = media.read_audio(task.audio)
        heard = samples if rate == HEAR else soxr.resample(samples, rate, HEAR)
        pixels, face = TalkGenerator.prepare(self, media.read_image(task.portrait), task.size, task.face)
        low, high = face.landmarks[:, :2].min(0), face.landmarks[:, :2].max(0)
        plan = Plan(task.steps or Plan.steps)
        plan = replace(plan, scales=plan.scales | {"emotion": plan.scales["emotion"] * task.emotion_scale})
        model = DiceVideo(self.model.parts, self.model.priors, str(self.model.device), Memory.of(task.vram))
        frames = model.talk(pixels, (*low, *(high - low)), heard, task.felt(),
                            side=min(512, task.size or 512), crop=not task.size, seed=task.seed, plan=plan,
                            progress=lambda done: progress(0.9 * done, "drawing"))  # fmt: skip
        path = folder / "talk.mp4"
        media.write_video(path, frames, FPS, samples, rate, manifest)
        return [path]
