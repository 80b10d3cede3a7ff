"""Plots of the embedding: the plane in which emotions differ most, and confusion matrices."""

import numpy as np

from gen.evaluate.report import STYLE

COLOURS = {
    "neutral": "#9a9a9a",
    "happy": "#e8833a",
    "sad": "#4063a8",
    "surprise": "#d9a400",
    "fear": "#8a63b8",
    "disgust": "#6b8f2f",
    "anger": "#c8324b",
    "contempt": "#a5673f",
    "calm": "#3f9a78",
    "bored": "#6a7f8c",
    "Q1": "#f3b98a",
    "Q2": "#e08f9c",
    "Q3": "#9fb1d6",
    "Q4": "#9dcbb8",
}
FEW = 20  # clips: smaller classes are drawn, but do not influence the choice of the plane
MARKS = {"voice": "o", "face": "^", "music": "s"}


def plane(mu: dict[str, np.ndarray], labels: dict[str, np.ndarray], points: dict[str, np.ndarray]):
    """A figure of means (n e) by modality, coloured by label (n,): the clips, and the average of each label and
    modality, with arrows for the directions in which points (n 3) rise.
    """
    from matplotlib.figure import Figure
    from matplotlib.style import context

    rows, tags = np.concatenate([*mu.values()]), np.concatenate([*labels.values()])
    means = np.stack([rows[tags == name].mean(0) for name in COLOURS if (tags == name).sum() >= FEW])
    centre = means.mean(0)
    axes = np.linalg.svd(means - centre, full_matrices=False)[2][:2].T
    flat = {kind: (own - centre) @ axes for kind, own in mu.items()}
    with context(STYLE):
        figure = Figure(figsize=(12, 5.6))
        clips, middles = figure.subplots(1, 2)
        _clips(clips, flat, labels)
        spots, every = _middles(middles, flat, labels), np.concatenate([*flat.values()])
        _arrows(middles, every, np.concatenate([*points.values()]), 0.62 * np.abs(spots).max())
        for plot, shown, title in ((clips, every, "Held-out clips"), (middles, spots, "Their means")):
            low, high = np.quantile(shown, [0.005, 0.995], axis=0)
            edge = 0.13 * (high - low)
            plot.set(xticks=[], yticks=[], title=title)
            plot.set_xlim(low[0] - edge[0], high[0] + edge[0])
            plot.set_ylim(low[1] - edge[1], high[1] + edge[1])
        figure.tight_layout()
    return figure


def _clips(plot, flat: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> None:
    for kind, own in flat.items():
        for name in COLOURS:
            some = own[labels[kind] == name]
            plot.scatter(
                *some.T,
                s=42 if kind == "face" else 10,
                marker=MARKS[kind],
                c=COLOURS[name],
                alpha=0.6,
                linewidths=0.6,
                edgecolors="#222222" if kind == "face" else "none",
            )
    for kind, mark in MARKS.items():
        plot.scatter([], [], marker=mark, c="#666666", label=kind)
    plot.legend(loc="best")


def _middles(plot, flat: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> np.ndarray:
    """Draws marks at the averages and returns them (m 2); labels go where there is most room."""
    spots = [
        (kind, name, flat[kind][labels[kind] == name].mean(0))
        for kind in flat
        for name in COLOURS
        if (labels[kind] == name).any()
    ]
    span = np.ptp([at for *_, at in spots], axis=0)
    taken = [at / span for *_, at in spots]
    for kind, name, at in spots:
        plot.scatter(*at, s=70, marker=MARKS[kind], c=COLOURS[name], edgecolors="#222222", linewidths=0.7, zorder=3)
        angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        tries = at / span + np.stack([0.07 * np.cos(angles), 0.04 * np.sin(angles)], 1)
        room = [
            min(np.hypot(*((here - other) * (0.5, 1))) for other in taken if (other != at / span).any())
            for here in tries
        ]
        taken.append(best := tries[int(np.argmax(room))])
        plot.annotate(
            name,
            best * span,
            ha="center",
            va="center",
            fontsize=8.5,
            zorder=4,
            bbox={"fc": "white", "ec": "none", "alpha": 0.6, "pad": 0.4},
        )
    return np.stack([at for *_, at in spots])


def _arrows(plot, flat: np.ndarray, points: np.ndarray, reach: float) -> None:
    """Valence, arousal and dominance as directions in the plane, by least squares."""
    for name, value in zip(("valence", "arousal", "dominance"), points.T):
        known = np.isfinite(value)
        x, y = flat[known] - flat[known].mean(0), value[known] - value[known].mean()
        way = np.linalg.lstsq(x, y, rcond=None)[0]
        tip = way / np.linalg.norm(way) * reach
        plot.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "-|>", "color": "#777777", "lw": 1.4}, zorder=2)
        plot.annotate(name, tip * 1.15, ha="center", va="center", style="italic", color="#555555", zorder=2)


def confusion(tables: dict[str, tuple[np.ndarray, list[str]]]):
    """A figure of confusion matrices (k k) of counts; rows are true classes, normalised."""
    from matplotlib.figure import Figure
    from matplotlib.style import context

    with context(STYLE):
        figure = Figure(figsize=(4.1 * len(tables), 4.0))
        for plot, (title, (counts, names)) in zip(np.atleast_1d(figure.subplots(1, len(tables))), tables.items()):
            share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
            plot.imshow(share, cmap="Oranges", vmin=0, vmax=1)
            for i, j in np.ndindex(*share.shape):
                plot.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=7.5)
            ticks = range(len(names))
            plot.set(title=title, xlabel="predicted", xticks=ticks, yticks=ticks)
            plot.set_xticklabels(names, rotation=60)
            plot.set_yticklabels(names)
            plot.grid(False)
        figure.tight_layout()
    return figure
