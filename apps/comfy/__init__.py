"""Nodes for ComfyUI: an emotion, a voice, a talking portrait, piano music, and a scene of all three.

Copy this folder to ``ComfyUI/custom_nodes/affekt`` and install Affekt into ComfyUI's Python. A node renders the same
task as a job file and uses the same cache; its last output is the path of the marked result file. Sound is ComfyUI's
``AUDIO``: {"waveform": (1, c, n), "sample_rate": Hz}; pictures are ``IMAGE``: (b, h, w, 3) from 0 to 1.
"""

from pathlib import Path
from uuid import uuid4

CATEGORY = "Affekt"
EMOTION = ("STRING", {"default": "happy", "tooltip": 'a word, "happy 0.7 + surprise 0.3 @ 1.2", "0: sad, 4: happy"'})
SEED = ("INT", {"default": 0, "min": 0, "max": 2**32 - 1, "control_after_generate": True})
SIZE = ("INT", {"default": 512, "min": 256, "max": 1024, "step": 2, "tooltip": "pixels of the frame's shorter side"})
FPS = 25


def rendered(task: dict) -> Path:
    """The main file of a task, cached or rendered now, in the output folder of ComfyUI or the working directory."""
    from gen.errors import RenderError
    from gen.jobs.cache import Cache, default_root
    from gen.jobs.plan import plan_tasks
    from gen.jobs.run import Event, run
    from gen.jobs.schema import parse_task

    failed, made = [], []
    report_progress = progress()

    def report(event: Event) -> None:
        if event.state == "progress":
            report_progress(event.fraction)
        elif event.state in ("failed", "blocked"):
            failed.append(event.message)
        elif event.files:
            made.extend(event.files)

    name = f"{task['kind']}-{uuid4().hex[:8]}"
    run(plan_tasks({name: parse_task(task)}), folder("output"), Cache(default_root()), report)
    if failed:
        raise RenderError(failed[0])
    return made[0]


def progress():
    """A callback that reports progress to ComfyUI; does nothing outside of it."""
    try:
        from comfy.utils import ProgressBar
    except ImportError:
        return lambda share: None
    bar = ProgressBar(100)
    return lambda share: bar.update_absolute(round(100 * share), 100)


def folder(kind: str) -> Path:
    """ComfyUI's folder for "output" or "temp" files."""
    try:
        import folder_paths
    except ImportError:
        return Path("out")
    found = folder_paths.get_output_directory() if kind == "output" else folder_paths.get_temp_directory()
    return Path(found) / "affekt"


def saved_sound(audio: dict) -> str:
    """Writes a sound to a file for a task."""
    from gen import media

    path = (folder("temp") / f"{uuid4().hex}.wav").absolute()
    media.write_audio(path, audio["waveform"][0].cpu().float().numpy(), int(audio["sample_rate"]), subtype="FLOAT")
    return str(path)


def saved_picture(image) -> str:
    """Writes the first picture of a batch to a file."""
    from gen import media

    path = (folder("temp") / f"{uuid4().hex}.png").absolute()
    media.write_image(path, (255 * image[0, ..., :3].cpu().float().clamp(0, 1)).round().byte().numpy())
    return str(path)


def sound(path: Path) -> dict:
    """Reads a sound file as AUDIO."""
    import torch

    from gen import media

    samples, rate = media.read_audio(path, mono=False)
    return {"waveform": torch.from_numpy(samples)[None], "sample_rate": rate}


def pictures(path: Path):
    """Reads a film's frames as IMAGE."""
    import numpy as np
    import torch

    from gen import media

    return torch.from_numpy(np.stack([*media.read_video(path)[0]])).float() / 255


class AffektEmotion:
    """A validated emotion."""

    CATEGORY, FUNCTION = CATEGORY, "make"
    RETURN_TYPES, RETURN_NAMES = ("STRING", "STRING"), ("emotion", "meaning")

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        strength = {"default": 1.0, "min": 0.0, "max": 2.0, "step": 0.05, "tooltip": "0 neutral, 1 natural, 2 maximum"}
        return {"required": {"emotion": EMOTION, "intensity": ("FLOAT", strength)}}

    @classmethod
    def VALIDATE_INPUTS(cls, emotion: str) -> bool | str:
        from gen.emotion.spec import EmotionCurve
        from gen.errors import InputError

        try:
            EmotionCurve.parse(emotion)
        except InputError as error:
            return str(error)
        return True

    def make(self, emotion: str, intensity: float) -> tuple[str, str]:
        import json

        from gen.emotion.describe import describe
        from gen.emotion.spec import EmotionCurve

        curve = EmotionCurve.parse(emotion)
        keys = []
        for key in curve.keyframes:
            strength = min(2.0, key.emotion.intensity * intensity)
            keys.append(key.model_copy(update={"emotion": key.emotion.model_copy(update={"intensity": strength})}))
        curve = curve.model_copy(update={"keyframes": tuple(keys)})
        return str(curve), json.dumps(describe(curve))


class AffektVoice:
    """Converts a recording to another emotion, keeping words and speaker."""

    CATEGORY, FUNCTION = CATEGORY, "make"
    RETURN_TYPES, RETURN_NAMES = ("AUDIO", "STRING"), ("audio", "file")

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"audio": ("AUDIO",), "emotion": EMOTION, "seed": SEED}}

    def make(self, audio: dict, emotion: str, seed: int) -> tuple[dict, str]:
        path = rendered({"kind": "voice", "source": saved_sound(audio), "emotion": emotion, "seed": seed})
        return sound(path), str(path)


class AffektPortrait:
    """A photograph speaks a recording, at 25 frames per second."""

    CATEGORY, FUNCTION = CATEGORY, "make"
    RETURN_TYPES, RETURN_NAMES = ("IMAGE", "AUDIO", "FLOAT", "STRING"), ("frames", "audio", "fps", "file")

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {
            "required": {"portrait": ("IMAGE",), "audio": ("AUDIO",), "emotion": EMOTION, "size": SIZE, "seed": SEED}
        }

    def make(self, portrait, audio: dict, emotion: str, size: int, seed: int) -> tuple:
        task = {"kind": "talk", "portrait": saved_picture(portrait), "audio": saved_sound(audio)}
        path = rendered(task | {"emotion": emotion, "size": size, "seed": seed})
        return pictures(path), sound(path), float(FPS), str(path)


class AffektMusic:
    """Piano music in an emotion."""

    CATEGORY, FUNCTION = CATEGORY, "make"
    RETURN_TYPES, RETURN_NAMES = ("AUDIO", "STRING"), ("audio", "file")

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        bars = {"default": 8, "min": 1, "max": 512, "tooltip": "in 4/4; times in a curve are bars"}
        return {"required": {"emotion": EMOTION, "bars": ("INT", bars), "seed": SEED}}

    def make(self, emotion: str, bars: int, seed: int) -> tuple[dict, str]:
        path = rendered({"kind": "music", "emotion": emotion, "bars": bars, "seed": seed})
        return sound(path.with_suffix(".wav")), str(path)


class AffektScene:
    """A portrait speaks in an emotion, over piano music in the same emotion."""

    CATEGORY, FUNCTION = CATEGORY, "make"
    RETURN_TYPES, RETURN_NAMES = ("IMAGE", "AUDIO", "FLOAT", "STRING"), ("frames", "audio", "fps", "file")

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        words = ("STRING", {"default": "", "multiline": True, "tooltip": "shown as captions if given"})
        return {
            "required": {"portrait": ("IMAGE",), "audio": ("AUDIO",), "emotion": EMOTION, "size": SIZE, "seed": SEED},
            "optional": {"text": words},
        }

    def make(self, portrait, audio: dict, emotion: str, size: int, seed: int, text: str = "") -> tuple:
        task = {"kind": "scene", "portrait": saved_picture(portrait), "audio": saved_sound(audio), "emotion": emotion}
        shown = {"text": text, "captions": True} if text.strip() else {}
        path = rendered(task | {"size": size, "seed": seed} | shown)
        return pictures(path), sound(path), float(FPS), str(path)


NODE_CLASS_MAPPINGS = {
    cls.__name__: cls for cls in (AffektEmotion, AffektVoice, AffektPortrait, AffektMusic, AffektScene)
}
NODE_DISPLAY_NAME_MAPPINGS = {name: name.replace("Affekt", "Affekt: ") for name in NODE_CLASS_MAPPINGS}
