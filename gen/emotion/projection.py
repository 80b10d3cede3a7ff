"""Pictures of the embedding: its plane of most difference between emotions, and confusion matrices."""

import numpy as np

from gen.evaluate.report import STYLE

COLOURS = {
    "neutral": "#9a9a9a", "happy": "#e8833a", "sad": "#4063a8", "surprise": "#d9a400", "fear": "#8a63b8",
    "disgust": "#6b8f2f", "anger": "#c8324b", "contempt": "#a5673f", "calm": "#3f9a78", "bored": "#6a7f8c",
    "Q1": "#f3b98a", "Q2": "#e08f9c", "Q3": "#9fb1d6", "Q4": "#9dcbb8",
}  # fmt: skip
FEW = 20  # clips: a class of fewer is drawn, but has no say in the choice of the plane
MARKS = {"voice": "o", "face": "^", "music": "s"}


def plane(mu: dict[str, np.ndarray], labels: dict[str, np.ndarray], points: dict[str, np.ndarray]):
    """A figure of means (n e) by modality, coloured by label (n,), with arrows along which points (n 3) rise."""
    from matplotlib.figure import Figure
    from matplotlib.style import context

    rows, tags = np.concatenate([*mu.values()]), np.concatenate([*labels.values()])
    names = [name for name in COLOURS if (tags == name).sum() >= FEW]
    means = np.stack([rows[tags == name].mean(0) for name in names])
    centre = means.mean(0)
    axes = np.linalg.svd(means - centre, full_matrices=False)[2][:2].T
    flat = {kind: (own - centre) @ axes for kind, own in mu.items()}
    with context(STYLE):
        figure = Figure(figsize=(7.5, 5.6))
        plot = figure.subplots()
        for kind, own in flat.items():
            for name in COLOURS:
                some = own[labels[kind] == name]
                plot.scatter(*some.T, s=42 if kind == "face" else 9, marker=MARKS[kind], c=COLOURS[name], alpha=0.55,
                             linewidths=0.6, edgecolors="#222222" if kind == "face" else "none")  # fmt: skip
        for name in names:
            plot.annotate(name, (means[names.index(name)] - centre) @ axes, weight="bold", ha="center", fontsize=9,
                          bbox={"fc": "white", "ec": COLOURS[name], "alpha": 0.8, "pad": 1.5})  # fmt: skip
        _arrows(plot, np.concatenate([*flat.values()]), np.concatenate([*points.values()]))
        for kind, mark in MARKS.items():
            plot.scatter([], [], marker=mark, c="#666666", label=kind)
        plot.legend(loc="best")
        spots = np.concatenate([*flat.values()])
        low, high = np.quantile(spots, [0.005, 0.995], axis=0)
        edge = 0.2 * (high - low)
        plot.set_xlim(low[0] - edge[0], high[0] + edge[0])
        plot.set_ylim(low[1] - edge[1], high[1] + edge[1])
        plot.set(xticks=[], yticks=[], title="Held-out voices, faces and music in one space")
    return figure


def _arrows(plot, flat: np.ndarray, points: np.ndarray) -> None:
    """Valence, arousal and dominance as directions in the plane, by least squares where they are known."""
    reach = 0.55 * np.quantile(np.abs(flat), 0.99)
    for name, value in zip(("valence", "arousal", "dominance"), points.T):
        known = np.isfinite(value)
        x, y = flat[known] - flat[known].mean(0), value[known] - value[known].mean()
        way = np.linalg.lstsq(x, y, rcond=None)[0]
        tip = way / np.linalg.norm(way) * reach
        plot.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "-|>", "color": "#333333", "lw": 1.4})
        plot.annotate(name, tip * 1.12, ha="center", va="center", style="italic", color="#333333",
                      bbox={"fc": "white", "ec": "none", "alpha": 0.7, "pad": 0.8}, annotation_clip=False)  # fmt: skip


def confusion(tables: dict[str, tuple[np.ndarray, list[str]]]):
    """A figure of confusion matrices (k k) of counts, rows true, as shares of each row."""
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
            plot.set(title=title, xlabel="told", xticks=ticks, yticks=ticks)
            plot.set_xticklabels(names, rotation=60)
            plot.set_yticklabels(names)
            plot.grid(False)
        figure.tight_layout()
    return figure
