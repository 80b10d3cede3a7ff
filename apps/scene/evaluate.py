"""``affekt evaluate scene``: loudness, ducking, picture against sound and speed of scenes, on real inputs."""

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

CLAPS = (0.4, 1.28, 2.0, 3.16)  # seconds of the speech at which the clapper claps
FRAME = 1 / 25  # seconds
BARS = {"loudness": 1.0, "over": 10.0, "offset": FRAME}  # LU around the target, LU, s


class Settings(NamedTuple):
    """What ``--set`` may change."""

    portrait: str = "examples/grace_hopper.jpg"
    audio: str = "examples/line.opus"
    emotions: str = "happy @ 1.2; sad; anger; 0: fear, 3: tender"  # with ; between
    size: int = 256
    device: str = "auto"
    seed: int = 1


class Made(NamedTuple):
    """A scene's emotion, its files, and the seconds it took."""

    emotion: str
    film: Path
    seconds: float

    def stem(self, name: str) -> Path:
        return self.film.with_suffix(f".{name}.wav")


class SceneEvaluator:
    """``affekt evaluate scene``; the films lie beside the report."""

    def __init__(self, settings: Settings, out: Path):
        self.settings, self.out = settings, out
        self.report = Report(
            "Scenes", "A voice in an emotion, a face that speaks it, a piano under it: is the film one?"
        )

    def run(self) -> Report:
        measure(self.report, self.settings, self.out)
        return self.report

    def summary(self) -> list[Bar]:
        return self.report.bars


def measure(report: Report, chosen: Settings, out: Path) -> None:
    """All sections of the report."""
    made = [_scene(chosen, emotion.strip(), out) for emotion in chosen.emotions.split(";")]
    found = [measures.levels(one.film, one.stem("speech"), one.stem("music")) for one in made]
    with TemporaryDirectory() as place:
        offsets = [_clap(Path(place), at, chosen) for at in CLAPS]
    worst = max(abs(one.whole - sound.TARGET) for one in found)
    report.bar("loudness, LU off the target", worst, at_most=BARS["loudness"])
    report.bar("speech over the music, LU, least of all scenes", min(o.over for o in found), at_least=BARS["over"])
    report.bar("picture and sound, seconds apart", max(map(abs, offsets)), at_most=BARS["offset"])
    report.section("Bars")
    report.table(
        "What a scene must be", ["bar", "measured", ""],
        [
            [f"{sound.TARGET:g} LUFS ± 1 (ITU-R BS.1770-4)", f"farthest {worst:.2f} LU off", worst <= BARS["loudness"]],
            ["speech at least 10 dB over the music", f"least {min(one.over for one in found):.1f} LU",
             min(one.over for one in found) >= BARS["over"]],
            ["picture and sound within one frame (40 ms)", f"farthest {1000 * max(map(abs, offsets)):.0f} ms",
             max(map(abs, offsets)) <= BARS["offset"]],
        ],
        "Loudness is read from the finished MP4. Picture against sound: a flash and a clap at the same moment go "
        f"through the whole scene as film and speech, at {len(CLAPS)} moments.",
    )  # fmt: skip
    report.section("Each scene", f"`{chosen.audio}`, {chosen.size} pixels, seed {chosen.seed}.")
    rows = [[one.emotion, *levels, one.seconds] for one, levels in zip(made, found, strict=True)]
    heads = ["emotion", "loudness, LUFS", "speech over music, LU", "worst 3 s, LU", "true peak, dB", "seconds to make"]
    report.table("Scenes", heads, rows)
    for one in made:
        report.figure(curves(one), f"{one.emotion}: loudness of 0.4 s each; grey is where somebody speaks.")
        report.picture(_png(sheet(one.film)), f"{one.emotion}: twelve frames, from the first to the last.")


def _scene(chosen: Settings, emotion: str, out: Path) -> Made:
    task = SceneTask(portrait=Path(chosen.portrait).absolute(), audio=Path(chosen.audio).absolute(), stems=True,
                     emotion=EmotionCurve.parse(emotion), size=chosen.size, seed=chosen.seed)  # fmt: skip
    start = time.perf_counter()
    film = _rendered(task, out, "".join(c if c.isalnum() else "-" for c in emotion), chosen.device)
    return Made(emotion, film, time.perf_counter() - start)


def _clap(place: Path, at: float, chosen: Settings) -> float:
    film, clap = measures.clapper(place, at)
    task = SceneTask(portrait=film, voice=clap, mute=("music",), lead=0.6, tail=0.4, label=False)
    return measures.offset(_rendered(task, place / "out", f"clap-{at:g}", chosen.device))


def _rendered(task: SceneTask, out: Path, name: str, device: str) -> Path:
    """The film, made anew: nothing is taken from a cache, so that its time counts."""
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
    """A figure of the loudness over time."""
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
    """Frames of a film side by side, (h, w, 3) uint8."""
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
