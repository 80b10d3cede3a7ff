"""A picture of what was done to a recording: spectrogram, pitch, pace and loudness of source and result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soxr

from gen import media
from voice_conversion import features
from voice_conversion.features import HOP, RATE

DEEP = 8.0  # nepers of the spectrogram below its loudest point
MOST = 60.0  # seconds that are drawn


def draw(source: np.ndarray, made: np.ndarray, rate: int, path: Path, manifest: dict | None = None) -> Path:
    """(c, s) and (c, t) samples -> a PNG at ``path``."""
    import torch
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((11, 6.4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    rows = figure.subplots(3, 1, gridspec_kw={"height_ratios": (3, 3, 1.2)})
    for axis, samples, name, colour in zip(rows, (source, made), ("source", "result"), ("#4063a8", "#c8324b")):
        plain = soxr.resample(np.atleast_2d(samples)[:, : int(MOST * rate)].mean(0), rate, RATE).astype(np.float32)
        plain = features.cut(plain)
        mel, hz = features.mel(torch.from_numpy(plain)[None])[0].numpy(), features.track(plain)
        seconds = np.arange(len(hz)) * HOP / RATE
        axis.imshow(
            mel.T,
            origin="lower",
            aspect="auto",
            cmap="Greys",
            vmin=mel.max() - DEEP,
            vmax=mel.max(),
            extent=(0, len(hz) * HOP / RATE, 0, len(mel.T)),
        )
        axis.set(ylabel=f"{name}, mel band", xlim=(0, seconds[-1]))
        pitch = axis.twinx()
        pitch.plot(seconds[hz > 0], hz[hz > 0], ".", color=colour, markersize=3)
        pitch.set(ylabel="pitch, Hz", ylim=(50, 600))
        level = 8.686 * np.logaddexp.reduce(mel, axis=1)
        rows[2].plot(np.linspace(0, 1, len(level)), level, color=colour, label=f"{name}, {seconds[-1]:.2f} s")
    rows[2].set(xlabel="share of the length", ylabel="loudness, dB", xlim=(0, 1))
    rows[2].legend(loc="lower right", ncols=2)
    canvas.draw()
    media.write_image(path, np.asarray(canvas.buffer_rgba())[..., :3], manifest)
    return path
