"""Notes to sound: a sampled grand piano in a small room.

symusic's own synthesizer gives every velocity inside a layer the same loudness, knows no pedal and cannot hand its
samples to current numpy, so the piano is played here, from checkpoints/piano.
"""

import functools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen.loudness import LOOKAHEAD, limit
from gen.marks import watermark

ONSET = 48  # frames of the bank over which a sample rises, against what its codec left before the hammer
LOUDNESS = 26.0  # dB per decade of velocity
SHELF = 1500.0, 2.5  # where a note's treble begins: Hz, or its partial where that is higher
UNDAMPED = 90  # from this key on (F#6) a piano has no dampers
DAMPER = ((21, 60, 89), (0.6, 0.35, 0.2))  # keys, and the seconds a damper takes for 60 dB
RESTRUCK = 0.15  # s that the old sound of a key takes to give way when it is struck again
ROOM = ((700, 1.3), (2500, 0.9), (9000, 0.45))  # upper edge of a band in Hz, its reverberation time in s
WET, DELAY = -13.0, 0.012  # dB of the room against the piano, s before it answers
MORE = 60  # s by which the mix grows
FADE = 0.6  # s in which a sound of a given length dies at its end
GAIN = -2.5  # dB, fixed: a quiet piece stays quieter than a loud one


class Bank(NamedTuple):
    """The piano's samples and where they lie in the stream, layer by layer, pitch by pitch."""

    stream: np.ndarray  # (n, 2) int16
    rate: int  # Hz
    velocities: np.ndarray  # (layers,) each layer's own MIDI velocity, rising
    darken: np.ndarray  # (layers,) dB of treble between a layer and the next softer one
    pitches: np.ndarray  # (samples,) MIDI
    begins: np.ndarray  # (layers, samples) frames, with silence between
    frames: np.ndarray  # (samples,)


@functools.cache
def bank() -> Bank:
    import soundfile

    from gen import checkpoints

    checkpoints.verify("piano")
    folder = checkpoints.folder("piano")
    config = json.loads((folder / "config.json").read_text())
    stream, rate = soundfile.read(folder / "piano.ogg", dtype="int16")
    frames, layers = np.array(config["frames"]), len(config["velocities"])
    ends = np.cumsum(np.tile(frames + config["gap"], layers)).reshape(layers, -1)
    velocities, darken, pitches = (np.array(config[key]) for key in ("velocities", "darken", "pitches"))
    return Bank(stream, rate, velocities, darken, pitches, ends - frames, frames)


def played(score) -> np.ndarray:
    """Keys as they sound, float64 (n, 5): start s, end s, pitch, velocity, seconds of the end's fade; by start.

    The sustain pedal (controller 64) holds what is let go while it is down. A key struck again cuts its own old sound.
    """
    keys = np.zeros((0, 5))
    for track in score.to("second").tracks:
        if track.is_drum or not track.notes:
            continue
        notes = np.array([(n.start, n.start + n.duration, n.pitch, n.velocity, 0) for n in track.notes], dtype=float)
        if spans := sustained(track):
            down, up = np.array(spans, dtype=float).T
            at = np.searchsorted(down, notes[:, 1], side="right") - 1  # the pedal pressed last before the key went up
            notes[:, 1] = np.maximum(notes[:, 1], np.where(at >= 0, up[at], 0))
        keys = np.concatenate((keys, notes))
    keys = keys[np.lexsort((keys[:, 0], keys[:, 2]))]
    keys[:, 4] = np.interp(keys[:, 2], *DAMPER)
    keys[keys[:, 2] >= UNDAMPED, 1] = np.inf
    again = np.flatnonzero((keys[:-1, 2] == keys[1:, 2]) & (keys[:-1, 1] > keys[1:, 0]))
    keys[again, 1], keys[again, 4] = keys[again + 1, 0], RESTRUCK
    return keys[np.argsort(keys[:, 0], kind="stable")]


def sustained(track) -> list[tuple[float, float]]:
    """Spans (down, up) of the sustain pedal, from symusic's pedals and from controller 64: a score may have either."""
    spans, down = [(pedal.time, pedal.time + pedal.duration) for pedal in track.pedals], None
    for time, value in sorted((c.time, c.value) for c in track.controls if c.number == 64):
        if value >= 64 and down is None:
            down = time
        elif value < 64 and down is not None:
            spans.append((down, time))
            down = None
    return sorted(spans if down is None else [*spans, (down, np.inf)])


def darker(sound: np.ndarray, decibels: float, edge: float) -> np.ndarray:
    """(n, 2) with the treble turned down, as loud as before; ``edge`` of the shelf as a share of the sample rate.

    The shelf is (g s + w)/(s + w), taken to samples by the bilinear transform.
    """
    from scipy.signal import lfilter

    turn, gain = np.tan(np.pi * edge), 10 ** (-decibels / 20)
    forward, back = np.array([turn + gain, turn - gain]) / (turn + 1), np.array([1, (turn - 1) / (turn + 1)])
    dark = lfilter(forward.astype(np.float32), back.astype(np.float32), sound, axis=0)
    return dark * float(np.sqrt((sound**2).sum() / (dark**2).sum()))


def note(piano: Bank, pitch: int, velocity: int, held: float, fade: float, rate: int) -> np.ndarray:
    """One struck key, float32 (n, 2): held for ``held`` s, then faded over ``fade`` s.

    Played by the layer at or above its velocity, darkened by its share of the way down to the layer below.
    """
    import soxr

    sample = int(np.abs(piano.pitches - pitch).argmin())
    layer = min(int(np.searchsorted(piano.velocities, velocity)), len(piano.velocities) - 1)
    ratio = 2 ** ((pitch - piano.pitches[sample]) / 12)
    begin = piano.begins[layer, sample]
    used = int(min(piano.frames[sample], (held + fade) * piano.rate * ratio + 64))
    sound = piano.stream[begin : begin + used].astype(np.float32) / 32768
    sound[:ONSET] *= np.linspace(0, 1, ONSET)[:, None]
    softer = piano.velocities[layer - 1] if layer else 0
    share = (piano.velocities[layer] - velocity) / (piano.velocities[layer] - softer)
    if share > 0:
        edge = max(SHELF[0], SHELF[1] * 440 * 2 ** ((pitch - 69) / 12)) / piano.rate
        sound = darker(sound, piano.darken[layer] * share, min(edge, 0.45))
    sound = soxr.resample(sound, piano.rate * ratio, rate)
    keep = int(min(held, len(sound) / rate) * rate)
    release = sound[keep : keep + int(fade * rate)]
    passed = np.linspace(0, 1, len(release), endpoint=False)[:, None]
    release *= 10 ** (-3 * passed) * (1 - passed)
    return sound[: keep + len(release)] * (velocity / 127) ** (LOUDNESS / 20)


@functools.cache
def room(rate: int) -> np.ndarray:
    """The room's answer, float32 (n, 2): noise that dies away, the treble sooner, another at each ear."""
    size = int(max(seconds for _, seconds in ROOM) * rate)
    noise = np.fft.rfft(np.random.default_rng(5).standard_normal((size, 2)), axis=0)
    hertz, time = np.fft.rfftfreq(size, 1 / rate)[:, None], np.arange(size)[:, None] / rate
    answer, low = np.zeros((size, 2)), 60.0
    for high, seconds in ROOM:
        band = np.where((hertz >= low) & (hertz < high), noise, 0)
        answer += np.fft.irfft(band, size, axis=0) * 10 ** (-3 * time / seconds)
        low = high
    answer *= 10 ** (WET / 20) / np.sqrt((answer**2).sum(0))
    return np.pad(answer, ((int(DELAY * rate), 0), (0, 0))).astype(np.float32)


def render(score, rate: int = 44100) -> np.ndarray:
    """A symusic.Score, or the path of a MIDI file, as sound: float32 (2, n) in [-1, 1], n until all has died away.

    Every track but drums is played on the piano. The gain is fixed, so dynamics between pieces stay.
    """
    if isinstance(score, str | Path):
        from gen import media

        score = media.read_midi(score)
    return np.ascontiguousarray(limit(unlimited(score, rate), rate), dtype=np.float32)


def unlimited(score, rate: int) -> np.ndarray:
    """:func:`render` before its limiter."""
    from scipy.signal import oaconvolve

    piano, echo = bank(), room(rate)
    mix, last = np.zeros((0, 2), dtype=np.float32), 0
    for start, end, pitch, velocity, fade in played(score):
        begin, sound = int(start * rate), note(piano, int(pitch), int(velocity), end - start, fade, rate)
        last = max(last, begin + len(sound))
        if last > len(mix):
            mix = np.concatenate((mix, np.zeros((last + MORE * rate - len(mix), 2), dtype=np.float32)))
        mix[begin : begin + len(sound)] += sound
    mix = np.concatenate((mix[:last], np.zeros((len(echo), 2), dtype=np.float32)))
    mix += oaconvolve(mix, echo, axes=0)[: len(mix)]
    return mix.T * np.float32(10 ** (GAIN / 20))


class Blocks:
    """Overlap-add of sound parts for streaming; returns limited blocks as soon as they are complete.

    The blocks equal :func:`limit` of the whole sound, and are multiples of the watermark's tiles.
    """

    def __init__(self, rate: int):
        self.rate, self.tile = rate, round(watermark.STEP * watermark.TILE * rate)
        self.margin = 2 * round(5 * LOOKAHEAD * rate)  # more than the limiter's context
        self.sound, self.begin, self.at, self.out = np.zeros((2, 0), np.float32), 0, 0, 0

    def add(self, sound: np.ndarray, size: int) -> None:
        """Add sound (2, n) at the end of the previous part; the next part begins ``size`` samples later."""
        at, more = self.at - self.begin, self.at - self.begin + sound.shape[1] - self.sound.shape[1]
        self.sound = np.pad(self.sound, ((0, 0), (0, max(more, 0))))
        self.sound[:, at : at + sound.shape[1]] += sound
        self.at += size

    def take(self, last: bool = False) -> np.ndarray:
        """The complete samples (2, n), empty if too few for the watermark; with ``last`` all that remain."""
        ends = self.begin + self.sound.shape[1] if last else self.at - self.margin
        size = ends - self.out if last else (ends - self.out) // self.tile * self.tile
        if not last and size < watermark.LEAST * self.rate:
            return np.zeros((2, 0), np.float32)
        at = self.out - self.begin
        block = limit(self.sound[:, : at + size + self.margin], self.rate)[:, at : at + size]
        marked = watermark.embed(block, self.rate, self.out // self.tile)
        self.out += size
        gone = max(self.out - self.margin - self.begin, 0)
        self.sound, self.begin = self.sound[:, gone:], self.begin + gone
        return marked


def fitted(sound: np.ndarray, length: float, rate: int, loop: bool) -> np.ndarray:
    """Sound (2, n) in exactly ``length`` seconds: what rings on goes to the beginning of a ``loop``, or fades."""
    size = round(length * rate)
    if loop:
        whole = np.pad(sound, ((0, 0), (0, -sound.shape[1] % size)))
        return np.ascontiguousarray(limit(whole.reshape(2, -1, size).sum(1), rate), dtype=np.float32)
    sound = np.pad(sound[:, :size], ((0, 0), (0, max(size - sound.shape[1], 0))))
    fall = min(int(FADE * rate), size)
    sound[:, size - fall :] *= np.cos(np.linspace(0, np.pi / 2, fall)) ** 2
    return sound.astype(np.float32)
