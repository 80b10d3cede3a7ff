"""Pictures of an evaluation: confusion, control curves, distributions by quadrant, copying."""

import numpy as np
from matplotlib.figure import Figure

from gen.evaluate.report import COLOURS

QUADRANT = ("Q1 happy, excited", "Q2 tense, angry", "Q3 sad, bored", "Q4 calm, content")


def confusion(found: dict[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Per origin (true (n,), told (n,)) quadrants: the share of each true quadrant that is told as each."""
    figure = Figure(figsize=(3.3 * len(found), 3.2), layout="tight")
    axes = figure.subplots(1, len(found), squeeze=False)
    for axis, (origin, (true, told)) in zip(axes[0], found.items(), strict=True):
        count = np.zeros((4, 4))
        np.add.at(count, (true, told), 1)
        share = count / np.maximum(count.sum(axis=1, keepdims=True), 1)
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.ndindex(4, 4):
            axis.text(j, i, f"{share[i, j]:.2f}", ha="center", va="center", color="w" if share[i, j] > 0.5 else "#333")
        names = ["Q1", "Q2", "Q3", "Q4"]
        axis.set(title=origin, xlabel="judged", ylabel="label", xticks=range(4), yticks=range(4))
        axis.set_xticklabels(names)
        axis.set_yticklabels(names)
        axis.grid(visible=False)
    return figure


def control(requested: np.ndarray, measured: dict[str, np.ndarray], name: str, colour: str) -> Figure:
    """Requested level (n,) against each measure (n,): single pieces and the mean of each level."""
    figure = Figure(figsize=(2.75 * len(measured), 2.6), layout="tight")
    axes = figure.subplots(1, len(measured), squeeze=False)
    levels = np.unique(requested)
    for axis, (measure, values) in zip(axes[0], measured.items(), strict=True):
        axis.plot(requested, values, ".", color=colour, alpha=0.35, markersize=4)
        axis.plot(levels, [values[requested == level].mean() for level in levels], color=colour, linewidth=2)
        axis.set(title=measure, xlabel=f"requested {name}", xlim=(-1.05, 1.05))
        if measure.startswith("judge"):
            axis.set_ylim(-0.03, 1.03)
    return figure


def following(rows: list[tuple[str, np.ndarray]], names: tuple[str, ...]) -> Figure:
    """Per request (text, (pieces, bars, measures)): the mean of each measure bar by bar, with its standard error."""
    figure = Figure(figsize=(4.4 * len(names), 2.8), layout="tight")
    axes = figure.subplots(1, len(names), squeeze=False)
    for (text, values), colour in zip(rows, COLOURS, strict=False):
        mean, error = values.mean(axis=0), values.std(axis=0) / np.sqrt(len(values))
        bars = np.arange(1, len(mean) + 1)
        for k, axis in enumerate(axes[0]):
            axis.plot(bars, mean[:, k], color=colour, label=text)
            axis.fill_between(bars, mean[:, k] - error[:, k], mean[:, k] + error[:, k], color=colour, alpha=0.15)
            axis.set(title=names[k], xlabel="bar")
    axes[0, 0].legend(fontsize=8)
    return figure


def violins(measures: dict[str, dict[str, list[np.ndarray]]]) -> Figure:
    """Per measure and origin four arrays, one per quadrant; at most two origins, side by side."""
    figure = Figure(figsize=(11, 5.4), layout="tight")
    axes = figure.subplots(2, (len(measures) + 1) // 2)
    for axis, (name, origins) in zip(axes.flat, measures.items(), strict=False):
        for shift, colour, (origin, groups) in zip((-0.2, 0.2), ("#9a9a9a", COLOURS[0]), origins.items(), strict=False):
            drawn = axis.violinplot(groups, np.arange(1, 5) + shift, widths=0.36, showextrema=False, showmedians=True)
            for body in drawn["bodies"]:
                body.set(facecolor=colour, alpha=0.55)
            drawn["cmedians"].set(color=colour)
            axis.plot([], [], color=colour, linewidth=6, alpha=0.55, label=origin)
        axis.set(title=name, xticks=range(1, 5))
        axis.set_xticklabels(["Q1", "Q2", "Q3", "Q4"])
    for axis in axes.flat[len(measures) :]:
        axis.axis("off")
    axes.flat[0].legend(fontsize=8)
    return figure


def shared_runs(found: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Per way of counting and origin: the share of pieces with a shared run of at least so many notes."""
    figure = Figure(figsize=(4.4 * len(found), 2.8), layout="tight")
    axes = figure.subplots(1, len(found), squeeze=False)
    for axis, (title, origins) in zip(axes[0], found.items(), strict=True):
        for (origin, longest), colour in zip(origins.items(), (COLOURS[0], "#555555", COLOURS[3]), strict=False):
            order = np.sort(longest)
            axis.step(order, 1 - np.arange(len(order)) / len(order), where="post", color=colour, label=origin)
        axis.axhline(0.05, color="#bbbbbb", linewidth=1, linestyle="--")
        axis.set(title=title, xlabel="longest shared run (notes)", ylabel="share of pieces", ylim=(0, 1.02))
    axes[0, 0].legend(fontsize=8)
    return figure
