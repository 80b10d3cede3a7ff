"""Involuntary movement: blinks, glances, nods on stress, slow head movement.

All of it is drawn from a seed. Blinks come 15 to 20 times a minute while talking (Bentivoglio et al. 1997), mostly
where speech pauses; nods go with stressed syllables (Munhall et al. 2004).
"""

import numpy as np

from talking_head.face.points import INDEX

FPS = 25
BLINK = np.array([0.45, 0.95, 1.0, 1.0, 0.95, 0.75, 0.5, 0.3, 0.15, 0.06])  # frames of 40 ms
DOWN = 0.35  # eyeLookDown during a blink
BETWEEN = (3.4, 0.45)  # median seconds between blinks, and its spread
GLANCE = 1.6  # mean seconds between glances
BREATH, BREATHS = 0.005, 4.0  # radians, seconds
# head turns in radians (down, to its left, tilt) that go with an expression at intensity 1, canonical order
CARRIAGE = np.array(
    [
        [0, 0, 0],
        [-0.01, 0, 0.03],
        [0.09, 0, 0.03],
        [-0.05, 0, 0],
        [-0.03, 0.02, 0],
        [-0.04, 0.03, 0],
        [0.06, 0, 0],
        [-0.06, 0.02, 0.04],
    ]
)


def slow(count: int, seconds: float, random: np.random.Generator) -> np.ndarray:
    """Smooth noise (count,) of unit variance that changes over ``seconds``."""
    from scipy.ndimage import gaussian_filter1d

    width = seconds * FPS / 2.5
    noise = gaussian_filter1d(random.standard_normal(count + int(8 * width)), width)
    return (noise / (noise.std() + 1e-9))[int(4 * width) :][:count]


def blinks(count: int, level: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Lid closure (count,) for a speech level (count,) in [0, 1]."""
    closed, at = np.zeros(count + len(BLINK)), random.uniform(0.4, 2.0)
    while at * FPS < count:
        near = np.arange(int(at * FPS), min(count, int(at * FPS) + FPS // 2))
        start = int(near[level[near].argmin()])  # the quietest moment of the next half second
        closed[start : start + len(BLINK)] = np.maximum(closed[start : start + len(BLINK)], BLINK)
        at = start / FPS + max(0.7, random.lognormal(np.log(BETWEEN[0]), BETWEEN[1]))
        if random.random() < 0.08:
            at = start / FPS + 0.45  # sometimes a second one follows
    return closed[:count]


def glances(count: int, random: np.random.Generator) -> np.ndarray:
    """(count, 2) gaze to the right and up in [-1, 1]: at the viewer, with short glances aside."""
    looks, at, place = np.zeros((count, 2)), 0, np.zeros(2)
    while at < count:
        stay = int(FPS * random.exponential(GLANCE)) + 6
        looks[at : at + stay] = place
        at += stay
        away = random.random() < 0.35
        place = random.normal(0, (0.22, 0.12)) if away else random.normal(0, (0.035, 0.025))
    kernel = np.array([0.35, 0.65])
    return np.stack([np.convolve(looks[:, i], kernel)[:count] for i in range(2)], 1)


def stresses(level: np.ndarray) -> np.ndarray:
    """Stress (count,) in [0, 1]: bumps at loudness peaks."""
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(level, 2.0)
    bumps = np.zeros(len(level))
    for peak in _apart(smooth, np.flatnonzero((np.diff(smooth[:-1]) > 0) & (np.diff(smooth[1:]) <= 0)) + 1, 9):
        height = _prominence(smooth, peak)
        bumps[peak] = height if height >= 0.15 else 0.0
    return gaussian_filter1d(bumps, 3.0) * 3.0 * 2.5


def _apart(values: np.ndarray, peaks: np.ndarray, least: int) -> list[int]:
    """Peaks at least ``least`` frames apart; the higher of two closer ones."""
    kept = np.ones(len(peaks), bool)
    for i in np.argsort(values[peaks])[::-1]:
        if kept[i]:
            near = slice(*np.searchsorted(peaks, (peaks[i] - least + 1, peaks[i] + least)))
            kept[near] = False
            kept[i] = True
    return peaks[kept].tolist()


def _prominence(values: np.ndarray, peak: int) -> float:
    """Prominence of a peak: its height above the higher one of the two lowest points beside it."""
    lows = []
    for step in (-1, 1):
        at = low = peak
        while 0 <= at < len(values) and values[at] <= values[peak]:
            low, at = (at if values[at] < values[low] else low), at + step
        lows.append(values[low])
    return float(values[peak] - max(lows))


def head(
    count: int, level: np.ndarray, amount: np.ndarray, turns: np.ndarray | None, random: np.random.Generator
) -> np.ndarray:
    """(count, 3) rotation vectors of the head at motion 1; ``amount`` (count, 8) of the canonical emotions.

    ``turns`` (count, 3) come from the model; without them the head drifts, sways and nods.
    """
    from scipy.ndimage import gaussian_filter1d

    carriage = gaussian_filter1d(amount @ CARRIAGE, 8, axis=0, mode="nearest")
    breath = np.zeros((count, 3))
    breath[:, 0] = BREATH * np.sin(2 * np.pi * (np.arange(count) / FPS / BREATHS + random.random()))
    if turns is not None:
        return turns + carriage + breath
    talk = 0.5 + 0.5 * gaussian_filter1d(level, 12)
    drift = np.stack([slow(count, s, random) * a for s, a in ((2.2, 0.018), (3.0, 0.040), (3.5, 0.020))], 1)
    sway = np.stack([slow(count, 0.8, random) * a for a in (0.012, 0.014, 0.008)], 1) * talk[:, None]
    nod = np.zeros((count, 3))
    nod[:, 0] = 0.035 * stresses(level) - 0.010 * gaussian_filter1d(1.0 - level, 10)
    return drift + sway + nod + carriage + breath


def enliven(coefs: np.ndarray, level: np.ndarray, seed: int, blink: bool) -> np.ndarray:
    """Add blinks, glances and raised brows on stress to coefficients (t, 52)."""
    random, count = np.random.default_rng((seed, 1)), len(coefs)
    coefs = coefs.copy()
    beat = stresses(level) * 0.14
    for name, share in (("browInnerUp", 1.0), ("browOuterUpLeft", 0.7), ("browOuterUpRight", 0.7)):
        coefs[:, INDEX[name]] += share * beat
    if not blink:
        return coefs
    shut, looks = blinks(count, level, random), glances(count, random)
    down = DOWN * shut - looks[:, 1]
    for side, inward in (("Left", 1), ("Right", -1)):
        place = INDEX[f"eyeBlink{side}"]
        coefs[:, place] += shut * (1 - coefs[:, place])  # fully closed
        across = looks[:, 0] * inward  # the person's left eye looks in when it looks to the person's right
        for name, values in (("In", across), ("Out", -across), ("Up", looks[:, 1]), ("Down", down)):
            coefs[:, INDEX[f"eyeLook{name}{side}"]] += values.clip(0, None)
    return coefs
