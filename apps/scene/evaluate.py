"""``affekt evaluate scene``: loudness, ducking, audio-video sync and speed of scenes, on real inputs."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from apps.scene import measures, sound
from apps.scene.task import SceneTask
from gen import loudness, media
from gen.emotion.spec import EmotionCurve
from gen.errors import RenderError
from gen.evaluate.report import COLOURS, STYLE, Report
from gen.generator import Bar
from gen.jobs.cache import Cache
from gen.jobs.plan import plan_tasks
from gen.jobs.run import run

CLAPS = (0.4, 1.28, 2.0, 3.16)  # times of the test claps in seconds of speech
FRAME = 1 / 25  # seconds
BARS = {"loudness": 1.0, "over": 10.0, "offset": FRAME}  # LU around the target, LU, s


class Settings(NamedTuple):
    """The ``--set`` options."""

    portrait: str = "examples/grace_hopper.jpg"
    audio: str = "examples/line.opus"
    emotions: str = "happy @ 1.2; sad; anger; 0: fear, 3: tender"  # separated by ;
    size: int = 256
    device: str = "auto"
    seed: int = 1


class Made(NamedTuple):
    """A scene's emotion, its files, and its rendering time in seconds."""

    emotion: str
    film: Path
    seconds: float

    def stem(self, name: str) -> Path:
        return self.film.with_suffix(f".{name}.wav")


class SceneEvaluator:
    """``affekt evaluate scene``; the films are written beside the report."""

    def __init__(self, settings: Settings, out: Path):
        self.settings, self.out = settings, out
        self.report = Report("Scenes", "Loudness, ducking and audio-video sync of films with voice, face and piano.")

    def run(self) -> Report:
        measure(self.report, self.settings, self.out)
        return self.report

    def summary(self) -> list[Bar]:
        return self.report.bars


def measure(report: Report, chosen: Settings, out: Path) -> None:
    """Writes all sections of the report."""
    made = [_scene(chosen, emotion.strip(), out) for emotion in chosen.emotions.split(";")]
    found = [measures.levels(one.film, one.stem("speech"), one.stem("music")) for one in made]
    with TemporaryDirectory() as place:
        offsets = [_clap(Path(place), at, chosen) for at in CLAPS]
    worst = max(abs(one.whole - sound.TARGET) for one in found)
    report.bar("loudness, LU off the target", worst, at_most=BARS["loudness"])
    report.bar("speech over music, LU, minimum over scenes", min(o.over for o in found), at_least=BARS["over"])
    report.bar("audio-video offset, seconds", max(map(abs, offsets)), at_most=BARS["offset"])
    report.section("Bars")
    report.table(
        "Targets",
        ["bar", "measured", ""],
        [
            [f"{sound.TARGET:g} LUFS ± 1 (ITU-R BS.1770-4)", f"at most {worst:.2f} LU off", worst <= BARS["loudness"]],
            [
                "speech at least 10 LU over the music",
                f"least {min(one.over for one in found):.1f} LU",
                min(one.over for one in found) >= BARS["over"],
            ],
            [
                "audio-video offset within one frame (40 ms)",
                f"farthest {1000 * max(map(abs, offsets)):.0f} ms",
                max(map(abs, offsets)) <= BARS["offset"],
            ],
        ],
        "Loudness is measured on the finished MP4. Sync: a film with a simultaneous flash and clap is rendered as "
        f"portrait and speech, at {len(CLAPS)} times.",
    )
    report.section("Each scene", f"`{chosen.audio}`, {chosen.size} pixels, seed {chosen.seed}.")
    rows = [[one.emotion, *levels, one.seconds] for one, levels in zip(made, found, strict=True)]
    heads = ["emotion", "loudness, LUFS", "speech over music, LU", "worst 3 s, LU", "true peak, dB", "rendering, s"]
    report.table("Scenes", heads, rows)
    for one in made:
        report.figure(curves(one), f"{one.emotion}: loudness of 0.4 s windows; grey: speech.")
        report.picture(_png(sheet(one.film)), f"{one.emotion}: twelve frames from start to end.")


def _scene(chosen: Settings, emotion: str, out: Path) -> Made:
    task = SceneTask(
        portrait=Path(chosen.portrait).absolute(),
        audio=Path(chosen.audio).absolute(),
        stems=True,
        emotion=EmotionCurve.parse(emotion),
        size=chosen.size,
        seed=chosen.seed,
    )
    start = time.perf_counter()
    film = _rendered(task, out, "".join(c if c.isalnum() else "-" for c in emotion), chosen.device)
    return Made(emotion, film, time.perf_counter() - start)


def _clap(place: Path, at: float, chosen: Settings) -> float:
    film, clap = measures.clapper(place, at)
    task = SceneTask(portrait=film, voice=clap, mute=("music",), lead=0.6, tail=0.4, label=False)
    return measures.offset(_rendered(task, place / "out", f"clap-{at:g}", chosen.device))


def _rendered(task: SceneTask, out: Path, name: str, device: str) -> Path:
    """Renders the film without the cache, to measure its time."""
    failed: list[str] = []

    def report(event) -> None:
        if event.state == "failed":
            failed.append(event.message)

    with TemporaryDirectory() as fresh:
        run(plan_tasks({name: task}), out, Cache(Path(fresh)), report, device=device)
    if failed:
        raise RenderError(failed[0])
    return out / f"{name}.mp4"


def curves(made: Made):
    """A figure of loudness over time."""
    import matplotlib
    from matplotlib.figure import Figure

    parts = {"the film": made.film, "speech": made.stem("speech"), "music": made.stem("music")}
    heard = {name: media.read_audio(path, mono=False) for name, path in parts.items()}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 2.8))
        axes = figure.add_subplot()
        active = sound.spoken(heard["speech"][0])
        times = np.arange(len(active)) * sound.FRAME
        axes.fill_between(times, -60, np.where(active, 0, -60), color="#eeeeee", step="mid", lw=0)
        for (name, (samples, rate)), colour in zip(heard.items(), ("#333333", COLOURS[0], COLOURS[2])):
            blocks = loudness.momentary(samples, rate)
            place = np.arange(len(blocks)) * loudness.STEP + loudness.BLOCK / 2
            axes.plot(place, blocks, label=name, color=colour, lw=0.8 if name == "the film" else 2)
        axes.axhline(sound.TARGET, color="#999999", lw=0.8, ls="--")
        axes.set(ylim=(-50, -5), xlim=(0, times[-1]), xlabel="seconds", ylabel="LUFS")
        axes.legend(ncols=3, loc="lower center")
    return figure


def sheet(film: Path, columns: int = 6, count: int = 12, side: int = 192) -> np.ndarray:
    """Frames of a film in a grid, (h, w, 3) uint8."""
    from PIL import Image

    frames = list(media.read_video(film)[0])
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)]
    small = [np.asarray(Image.fromarray(x).resize((side, side * x.shape[0] // x.shape[1]))) for x in chosen]
    return np.concatenate([np.concatenate(small[i : i + columns], 1) for i in range(0, count, columns)])


def _png(pixels: np.ndarray) -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", optimize=True)
    return file.getvalue()
