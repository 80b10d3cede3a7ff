"""From a piece of the user's to one with its faders elsewhere: what YAML, the command line and Python call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gen import checkpoints, media
from gen.emotion.spec import Emotion
from gen.notes import note
from music.automation import automation
from music.controls import density, melody_likeness, tune, voices

if TYPE_CHECKING:
    from music.faders.play import Faders
    from music.faders.task import FadersTask
    from music.tokens import Grid

Progress = Callable[[float, str], None]


class FadersGenerator:
    """Music FaderNets, ready to change pieces."""

    endings = (".mid", ".wav")

    def __init__(self, faders: Faders):
        self.faders = faders

    @staticmethod
    def reading(emotion: Emotion) -> str:
        """The faders' interpretation of an emotion, in words."""
        arousal = emotion.scaled()[1]
        way = "fuller and busier" if arousal > 0 else "thinner and calmer" if arousal < 0 else "as it is"
        return f"{way} (arousal {arousal:+.2f}); valence is left to the piece"

    @staticmethod
    def checkpoints(task: FadersTask) -> tuple[str, ...]:
        return (task.model, "piano") if task.audio else (task.model,)

    @classmethod
    def from_pretrained(
        cls, name: str | Path = "faders-compact", *others: str | Path, device: str = "cpu"
    ) -> FadersGenerator:
        """The generator of a checkpoint; it is small, and runs on the CPU on every ``device``."""
        from music.faders.play import Faders

        checkpoints.folder(name)
        return cls(Faders.load(str(name)))

    def render(self, task: FadersTask, folder: Path, manifest: dict, progress: Progress) -> list[Path]:
        """Write ``faders.mid`` and, where asked for, its sound into ``folder``."""
        from music import synth
        from music.score import read_grid, to_score

        grid = read_grid(task.midi)
        progress(0.1, "moving the faders")
        wanted = {"rhythm": task.rhythm and automation(task.rhythm), "notes": task.voices and automation(task.voices)}
        arousal = automation(task.arousal, signed=True) if task.arousal else None
        moved = self.faders.moved(grid, wanted, task.seed, arousal, task.candidates)
        note(self.told(grid, moved, arousal is not None))
        paths = [folder / "faders.mid"]
        media.write_midi(paths[0], to_score(moved), manifest, channel=0)
        if task.audio:
            progress(0.6, "playing")
            paths.append(folder / f"faders.{task.format}")
            media.write_audio(paths[-1], synth.render(to_score(moved)), 44100, manifest)
        return paths

    def told(self, before: Grid, after: Grid, arousal: bool) -> str:
        """Measures of a piece before and after."""
        facts = [
            (f"{what} {measure(before):.2f} -> {measure(after):.2f}")
            for what, measure in (("onsets a beat", density), ("notes that sound", voices))
        ]
        if arousal:
            heard = [self.faders.heard(grid).mean() for grid in (before, after)]
            facts.append(f"arousal {heard[0]:+.2f} -> {heard[1]:+.2f}")
        alike = melody_likeness(tune(before), tune(after))
        return f"Measured: {', '.join(facts)}; {alike:.0%} of the tune's steps are the same."
