"""Measures of symbolic pieces: range, polyphony, mode, density, copying, distance between two sets.

Notes are float64 (n, 4): start, end, pitch, velocity, sorted by start, then from high to low. Bars are the
ascending times at which bars begin, in the unit of the notes, with the end of the last bar as the last entry.
"""

import numpy as np

from music.keys import MAJOR, MINOR

CONSONANT = np.isin(np.arange(12), (0, 3, 4, 5, 7, 8, 9))
STEPS = 16


# Song level, as in MusPy (Dong et al., ISMIR 2020)


def pitch_range(notes: np.ndarray) -> float:
    """PR: highest minus lowest pitch in semitones."""
    return float(np.ptp(notes[:, 2]))


def pitch_classes(notes: np.ndarray) -> float:
    """NPC: how many of the twelve pitch classes are used."""
    return float(len(np.unique(notes[:, 2] % 12)))


def polyphony(notes: np.ndarray) -> float:
    """POLY: mean number of pitches that sound together, over the time in which anything sounds.

    Computed in continuous time, which is MusPy's value in the limit of a fine piano roll; a pitch struck again
    while it still sounds counts once.
    """
    edges = np.unique(notes[:, :2])
    width = np.diff(edges)
    first, last = np.searchsorted(edges, notes[:, 0]), np.searchsorted(edges, notes[:, 1])
    roll = np.zeros((128, len(edges)), dtype=np.int32)
    np.add.at(roll, (notes[:, 2].astype(int), first), 1)
    np.add.at(roll, (notes[:, 2].astype(int), last), -1)
    sounding = (roll.cumsum(axis=1)[:, :-1] > 0).sum(axis=0)
    return float((sounding * width).sum() / width[sounding > 0].sum())


# Bar level, as in Compound Word Transformer and MusER (AAAI 2024)


def on_grid(notes: np.ndarray, bars: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bar (n,) and the sixteenth within it (n,) nearest to each onset; bars are cut into 16 equal steps."""
    step = np.interp(notes[:, 0], bars, np.arange(len(bars)) * STEPS)
    step = np.clip(np.rint(step).astype(int), 0, (len(bars) - 1) * STEPS - 1)
    return step // STEPS, step % STEPS


def bar_measures(notes: np.ndarray, bars: np.ndarray) -> dict[str, float]:
    """BPR, BNPC and BPOLY: range, pitch classes, and notes per distinct onset; means over bars that hold notes."""
    bar, position = on_grid(notes, bars)
    rows = []
    for index in np.unique(bar):
        pitch = notes[bar == index, 2]
        onsets = len(np.unique(position[bar == index]))
        rows.append((np.ptp(pitch), len(np.unique(pitch % 12)), len(pitch) / onsets))
    return dict(zip(("BPR", "BNPC", "BPOLY"), np.mean(rows, axis=0).tolist(), strict=True))


def song_measures(notes: np.ndarray, bars: np.ndarray) -> dict[str, float]:
    """The six columns of MusER's table 1: PR, NPC, POLY, BPR, BNPC, BPOLY."""
    song = {"PR": pitch_range(notes), "NPC": pitch_classes(notes), "POLY": polyphony(notes)}
    return song | bar_measures(notes, bars)


# What carries arousal and valence


def seconds(notes: np.ndarray) -> float:
    """From the first onset to the last release."""
    return float(notes[:, 1].max() - notes[0, 0])


def note_density(notes: np.ndarray) -> float:
    """Notes per second."""
    return len(notes) / seconds(notes)


def onset_rate(notes: np.ndarray, together: float = 0.035) -> float:
    """Distinct onsets per second; onsets less than ``together`` seconds after the previous one are one chord."""
    return (1 + int((np.diff(notes[:, 0]) > together).sum())) / seconds(notes)


def velocity(notes: np.ndarray) -> float:
    """Mean MIDI velocity."""
    return float(notes[:, 3].mean())


def tempo(bars: np.ndarray) -> float:
    """Beats per minute of the median bar, four beats to a bar."""
    return float(240 / np.median(np.diff(bars)))


def register(notes: np.ndarray) -> float:
    """Mean pitch, as a MIDI number, weighted by duration."""
    return float(np.average(notes[:, 2], weights=np.maximum(notes[:, 1] - notes[:, 0], 1e-3)))


def chroma(notes: np.ndarray) -> np.ndarray:
    """(12,) share of the sounding time per pitch class."""
    held = np.clip(notes[:, 1] - notes[:, 0], 1e-3, 2.0)
    histogram = np.bincount(notes[:, 2].astype(int) % 12, weights=held, minlength=12)
    return histogram / histogram.sum()


def mode(notes: np.ndarray) -> float:
    """Best major minus best minor key correlation (Krumhansl and Kessler 1982): positive is major."""
    turned = np.stack([np.roll(chroma(notes), -key) for key in range(12)])
    best = [max(np.corrcoef(row, profile)[0, 1] for row in turned) for profile in (MAJOR, MINOR)]
    return float(best[0] - best[1])


def consonance(notes: np.ndarray) -> float:
    """Share of consonant intervals (unison, thirds, fourth, fifth, sixths) among pairs, by time sounded together."""
    start, end, pitch = notes[:, 0], notes[:, 1], notes[:, 2].astype(int)
    shared = np.minimum(end[:, None], end) - np.maximum(start[:, None], start)
    shared = np.triu(np.maximum(shared, 0.0), 1)
    consonant = CONSONANT[np.abs(pitch[:, None] - pitch) % 12]
    return float((shared * consonant).sum() / max(shared.sum(), 1e-9))


def control_measures(notes: np.ndarray, bars: np.ndarray) -> dict[str, float]:
    """The named measures against which requested arousal and valence are held."""
    return {
        "notes per second": note_density(notes),
        "onsets per second": onset_rate(notes),
        "velocity": velocity(notes),
        "tempo": tempo(bars),
        "mode": mode(notes),
        "consonance": consonance(notes),
        "register": register(notes),
    }


# Copying


def transitions(notes: np.ndarray, bars: np.ndarray, absolute: bool) -> np.ndarray:
    """(n - 1,) uint64: each step from note to note as pitch step and onset step in sixteenths (at most a bar).

    With ``absolute`` the pitch itself counts too, so that a transposed copy is no longer the same.
    """
    bar, position = on_grid(notes, bars)
    pitch = notes[:, 2].astype(np.int64)
    onset = np.clip(np.diff(bar * STEPS + position), 0, STEPS)
    code = (np.diff(pitch) + 128) * 32 + onset
    return (code + pitch[1:] * 8192 if absolute else code).astype(np.uint64)


class Songbook:
    """Training songs, to be asked for the longest run of notes that another piece shares with them.

    A run of k equal transitions is k + 1 shared notes. Runs of one length are compared by 64-bit polynomial
    hashes; a shared run contains shared runs of every smaller length, so the longest is found by bisection.
    """

    def __init__(self, songs: list[np.ndarray]):
        """``songs``: arrays of :func:`transitions`."""
        ends = np.arange(len(songs), dtype=np.uint64) + np.uint64(1 << 40)
        parts = [part for song, end in zip(songs, ends, strict=True) for part in (song, end[None])]
        self.symbols = _mix(np.concatenate(parts))
        self.known: dict[int, np.ndarray] = {}

    def longest(self, song: np.ndarray) -> int:
        """The longest run of notes that ``song`` (transitions) shares with any song of the book."""
        symbols, low, high = _mix(song), 0, min(len(song), len(self.symbols))
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._shares(symbols, middle) else (low, middle - 1)
        return low + 1

    def _shares(self, symbols: np.ndarray, length: int) -> bool:
        if length not in self.known:
            self.known[length] = np.sort(_hashes(self.symbols, length))
        known, asked = self.known[length], _hashes(symbols, length)
        place = np.searchsorted(known, asked)
        return bool((known[np.minimum(place, len(known) - 1)] == asked).any())


def _mix(symbols: np.ndarray) -> np.ndarray:
    """Scatter symbols over 64 bits (splitmix64's finaliser)."""
    x = symbols * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _hashes(symbols: np.ndarray, length: int) -> np.ndarray:
    """Polynomial hash of every window of ``length`` symbols, by doubling: h(2k) = h(k) * base^k + h(k) shifted."""
    result, done = np.zeros(len(symbols), dtype=np.uint64), 0
    block, size, power = symbols, 1, np.array([0x5851F42D4C957F2D], dtype=np.uint64)
    while True:
        if length & size:
            result = result[: len(symbols) - done - size + 1] * power + block[done : len(symbols) - size + 1]
            done += size
        if 2 * size > length:
            return result
        block = block[:-size] * power + block[size:]
        size, power = size * 2, power * power


# Two sets of pieces


def set_distance(real: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """KL divergence and overlap area between the distances within ``real`` (n, d) and those to ``other`` (m, d).

    Yang and Lerch 2020, section 4.2: Euclidean distances, smoothed by Gaussian kernels; of the second kind as many
    are drawn as there are of the first. Equal sets give an overlap near 1 and a divergence near 0.
    """
    from scipy.spatial.distance import cdist, pdist
    from scipy.stats import gaussian_kde

    within, between = pdist(real), cdist(real, other).ravel()
    between = np.random.default_rng(0).choice(between, min(len(between), len(within)), replace=False)
    grid = np.linspace(0, max(within.max(), between.max()), 400)
    p, q = (gaussian_kde(values)(grid) + 1e-9 for values in (within, between))
    p, q = p / p.sum(), q / q.sum()
    return {"KL": float((p * np.log(p / q)).sum()), "OA": float(np.minimum(p, q).sum())}
