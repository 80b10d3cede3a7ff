"""Measures of a finished scene: loudness, speech over music, audio-video sync."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from apps.scene import sound
from gen import media
from gen.loudness import loudness

SHORT = 3.0  # seconds: EBU's short-term loudness
FLASH, RATE = 25, 44100  # frames per second, Hz


class Levels(NamedTuple):
    """Loudness of a scene."""

    whole: float  # LUFS of the film
    over: float  # LU of speech over music during speech
    worst: float  # LU, the minimum over 3 s windows with mostly speech
    peak: float  # dBFS, with fourfold oversampling


def levels(film: Path, speech: Path, music: Path) -> Levels:
    """Measures a film and its stems (``stems: true``)."""
    import soxr

    whole, rate = media.read_audio(film, mono=False)
    voice, bed = (media.read_audio(path, rate, mono=False)[0] for path in (speech, music))
    active = sound.spoken(voice)
    over = sound.loudness_where(voice, active) - sound.loudness_where(bed, active)
    size, step = round(SHORT / sound.FRAME), round(0.5 / sound.FRAME)
    worst = over
    for start in range(0, max(1, len(active) - size + 1), step):
        part = slice(start, start + size)
        if active[part].mean() > 0.8:
            here = slice(round(start * sound.FRAME * rate), round((start + size) * sound.FRAME * rate))
            worst = min(worst, loudness(voice[:, here]) - loudness(bed[:, here]))
    peak = np.abs(soxr.resample(whole.T, rate, 4 * rate)).max()
    return Levels(loudness(whole, rate), over, worst, float(20 * np.log10(peak + 1e-12)))


def clapper(folder: Path, at: float, seconds: float = 4.0) -> tuple[Path, Path]:
    """Writes a film that flashes at ``at`` seconds, and speech-like noise with a clap at the same time."""
    film, clap = folder / f"flash-{at:g}.mp4", folder / f"clap-{at:g}.wav"
    dark, bright = (np.full((256, 256, 3), value, np.uint8) for value in (20, 235))
    count = round(seconds * FLASH)
    media.write_video(film, (bright if i == round(at * FLASH) else dark for i in range(count)), FLASH)
    hum = 0.02 * np.random.default_rng(0).standard_normal(round(seconds * RATE))
    start = round(at * RATE)
    hum[start : start + 400] = 0.9 * np.sign(np.sin(np.arange(400) * 0.3))
    media.write_audio(clap, hum.astype(np.float32), RATE)
    return film, clap


def offset(film: Path) -> float:
    """Seconds from the flash to the clap in a scene rendered from the files of :func:`clapper`."""
    frames, fps = media.read_video(film)
    light = np.array([frame.mean() for frame in frames])
    samples, rate = media.read_audio(film)
    power = np.convolve(np.square(samples), np.ones(400), "valid")
    return float(power.argmax() / rate - light.argmax() / fps)
