"""Bar lines of a beat grid in 4/4: which beats open bars.

n notes, m beats.
"""

import numpy as np

BASS = 56  # MIDI pitch

# logistic weights of accents on the first, third and fourth beat, fitted on POP909 001-400 by benchmarks/beats.py --fit
DOWNBEAT_WEIGHTS = np.array(
    [
        [0.88, 1.76, 0.03, 0.12, -0.62, 2.17, 1.69],
        [0.53, 0.89, -0.85, 0.31, -0.54, -0.88, -0.78],
        [0.39, -0.06, -0.39, -0.93, -0.33, -1.64, 0.06],
    ]
)


def downbeat(notes: np.ndarray, times: np.ndarray) -> int:
    """Index modulo 4 of the beats that open bars, by the accents on the beats of the bar."""
    return int((phases(accents(notes, times)) @ DOWNBEAT_WEIGHTS.ravel()).argmax())


def accents(notes: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Accents of each beat (m, 7): loudness, depth, length, size, bass length, new harmony, new bass; mean 0."""
    count = len(times)
    place = np.interp(notes[:, 0], times, np.arange(count))
    beat = place.round().astype(int)
    on = np.abs(place - beat) < 0.15
    where, pitch = beat[on], notes[on, 2]
    length = (np.interp(notes[on, 1], times, np.arange(count)) - where).clip(0, 4)
    columns = [
        highest(notes[on, 3] / 32, where, count),
        highest((60 - pitch) / 12, where, count),
        highest(length, where, count),
        np.log2(1 + np.bincount(where, minlength=count)),
        highest(length * (pitch < BASS), where, count),
        novelty(notes, place, count),
        novelty(notes[notes[:, 2] < BASS], place[notes[:, 2] < BASS], count),
    ]
    x = np.stack(columns, axis=1)
    return x - x.mean(axis=0)


def highest(values: np.ndarray, where: np.ndarray, count: int) -> np.ndarray:
    """Largest value (count,) at each index ``where``, at least 0."""
    top = np.zeros(count)
    np.maximum.at(top, where, values)
    return top


def novelty(notes: np.ndarray, place: np.ndarray, count: int) -> np.ndarray:
    """Cosine distance (count,) of the pitch classes struck in the two beats before and from each beat on."""
    chroma = np.zeros((count + 4, 12))
    weight = notes[:, 3] * np.sqrt((notes[:, 1] - notes[:, 0]).clip(0, 1))
    np.add.at(chroma, (np.floor(place + 0.15).astype(int) + 2, notes[:, 2].astype(int) % 12), weight)
    before, after = chroma[:count] + chroma[1 : count + 1], chroma[2 : count + 2] + chroma[3 : count + 3]
    norm = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    return np.where(norm > 0, 1 - (before * after).sum(axis=1) / norm.clip(1e-9), 0.0)


def phases(x: np.ndarray) -> np.ndarray:
    """Features (4, 21) of each bar phase: sums over the beats that would be first, third and fourth in their bars."""
    folded = np.stack([x[phase::4].sum(axis=0) for phase in range(4)])  # (4, 7)
    return np.concatenate([folded, np.roll(folded, -2, axis=0), np.roll(folded, -3, axis=0)], axis=1)
