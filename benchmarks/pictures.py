"""Draws the pictures of the README from the results of `make demo` with the shipped checkpoints.

python benchmarks/pictures.py out examples/pictures
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from apps.scene.evaluate import sheet
from gen import media
from gen.emotion.picture import COLOURS, INK, PAPER
from gen.evaluate.report import STYLE
from voice_conversion import features

EMOTIONS = ("happy", "sad", "anger", "tender")
OWN = COLOURS | {"tender": "#3f9a78"}
MOMENTS = (0.35, 1.0, 1.9, 2.5)  # seconds
EXAMPLES = Path(__file__).parent.parent / "examples"


def main() -> None:
    rendered, out = map(Path, sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE | {"savefig.facecolor": PAPER, "axes.facecolor": PAPER, "text.color": INK}):
        for name, figure in (("faces", faces(rendered)), ("piano", piano(rendered)), ("voice", voice(rendered))):
            save(drawn(figure), out / f"{name}.webp")
    save(sheet(next((rendered / "scene").glob("*.mp4")), columns=6, count=6, side=200), out / "scene.webp")


def faces(rendered: Path) -> Figure:
    """A row of frames for each emotion."""
    figure = Figure(figsize=(8.4, 8.6))
    grid = figure.subplots(len(EMOTIONS), len(MOMENTS), gridspec_kw={"wspace": 0.03, "hspace": 0.03})
    for row, emotion in zip(grid, EMOTIONS):
        frames = list(media.read_video(rendered / "face" / f"{emotion}.mp4")[0])
        for axes, moment in zip(row, MOMENTS):
            axes.imshow(frames[min(round(moment * 25), len(frames) - 1)])
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(emotion, color=OWN[emotion], fontsize=13, fontweight="bold")
    return figure


def piano(rendered: Path) -> Figure:
    """A piano roll for each emotion, on a common scale."""
    figure = Figure(figsize=(9.6, 4.6))
    grid = figure.subplots(2, 2, sharex=True, sharey=True, gridspec_kw={"wspace": 0.04, "hspace": 0.22})
    for axes, emotion in zip(grid.flat, EMOTIONS):
        score = media.read_midi(rendered / "piano" / f"{emotion}.mid").to("second")
        notes = [note for track in score.tracks for note in track.notes]
        for note in notes:
            axes.barh(
                note.pitch,
                note.duration,
                left=note.start,
                height=0.85,
                color=OWN[emotion],
                lw=0,
                alpha=0.25 + 0.75 * note.velocity / 127,
            )
        axes.set_title(emotion, color=OWN[emotion], loc="left")
        axes.set(ylim=(28, 98), yticks=[36, 48, 60, 72, 84], yticklabels=["C2", "C3", "C4", "C5", "C6"])
    for axes in grid[1]:
        axes.set_xlabel("seconds")
    return figure


def voice(rendered: Path) -> Figure:
    """Pitch over time of the recording and of its conversions."""
    figure = Figure(figsize=(9.6, 3.0))
    axes = figure.add_subplot()
    sounds = {"the recording": EXAMPLES / "line.opus"} | {e: rendered / "voice" / f"{e}.wav" for e in EMOTIONS}
    for name, path in sounds.items():
        hertz = features.track(media.read_audio(path, features.RATE)[0])
        times = np.arange(len(hertz)) * features.HOP / features.RATE
        axes.plot(
            times,
            np.where(hertz > 0, hertz, np.nan),
            color=OWN.get(name, "#999999"),
            label=name,
            lw=1.2 if name == "the recording" else 2,
        )
    axes.set(yscale="log", ylabel="pitch, Hz", xlabel="seconds", yticks=[75, 100, 150, 200, 300])
    axes.set_yticks([], minor=True)
    axes.get_yaxis().set_major_formatter("{x:g}")
    axes.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.16))
    return figure


def drawn(figure: Figure) -> np.ndarray:
    """A figure's pixels (h, w, 3)."""
    import io

    file = io.BytesIO()
    figure.savefig(file, dpi=100)
    return np.asarray(Image.open(file).convert("RGB"))


def save(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(pixels).save(path, quality=82, method=6)


if __name__ == "__main__":
    main()
