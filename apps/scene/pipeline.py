"""Renders a scene from a portrait, a recording and an emotion: converts the voice, animates the face, plays the piano.

Each part is a task of its own kind, rendered or found in the cache by the job runner (``make``), so a change of the
music does not render the face again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from apps.scene.captions import captioned, captions, srt, vtt
from apps.scene.sound import FRAME, RATE, Mix, mixed, spoken
from apps.scene.task import SceneTask
from gen import channels, media, registry
from gen.emotion.spec import Emotion, EmotionCurve
from gen.jobs.schema import Task
from gen.notes import note
from gen.provenance import sidecar
from music.task import MusicTask
from talking_head.task import TalkTask, chapters
from voice_conversion.task import VoiceTask

if TYPE_CHECKING:
    from moviepy import VideoClip

FPS = 25
A_BAR = 2.5  # approximate seconds per bar; the piece's tempo decides
STRETCH = (0.8, 1.3)  # range of the time stretch that makes a piece end with the scene
TRIES = 3  # attempts with other numbers of bars
RING = 0.6  # seconds between the end of the piece and the end of the scene
STILL = 0.2  # seconds of silence that a resting face is rendered from
FRAME_OF_A_PICTURE = ("size", "aspect", "crop", "background")  # fields ignored if the portrait is a film
# the shares of the time that the parts take, as measured
STAGES = {"voice": (0.0, 0.07), "face": (0.07, 0.72), "music": (0.72, 0.85), "film": (0.85, 1.0)}
Progress = Callable[[float, str], None]
Make = Callable[[Task, Progress], list[Path]]


class SceneGenerator:
    """Combines the outputs of the parts' generators; has no weights of its own."""

    endings = (".mp4",)
    parts = ("voice", "talk", "music")  # kinds that the runner renders for it through ``make``

    @staticmethod
    def reading(emotion: Emotion) -> str:
        """The readings of an emotion by voice, face and piano."""
        kinds = (("voice", "voice"), ("face", "talk"), ("piano", "music"))
        return "\n".join(f"{name}: {registry.get('generator', kind).reading(emotion)}" for name, kind in kinds)

    @staticmethod
    def checkpoints(task: SceneTask) -> tuple[str, ...]:
        """The checkpoints of the parts that are rendered."""
        anything = Path("_")
        parts: list[Task] = []
        if not task.voice:
            parts.append(VoiceTask(source=anything, emotion=task.emotion, model=task.voice_model))
        if task.drawn:
            parts.append(TalkTask(portrait=anything, audio=anything, model=task.face_model))
        if not task.music and "music" not in task.mute:
            parts.append(MusicTask(emotion=task.emotion, model=task.music_model))
        names = [name for part in parts for name in registry.get("generator", part.kind).checkpoints(part)]
        return tuple(dict.fromkeys(names))

    @classmethod
    def from_pretrained(cls, *names: str | Path, device: str = "cpu") -> SceneGenerator:
        return cls()

    def render(self, task: SceneTask, folder: Path, manifest: dict, progress: Progress, make: Make) -> list[Path]:
        """Writes ``scene.mp4``, and further requested files, to ``folder``."""
        with TemporaryDirectory(prefix="affekt-scene-") as place:
            scene = Scene(task, Path(place), progress, make)
            samples, pace = scene.speech()
            curve = moved(task.emotion, task.lead, pace)
            total = round(np.ceil((task.lead + len(samples) / RATE + task.tail) * FPS)) / FPS
            speech = np.zeros(round(total * RATE), np.float32)
            begin = round(task.lead * RATE)
            speech[begin : begin + len(samples)] = samples
            pictures = scene.pictures(speech, curve)
            music = scene.music(total, curve)
            heard = None if "voice" in task.mute else np.stack((speech, speech))
            mix = mixed(heard, music, task.under, task.swell)
            active = spoken(np.stack((speech, speech)))
            return self._written(scene, folder, manifest, pictures, mix, active, chapters(curve))

    def clip(self, task: SceneTask, device: str = "auto") -> VideoClip:
        """The film of a task as a moviepy clip, from the cache or rendered now; frames are read on demand."""
        from gen.jobs.run import files_of

        return media.clip(files_of(task, device)[0])

    def _written(
        self, scene: Scene, folder: Path, manifest: dict, pictures, mix: Mix, active, marked: list[tuple[float, str]]
    ) -> list[Path]:
        task, film = scene.task, folder / f"scene.{scene.task.ending}"
        words = captions(task.text, active, FRAME) if task.captions or task.subtitles else []
        shown = words if task.captions else []
        how = {"codec": task.codec, "chapters": marked, "subtitles": words if task.subtitles else ()}
        count = round(mix.whole.shape[1] / RATE * FPS)
        tell = scene.stage("film")

        def with_progress():
            for number, frame in enumerate(media.exactly(captioned(pictures, shown, FPS), count)):
                tell(number / count, "editing the film")
                yield frame

        paths = media.write_video(film, with_progress(), FPS, mix.whole, RATE, manifest, **how)
        for ending, as_text in (("srt", srt), ("vtt", vtt)) if words else ():
            paths.append(folder / f"scene.{ending}")
            paths[-1].write_text(as_text(words), encoding="utf-8")
        for name, samples in (("speech", mix.speech), ("music", mix.music)) if task.stems else ():
            paths.append(folder / f"scene.{name}.wav")
            media.write_audio(paths[-1], samples, RATE, manifest)
        if task.parts:
            paths += self._parts(scene, folder, manifest, mix)
        return paths

    def _parts(self, scene: Scene, folder: Path, manifest: dict, mix: Mix) -> list[Path]:
        """Copies of the parts as they were made, and the piano's sound."""
        paths = []
        for name, made in scene.made.items():
            paths.append(folder / f"scene.{name}{made.suffix}")
            for source, target in ((made, paths[-1]), (sidecar(made), sidecar(paths[-1]))):
                shutil.copyfile(source, target)
        if "piano" in scene.made and mix.music is not None:
            paths.append(folder / "scene.piano.mp3")
            media.write_audio(paths[-1], mix.music, RATE, manifest)
        return paths


class Scene:
    """The parts of one scene, rendered on demand; ``place`` is a folder for temporary files."""

    def __init__(self, task: SceneTask, place: Path, progress: Progress, make: Make):
        self.task, self.place, self.progress, self.make = task, place, progress, make
        self.made: dict[str, Path] = {}  # what was made, by the name that its file gets

    def stage(self, part: str) -> Progress:
        """Maps the progress of a part to that of the scene."""
        low, high = STAGES[part]
        return lambda share, text: self.progress(low + (high - low) * share, text)

    def speech(self) -> tuple[np.ndarray, float]:
        """The speech (n,) at RATE, and its duration relative to the recording."""
        task = self.task
        if task.voice:
            return media.read_audio(task.voice, RATE)[0], 1.0
        source = task.audio
        if source is None:
            from apps.scene.reading import read_aloud

            source = self.place / "read.wav"
            media.write_audio(source, *read_aloud(task.text))
        voice = VoiceTask(source=source, emotion=task.emotion, model=task.voice_model, **task.shared("voice"))
        self.made["voice"] = self.make(voice, self.stage("voice"))[0]
        samples = media.read_audio(self.made["voice"], RATE)[0]
        before, rate = media.read_audio(source)
        return samples, len(samples) / RATE / (len(before) / rate)

    def pictures(self, speech: np.ndarray, curve: EmotionCurve):
        """Frames (h, w, 3) uint8 of the face from the start of the scene."""
        task = self.task
        if not task.drawn:
            frames, _ = media.read_video(task.portrait, FPS)
            first = next(frames)
            usual = {name: SceneTask.model_fields[name].default for name in FRAME_OF_A_PICTURE}
            if asked := [name for name in usual if getattr(task, name) != usual[name]]:
                note(
                    f"the film keeps its size of {first.shape[1]} x {first.shape[0]} pixels: "
                    f"{', '.join(asked)} {'applies' if len(asked) == 1 else 'apply'} to pictures only"
                )
            return chain(repeat(first, round(task.lead * FPS)), [first], frames)
        heard, how = self.place / "speech.wav", {}
        if "face" in task.mute:
            speech, how = np.zeros(round(STILL * RATE), np.float32), {"head_motion": 0, "blinks": False}
        media.write_audio(heard, speech / max(1.0, np.abs(speech).max()), RATE)
        frame = {name: getattr(task, name) for name in FRAME_OF_A_PICTURE}
        face = TalkTask(
            portrait=task.portrait,
            audio=heard,
            emotion=curve,
            label=False,
            model=task.face_model,
            **frame,
            **how,
            **task.shared("face"),
        )
        self.made["face"] = self.make(face, self.stage("face"))[0]
        return media.read_video(self.made["face"], FPS)[0]

    def music(self, total: float, curve: EmotionCurve) -> np.ndarray | None:
        """The music (2, n), as long as the scene, or None."""
        from music import synth

        if "music" in self.task.mute:
            return None
        given = self.task.music
        if given and given.suffix.lower() not in media.MIDI:
            sound = channels.stereo(media.read_audio(given, RATE, mono=False)[0], RATE, given.name)
        else:
            score = media.read_midi(given) if given else self.composed(total - RING, curve)
            self.stage("music")(0.7, "playing the piano")
            sound = synth.render(score, RATE)[:, round(sounding(score)[0] * RATE) :]
        length = round(total * RATE)
        sound = np.broadcast_to(sound[:2], (2, sound.shape[1]))[:, :length]
        return np.pad(sound, ((0, 0), (0, length - sound.shape[1])))

    def composed(self, seconds: float, curve: EmotionCurve):
        """Composes a piece, a ``symusic.Score``, and stretches its tempo so that its last bar ends with the scene."""
        bars = max(2, round(seconds / A_BAR))
        for _ in range(TRIES):
            piece = MusicTask(
                emotion=in_bars(curve, seconds / bars),
                bars=bars,
                audio=False,
                model=self.task.music_model,
                **self.task.shared("music"),
            )
            self.made["piano"] = self.make(piece, self.stage("music"))[0]
            score = media.read_midi(self.made["piano"])
            begin, end = sounding(score)
            ratio = seconds / (end - begin)
            if STRETCH[0] <= ratio <= STRETCH[1]:
                break
            bars = max(2, round(bars * ratio))
        ratio = float(np.clip(ratio, *STRETCH))
        for tempo in score.tempos:
            tempo.qpm /= ratio
        return score


def sounding(score) -> tuple[float, float]:
    """Start of the first note and end of the last, in seconds."""
    notes = [note for track in score.to("second").tracks for note in track.notes]
    return min(note.start for note in notes), max(note.start + note.duration for note in notes)


def moved(curve: EmotionCurve, lead: float, pace: float) -> EmotionCurve:
    """Maps a curve over the recording to the scene: delayed, and stretched like the speech."""
    keys = (key.model_copy(update={"at": lead + key.at * pace}) for key in curve.keyframes)
    return curve.model_copy(update={"keyframes": tuple(keys)})


def in_bars(curve: EmotionCurve, a_bar: float) -> EmotionCurve:
    """Converts a curve from seconds to bars."""
    keys = (key.model_copy(update={"at": round(key.at / a_bar, 3)}) for key in curve.keyframes)
    return curve.model_copy(update={"keyframes": tuple(keys), "unit": "bars"})
