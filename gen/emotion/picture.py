"""The plot of an emotion: the valence-arousal plane with the canonical emotions, and the emotion's mix."""

from pathlib import Path

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle

from gen.emotion import lexicon
from gen.emotion.spec import CANONICAL, QUADRANTS, Emotion, EmotionCurve

COLOURS = dict(
    zip(
        CANONICAL,
        ("#7d8597", "#e9a820", "#3f7cac", "#ee7b30", "#7a5195", "#5f9e4a", "#c8372d", "#8b5e3c"),
        strict=True,
    )
)
QUADRANT_COLOURS = ("#fffaec", "#fdf2f0", "#eff5fa", "#f0f8f2")
QUADRANT_NAMES = ("Q1  glad, excited", "Q2  angry, afraid", "Q3  sad, weary", "Q4  calm, tender")
INK, PALE, PAPER = "#22303c", "#8a97a3", "#fbfbf9"
HALO = [effects.withStroke(linewidth=3, foreground="white", alpha=0.85)]
CHARACTER, LINE = 0.0245, 0.052  # size of small text in units of the plane
SIDES = {
    "fear": "right",
    "disgust": "right",
    "anger": "left",
    "contempt": "left",
    "neutral": "below",
}  # side of each label
NEIGHBOURS, NEAR = 14, 0.6  # number of other words, and their maximum distance in VAD
MARKS = (0.5, 1.0, 1.5, 2.0)  # intensities marked on the ray


def draw(curve: EmotionCurve, path: str | Path) -> None:
    """Plots a curve, or its emotion if it is constant, to ``path``."""
    figure = Figure(figsize=(10.4, 6.4), facecolor=PAPER, dpi=150)
    FigureCanvasAgg(figure)
    plane = figure.add_axes((0.075, 0.095, 0.496, 0.806))
    mix = figure.add_axes((0.725, 0.47, 0.235, 0.36))
    quarter = figure.add_axes((0.725, 0.14, 0.235, 0.19))
    last = curve.keyframes[-1].emotion
    taken = _plane(plane)
    if len(curve.keyframes) == 1:
        _ray(plane, last, taken)
        title, weights, quadrants = str(last), last.weights(), last.quadrants()
    else:
        times = np.linspace(curve.keyframes[0].at, curve.keyframes[-1].at, 200)
        samples = curve.sample(times)
        _path(plane, curve, np.clip(samples.vad * samples.intensity[:, None], -1, 1), taken)
        title = str(curve)
        weights, quadrants = samples.weights.mean(0), lexicon.quadrants(samples.vad).mean(0)
    _neighbours(plane, np.clip(last.scaled(), -1, 1), taken)
    figure.text(0.075, 0.953, _short(title), fontsize=17, color=INK, weight="bold", va="center")
    _bars(mix, CANONICAL, weights, [COLOURS[name] for name in CANONICAL], "canonical mix")
    _bars(quarter, QUADRANTS, quadrants, ["#d9a400", "#cf5b4c", "#4b86b4", "#4f9d69"], "quadrants")
    _numbers(figure, last if len(curve.keyframes) == 1 else None)
    figure.savefig(path, facecolor=PAPER)


def _short(title: str) -> str:
    return title if len(title) <= 74 else title[:73] + "…"


def _plane(axes: Axes) -> list[tuple[float, float, float, float]]:
    """Draws the plane, its quadrants and the canonical emotions; returns the boxes occupied by text."""
    for (sx, sy), colour in zip(lexicon.QUADRANT_SIGN, QUADRANT_COLOURS, strict=True):
        axes.add_patch(Rectangle((0, 0), 1.08 * sx, 1.08 * sy, color=colour, lw=0, zorder=0))
    axes.axhline(0, color=PALE, lw=0.8, zorder=1)
    axes.axvline(0, color=PALE, lw=0.8, zorder=1)
    taken = []
    for (sx, sy), name in zip(lexicon.QUADRANT_SIGN, QUADRANT_NAMES, strict=True):
        side = "right" if sx > 0 else "left"
        axes.text(1.05 * sx, 1.03 * sy, name, ha=side, va="center", fontsize=8.5, color=PALE, style="italic")
        taken.append(_box(1.05 * sx, 1.03 * sy, name, side))
    for name in CANONICAL:
        term, colour = lexicon.terms()[name], COLOURS[name]
        x, y = term.mean[:2]
        axes.add_patch(Ellipse((x, y), *(2 * term.sd[:2]), facecolor=colour, alpha=0.07, lw=0, zorder=2))
        axes.add_patch(Ellipse((x, y), *(2 * term.sd[:2]), fill=False, edgecolor=colour, alpha=0.5, lw=0.9, zorder=2))
        axes.plot(x, y, "o", ms=5, color=colour, zorder=4)
        side = SIDES.get(name, "center")
        across, up = {"left": (0.035, 0), "right": (-0.035, 0), "center": (0, 0.058), "below": (0, -0.062)}[side]
        side = "center" if side == "below" else side
        label = axes.text(
            x + across, y + up, name, ha=side, va="center", fontsize=10, color=colour, weight="bold", zorder=6
        )
        label.set_path_effects(HALO)
        taken += [_box(x + across, y + up, name, side), (x - 0.02, y - 0.02, x + 0.02, y + 0.02)]
    axes.set(xlim=(-1.08, 1.08), ylim=(-1.08, 1.08), aspect="equal", facecolor="white")
    axes.set(xticks=(-1, -0.5, 0, 0.5, 1), yticks=(-1, -0.5, 0, 0.5, 1))
    axes.set_xlabel("unpleasant   ←   valence   →   pleasant", color=INK, fontsize=10)
    axes.set_ylabel("calm   ←   arousal   →   excited", color=INK, fontsize=10)
    _plain(axes)
    return taken


def _ray(axes: Axes, emotion: Emotion, taken: list) -> None:
    """Draws neutral, the point at the emotion's intensity, and marks of other intensities."""
    point, scaled = emotion.point()[:2], emotion.scaled()[:2]
    way = np.clip(np.linspace(0, 2, 101)[:, None] * point, -1.0, 1.0)
    done = np.clip(np.linspace(0, emotion.intensity, 101)[:, None] * point, -1.0, 1.0)
    axes.plot(*way.T, color=INK, lw=1, ls=(0, (2, 2)), alpha=0.55, zorder=5)
    axes.plot(*done.T, color=INK, lw=2.2, zorder=5, solid_capstyle="round")
    if np.hypot(*point) > 0.2:
        across = np.array([-point[1], point[0]]) / np.hypot(*point) * np.sign(point[0] * point[1] or 1)
        for mark in MARKS:
            here = np.clip(mark * point, -1.0, 1.0)
            beside = here + 0.055 * across
            axes.plot(*here, "o", ms=3.5, mfc="white", mec=INK, mew=0.9, zorder=6)
            if _clear(*beside, f"×{mark:g}", "center", taken):
                axes.text(*beside, f"×{mark:g}", ha="center", va="center", fontsize=7, color=INK, alpha=0.7, zorder=6)
                taken.append(_box(*beside, f"×{mark:g}", "center"))
    taken += [(x - 0.02, y - 0.02, x + 0.02, y + 0.02) for x, y in done[::3]]
    axes.plot(*scaled, "o", ms=13, mfc="white", mec=INK, mew=2.2, zorder=7)
    axes.plot(*scaled, "o", ms=6, color=_colour(emotion.weights()), zorder=8)
    taken.append((scaled[0] - 0.05, scaled[1] - 0.05, scaled[0] + 0.05, scaled[1] + 0.05))


def _path(axes: Axes, curve: EmotionCurve, line: np.ndarray, taken: list) -> None:
    """Draws the path of a curve, darker with time, with the time of each keyframe."""
    pieces = np.stack([line[:-1, :2], line[1:, :2]], axis=1)
    axes.add_collection(LineCollection(pieces, array=np.arange(len(pieces)), cmap="viridis_r", linewidths=3, zorder=5))
    unit = "s" if curve.unit == "seconds" else ""
    for key in curve.keyframes:
        x, y = key.emotion.scaled()[:2]
        text = f"{key.at:g}{unit}" if unit else f"bar {key.at:g}"
        side, across = ("left", 0.05) if x < 0.8 else ("right", -0.05)
        axes.plot(x, y, "o", ms=11, mfc="white", mec=INK, mew=2, zorder=7)
        axes.plot(x, y, "o", ms=5, color=_colour(key.emotion.weights()), zorder=8)
        label = axes.text(x + across, y - 0.05, text, ha=side, fontsize=9, color=INK, weight="bold", zorder=9)
        label.set_path_effects(HALO)
        taken += [(x - 0.05, y - 0.05, x + 0.05, y + 0.05), _box(x + across, y - 0.03, text, side)]
    taken += [(x - 0.02, y - 0.02, x + 0.02, y + 0.02) for x, y in line[::3, :2]]


def _neighbours(axes: Axes, point: np.ndarray, taken: list) -> None:
    """Draws the nearest other words where there is space."""
    words = [(np.linalg.norm(term.mean - point), word, term) for word, term in lexicon.terms().items()]
    shown = 0
    for distance, word, term in sorted(words, key=lambda item: item[0]):
        x, y = term.mean[:2]
        if (
            distance > NEAR
            or word in CANONICAL
            or word in QUADRANTS
            or word not in lexicon.measured()
            or lexicon.resolve(word) != word
        ):
            continue
        if _clear(x, y, word, "center", taken):
            axes.text(x, y, word, ha="center", va="center", fontsize=8, color=INK, alpha=0.7, zorder=3)
            taken.append(_box(x, y, word, "center"))
            shown += 1
        if shown == NEIGHBOURS:
            return


def _bars(axes: Axes, names: tuple[str, ...], values: np.ndarray, colours: list[str], title: str) -> None:
    rows = np.arange(len(names))[::-1]
    axes.barh(rows, values, color=colours, height=0.66)
    low, high = min(0.0, values.min() * 1.7), max(1.0, values.max()) * 1.2
    for row, value in zip(rows, values, strict=True):
        beside = 0.02 * (high - low) * (1 if value >= 0 else -1)
        side = "left" if value >= 0 else "right"
        strong = abs(value) >= 0.005
        axes.text(
            value + beside,
            row,
            f"{value:.2f}" if strong else "0",
            va="center",
            ha=side,
            fontsize=8.5,
            color=INK if strong else PALE,
        )
    axes.set_yticks(rows, names, fontsize=10, color=INK)
    axes.set(xlim=(low, high), xticks=[])
    axes.axvline(0, color=PALE, lw=0.8)
    axes.set_title(title, fontsize=10, color=PALE, loc="left", style="italic")
    axes.set_facecolor(PAPER)
    _plain(axes)


def _numbers(figure: Figure, emotion: Emotion | None) -> None:
    if emotion is None:
        figure.text(0.66, 0.06, "mix and quadrants: mean over the curve", fontsize=8.5, color=PALE, style="italic")
        return
    point = "   ".join(
        f"{axis} {value:+.2f}"
        for axis, value in zip(("valence", "arousal", "dominance"), emotion.scaled(), strict=True)
    )
    figure.text(0.66, 0.905, f"intensity {emotion.intensity:g}", fontsize=10.5, color=INK)
    figure.text(0.66, 0.06, point, fontsize=9.5, color=INK)


def _colour(weights: np.ndarray) -> str:
    return COLOURS[CANONICAL[int(weights.argmax())]]


def _plain(axes: Axes) -> None:
    axes.tick_params(length=0, labelsize=8.5, colors=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _box(x: float, y: float, text: str, side: str) -> tuple[float, float, float, float]:
    """The approximate box of small text: left, bottom, right, top."""
    width = CHARACTER * len(text) * (1.4 if text in CANONICAL else 1.0)
    left = {"left": x, "center": x - width / 2, "right": x - width}[side]
    return left, y - LINE / 2, left + width, y + LINE / 2


def _clear(x: float, y: float, text: str, side: str, taken: list) -> bool:
    left, bottom, right, top = _box(x, y, text, side)
    inside = max(abs(left), abs(right)) < 1.06 and max(abs(bottom), abs(top)) < 1.06
    return inside and all(right < l or r < left or top < b or t < bottom for l, b, r, t in taken)
