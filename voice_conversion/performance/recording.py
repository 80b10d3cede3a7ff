"""A user's recording, at its own rate and with all its channels: where its phrases are, and how a change sounds.

c channels, s samples, n frames of 256 samples at 22,050 Hz.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gen.channels import middle
from gen.errors import InputError
from gen.loudness import loudness
from gen.notes import note
from voice_conversion import features, psola, separate
from voice_conversion.features import HOP, RATE
from voice_conversion.performance.lay import Change
from voice_conversion.performance.phrase import ACTIVE, EDGE, Phrase, phrase

LEAST = 0.2  # seconds
SILENCE = 1e-4  # RMS
PAUSE = 24  # frames of silence that end a phrase
LONG = 400  # frames: longer phrases are cut where they are quietest
SHORT = 20  # frames: shorter sounds are no phrase
UNDER = 3.2  # nepers (28 dB) below the loud frames: where hardly a frame is quieter, something sounds in the pauses
FINE = 44_100  # Hz, the least at which periods are placed
FADE = 2  # frames over which pieces are joined


class Recording(NamedTuple):
    """Analysis of a recording: samples, frames, median pitch and phrases."""

    samples: np.ndarray  # (c, s)
    rate: int
    plain: np.ndarray  # (n HOP,) one channel at 22,050 Hz, at the loudness that features are measured at
    whole: Phrase
    median: float  # log2 Hz
    spans: list[tuple[int, int]]  # first frame and the one after the last of each phrase

    def cuts(self) -> list[int]:
        """Frames at which the recording is cut into pieces with a phrase each: the middles between phrases."""
        inner = [(before[1] + after[0]) // 2 for before, after in zip(self.spans, self.spans[1:])]
        return [0, *inner, len(self.whole.hz)]

    @property
    def under(self) -> bool:
        """True if music or noise sounds in the pauses."""
        level = np.logaddexp.reduce(2 * self.whole.mel, axis=1) / 2
        return bool(np.quantile(level, 0.04) > np.quantile(level, 0.95) - UNDER)


def heard(samples: np.ndarray, rate: int) -> Recording:
    """(c, s) samples -> what is known of them. Raises InputError where there is no voice to change."""
    import soxr
    import torch

    if samples.shape[1] < LEAST * rate:
        raise InputError(f"the recording is {samples.shape[1] / rate:.2f} s long: give at least {LEAST} s")
    mono = middle(samples)[0]
    plain = mono if rate == RATE else soxr.resample(mono, rate, RATE)
    plain = features.cut(np.ascontiguousarray(plain, np.float32))
    loud = features.loudness(plain)
    if loud < SILENCE:
        raise InputError("the recording is silent: give one with a voice in it")
    plain = plain * (features.LOUD / loud)
    mel = features.mel(torch.from_numpy(plain)[None])[0].numpy()
    hz = features.track(plain)
    if not (hz > 0).any():
        raise InputError("no voice is heard in the recording: give a recording of speech")
    whole = phrase(mel, hz)
    return Recording(samples, rate, plain, whole, float(np.median(whole.octave[hz > 0])), spans(whole.level))


def alone(samples: np.ndarray, rate: int, when: str = "auto") -> tuple[Recording, np.ndarray | None]:
    """Analysis of the voice in samples (c, s), and the music or noise under it (c, s), which is kept; None without such
    sound or without the package that separates them (a note says so). ``when``: see VoiceTask."""
    recording = heard(samples, rate)
    if when == "never" or (when == "auto" and not recording.under):
        return recording, None
    if when == "auto" and not separate.installed():
        note(
            "there is music or noise under the speech, which is changed along with it: give the voice alone, or run "
            "`pip install affekt[separate]`"
        )
        return recording, None
    note("there is music or noise under the speech: DeepFilterNet 3 separated them, and the speech alone is changed")
    voice = separate.voice(samples, rate)
    return heard(voice, rate), samples - voice


def spans(level: np.ndarray) -> list[tuple[int, int]]:
    """First and last frames of phrases: sound without a longer pause, long stretches cut where they are quietest."""
    active = np.flatnonzero(level > -ACTIVE)
    runs = np.split(active, np.flatnonzero(np.diff(active) > PAUSE) + 1)
    found, smooth = [], np.convolve(level, np.ones(7) / 7, "same")
    for run in runs:
        first, last = max(int(run[0]) - EDGE, 0), min(int(run[-1]) + 1 + EDGE, len(level))
        while last - first > LONG:
            at = first + LONG // 3 + int(smooth[first + LONG // 3 : first + LONG].argmin())
            found.append((first, at))
            first = at
        if last - first >= SHORT:
            found.append((first, last))
    return found or [(0, len(level))]


def extended(change: Change, whole: Phrase, first: int, last: int, low: int, high: int) -> Change:
    """The change of frames ``first`` to ``last`` as one of ``low`` to ``high``, which leaves the others alone."""
    around = (first - low, high - last)
    octave = np.concatenate([whole.octave[low:first], change.octave, whole.octave[last:high]])
    return Change(octave, np.pad(change.stretch, around, constant_values=1.0), np.pad(change.bands, (around, (0, 0))))


def sounding(
    samples: np.ndarray, rate: int, hz: np.ndarray, change: Change, own: psola.Periods | None = None
) -> np.ndarray:
    """(c, s) samples of n frames, and what is done to each of them -> (c, t)."""
    at = psola.places(change.stretch)
    out = psola.lay(samples, rate, hz, change.octave, at, own)
    if not change.bands.any():
        return out
    bands = np.stack([np.interp(at, np.arange(len(hz)), band) for band in change.bands.T], 1)
    return psola.filtered(out, rate, bands)


def finely(samples: np.ndarray, rate: int, hz: np.ndarray, change: Change) -> np.ndarray:
    """The same at a multiple of a low rate, at which periods are placed more exactly."""
    times = -(-FINE // rate)
    if times == 1:
        return sounding(samples, rate, hz, change)
    fine = sounding(resampled(samples, samples.shape[1] * times), rate * times, hz, change)
    return resampled(np.pad(fine, ((0, 0), (0, -fine.shape[1] % times))), -(-fine.shape[1] // times))


def resampled(samples: np.ndarray, count: int) -> np.ndarray:
    """(c, s) -> (c, count) up to the highest frequency, which a filter would take away."""
    from scipy.signal import resample

    return resample(samples, count, axis=1).astype(np.float32)


def piece(
    recording: Recording, low: int, high: int, first: int, last: int, change: Change | None
) -> tuple[np.ndarray, int]:
    """Frames ``low`` to ``high`` (c, t), of which ``first`` to ``last`` are changed, as loud as before, and FADE frames
    more; how many samples are before those."""
    step, whole = HOP * recording.rate / RATE, recording.whole
    count = len(whole.hz)
    top = min(high + FADE, count)
    begin, end = (recording.samples.shape[1] if at == count else round(at * step) for at in (low, top))
    samples = recording.samples[:, begin:end].copy()
    if change is None:
        return samples, (len(samples[0]) if high == count else round(high * step) - begin)
    change = extended(change, whole, first, last, low, top)
    made = finely(samples, recording.rate, whole.hz[low:top], change)
    apart = loudness(samples, recording.rate) - loudness(made, recording.rate)
    made *= 10 ** (apart / 20) if np.isfinite(apart) else 1.0
    if high == count:  # what is left of a frame
        made = np.concatenate((made, samples[:, round((count - low) * step) :]), 1)
    return made, made.shape[1] - (0 if high == count else round((top - high) * step))


def mixed(made: np.ndarray, under: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(c, t) with what sounds under it (c, s), and what is left of that."""
    now = under[:, : made.shape[1]]
    return made + np.pad(now, ((0, 0), (0, made.shape[1] - now.shape[1]))), under[:, made.shape[1] :]
