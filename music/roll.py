"""A piece as a picture: its piano roll, and above it the emotion that was asked for."""

from pathlib import Path

import numpy as np

LOUDNESS = ("#c6d4de", "#86abc6", "#3f7cac", "#26507a", "#16263d")  # soft to loud
SOFT, LOUD = 20, 110  # the velocities at the ends of that scale
BLACK = (1, 3, 6, 8, 10)  # pitch classes of the black keys


def draw(piece, path: str | Path, title: str = "", beats=None, emotion_curve=None) -> None:
    """Write the roll of ``piece`` to ``path`` (PNG, or what the suffix says).

    ``piece``: a symusic.Score, or notes (n, 4) of start s, end s, pitch, velocity. ``beats``: (m,) seconds from a
    downbeat on, of which every fourth begins a bar. ``emotion_curve``: a gen.emotion.spec.EmotionCurve; one in bars
    needs the beats.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from gen.emotion.picture import INK, PAPER

    notes = np.asarray(piece, float) if hasattr(piece, "__array__") else notes_of(piece)
    end = max(notes[:, 1].max(initial=1.0), 0 if beats is None else float(np.max(beats)))
    width = float(np.clip(3 + 0.26 * end, 8, 18))
    figure = Figure(figsize=(width, 4.6), facecolor=PAPER, dpi=150)
    FigureCanvasAgg(figure)
    left, span = 0.55 / width, 1 - 1.45 / width
    roll = figure.add_axes((left, 0.125, span, 0.665 if emotion_curve else 0.765))
    _keys(roll, notes)
    if beats is not None:
        _lines(roll, np.asarray(beats, float))
    _notes(roll, notes, figure.add_axes((1 - 0.78 / width, 0.125, 0.11 / width, 0.3)))
    roll.set_xlim(0, end)
    roll.set_xlabel("seconds", color=INK, fontsize=9)
    if emotion_curve:
        _ribbon(figure.add_axes((left, 0.805, span, 0.085)), emotion_curve, end, beats)
    figure.text(left, 0.945, title, fontsize=13, color=INK, weight="bold", va="center")
    figure.savefig(path, facecolor=PAPER)


def notes_of(score) -> np.ndarray:
    """(n, 4) start s, end s, pitch, velocity of every track of a symusic.Score but drums."""
    tracks = [track for track in score.to("second").tracks if not track.is_drum]
    rows = [(n.start, n.start + n.duration, n.pitch, n.velocity) for track in tracks for n in track.notes]
    return np.array(rows, float).reshape(-1, 4)


def _keys(axes, notes: np.ndarray) -> None:
    """Rows for the keys in use, black ones shaded, with a line and a name for each C."""
    from gen.emotion.picture import INK, PALE

    low = min(notes[:, 2].min(initial=48), 48) - 2
    high = max(notes[:, 2].max(initial=72), 72) + 2
    for pitch in range(int(low), int(high) + 1):
        if pitch % 12 in BLACK:
            axes.axhspan(pitch - 0.5, pitch + 0.5, color="#f0f1ef", lw=0, zorder=0)
        if pitch % 12 == 0:
            axes.axhline(pitch - 0.5, color=PALE, lw=0.7, alpha=0.7, zorder=1)
    octaves = [pitch for pitch in range(0, 128, 12) if low <= pitch <= high]
    axes.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves])
    axes.set_ylim(low, high)
    axes.tick_params(colors=INK, labelsize=9, length=0)
    axes.spines[:].set_visible(False)
    axes.set_facecolor("white")


def _lines(axes, beats: np.ndarray) -> None:
    """Fine lines at the beats, where they do not crowd, stronger ones at the bars; every fourth bar has a number."""
    from gen.emotion.picture import PALE

    bars = beats[::4]
    if len(beats) <= 80:
        for beat in beats:
            axes.axvline(beat, color="#e7e9e8", lw=0.6, zorder=0.5)
    for number, bar in enumerate(bars):
        axes.axvline(bar, color="#c9cfd3", lw=0.8, zorder=0.6)
        if number % 4 == 0:
            axes.annotate(
                str(number + 1),
                (bar, 1),
                (2, -3),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                va="top",
                fontsize=7,
                color=PALE,
            )


def _notes(axes, notes: np.ndarray, scale) -> None:
    """Bars coloured by velocity, and their scale."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    from gen.emotion.picture import INK

    colour = ScalarMappable(Normalize(SOFT, LOUD, clip=True), LinearSegmentedColormap.from_list("loudness", LOUDNESS))
    start, end, pitch, velocity = notes[np.argsort(notes[:, 3], kind="stable")].T
    axes.barh(
        pitch, end - start, 0.86, start, color=colour.to_rgba(velocity), edgecolor="white", linewidth=0.35, zorder=3
    )
    bar = axes.figure.colorbar(colour, cax=scale, ticks=(SOFT, 65, LOUD))
    bar.outline.set_visible(False)
    scale.tick_params(colors=INK, labelsize=8, length=0)
    scale.set_title("velocity", fontsize=8, color=INK, loc="left", pad=6)


def _ribbon(axes, curve, end: float, beats) -> None:
    """The curve over time: the emotions' shares as colours, as high as the intensity."""
    from gen.emotion.picture import COLOURS, INK
    from gen.emotion.spec import CANONICAL

    seconds = np.linspace(0, end, 600)
    times = seconds
    if curve.unit == "bars" and len(curve.keyframes) > 1:
        bars = np.asarray(beats, float)[::4]
        times = np.interp(seconds, bars, np.arange(len(bars)))
    samples = curve.sample(times)
    heights = samples.weights * samples.intensity[:, None]
    axes.stackplot(seconds, heights.T, colors=[COLOURS[name] for name in CANONICAL], alpha=0.9, lw=0)
    main = samples.weights.argmax(1)
    edges = np.flatnonzero(np.diff(main)) + 1
    for first, last in zip((0, *edges), (*edges, len(main))):
        if seconds[last - 1] - seconds[first] > 0.06 * end:
            middle = (first + last) // 2
            axes.text(
                seconds[middle],
                heights[middle].sum() / 2,
                CANONICAL[main[middle]],
                ha="center",
                va="center",
                fontsize=8,
                color="white",
                weight="bold",
            )
    axes.set_xlim(0, end)
    axes.set_ylim(0, max(1.0, float(samples.intensity.max())))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_ylabel("asked", fontsize=8, color=INK, rotation=0, ha="right", va="center")
    axes.spines[:].set_visible(False)
    axes.set_facecolor("none")
