"""Beat, bar-line and chord tracking measured on POP909, and grid agreement on EMOPIA and GiantMIDI.

python -m benchmarks.beats --data DIR [--songs N]: POP909 401-909, every k-th file.
python -m benchmarks.beats --data DIR --fit: prints the weights of music/beats.py and music/bars.py from POP909 001-400.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from music import bars, chords
from music import beats as rhythm
from music.score import read_notes

EXCERPT = 40.0  # seconds, about an EMOPIA clip


def pop909(data: Path) -> list[tuple[Path, np.ndarray, np.ndarray, list]]:
    """Songs: MIDI file, beats (m,) s, indices (k,) of the beats that open bars, chords [start ms, end ms, name]."""
    meta = json.loads((data / "pop909" / "pop909_meta.json").read_text())
    songs = []
    for name, song in meta.items():
        beats = np.array(song["beats"]) / 1000
        flags = np.array([int(flag) for flag in song["beat_flags"]])
        songs.append((data / "pop909" / f"{name}.mid", beats, np.flatnonzero(flags & 2), song["chords"]))
    return songs


def excerpt(notes: np.ndarray, beats: np.ndarray, opens: np.ndarray, rng) -> tuple[np.ndarray, ...]:
    """A random stretch of EXCERPT seconds: its notes, beats and the indices of the beats that open bars."""
    start = rng.uniform(beats[0], max(beats[0], beats[-1] - EXCERPT))
    notes = notes[(notes[:, 0] >= start) & (notes[:, 0] < start + EXCERPT)]
    first, last = np.searchsorted(beats, [start, start + EXCERPT])
    return notes, beats[first:last], opens[(opens >= first) & (opens < last)] - first


def perform(notes: np.ndarray, beats: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray]:
    """Human timing: slow tempo drift (sd 6 %, about 8 s) on notes and beats, 15 ms of jitter on onsets."""
    knots = np.arange(-4.0, max(notes[:, 1].max(), beats[-1]) + 8, 4.0)
    drift = np.exp(np.convolve(rng.normal(0, 0.085, len(knots)), [0.5, 1, 0.5], "same") / 1.22)
    warped = np.concatenate([[0.0], np.cumsum(4.0 * drift[1:])])
    moved = notes.copy()
    moved[:, :2] = np.interp(notes[:, :2], knots, warped)
    moved[:, :2] += rng.normal(0, 0.015, (len(notes), 1))
    return moved[np.lexsort((-moved[:, 2], moved[:, 0]))], np.interp(beats, knots, warped)


def matched(truth: np.ndarray, found: np.ndarray, window: float = 0.07) -> np.ndarray:
    """For each true time, whether the nearest found time is within ``window`` seconds."""
    if len(found) == 0:
        return np.zeros(len(truth), dtype=bool)
    return np.abs(truth[:, None] - found[None]).min(axis=1) <= window


def f_measure(truth: np.ndarray, found: np.ndarray) -> float:
    """F-measure within 70 ms of found times over the stretch that has true times."""
    found = found[(found > truth[0] - 0.2) & (found < truth[-1] + 0.2)]
    recall, precision = matched(truth, found).mean(), matched(found, truth).mean() if len(found) else 0.0
    return 2 * recall * precision / max(recall + precision, 1e-9)


def continuity(truth: np.ndarray, found: np.ndarray) -> float:
    """CMLt: share of true beats whose found beat and interval are within 17.5 % of the true interval."""
    near = np.abs(truth[:, None] - found[None]).argmin(axis=1)
    step = np.diff(truth)
    on = np.abs(found[near[1:]] - truth[1:]) < 0.175 * step
    before = np.abs(found[near[1:] - 1] - truth[:-1]) < 0.175 * step
    return float((on & before & (near[1:] > 0)).mean())


def levels(truth: np.ndarray) -> dict[str, np.ndarray]:
    """The true beats read at the metrical levels that AMLt allows."""
    double = np.interp(np.arange(0, len(truth) - 0.5, 0.5), np.arange(len(truth)), truth)
    return {"right": truth, "double": double, "half": truth[::2], "late": truth[1::2], "offbeat": double[1::2]}


def measure(notes: np.ndarray, truth: np.ndarray, opens: np.ndarray) -> dict[str, float]:
    """One performance: beat F, CMLt, AMLt, tempo octave, bar line F."""
    begun = time.process_time()
    grid = rhythm.track(notes)
    spent = time.process_time() - begun
    scores = {name: continuity(level, grid.times) for name, level in levels(truth).items()}
    ratio = np.log2(np.median(np.diff(truth)) / np.median(np.diff(grid.times)))
    return {
        "beat F": f_measure(truth, grid.times),
        "CMLt": scores["right"],
        "AMLt": max(scores.values()),
        "double": float(ratio > 0.5),
        "half": float(ratio < -0.5),
        "bar F": f_measure(truth[opens], grid.times[grid.downbeat :: 4]),
        "cpu s": spent,
    }


def table(name: str, rows: list[dict[str, float]]) -> None:
    """Print means over songs."""
    print(f"{name:34s}" + "  ".join(f"{key} {np.mean([row[key] for row in rows]):.3f}" for key in rows[0]))


def grid_error(notes: np.ndarray) -> dict[str, float]:
    """Mean distance of onsets from the sixteenth grid, relative to uniform onsets (0 perfect, 1 chance)."""
    begun = time.process_time()
    grid = rhythm.track(notes)
    spent = time.process_time() - begun
    place = np.interp(notes[:, 0], grid.times, np.arange(len(grid.times))) * 4
    away = np.abs(place - place.round())
    return {
        "grid error": away.mean() / 0.25,
        "near": float((away < 0.2).mean()),
        "bpm": 60 / np.median(np.diff(grid.times)),
        "cpu s": spent,
    }


SYMBOLS = {  # POP909's qualities that have another name here, or none
    "maj": "M",
    "min": "m",
    "dim": "o",
    "aug": "+",
    "maj7": "M7",
    "min7": "m7",
    "dim7": "o7",
    "hdim7": "/o7",
    "sus4(b7)": "sus4",
    "maj6": "M",
    "min6": "m",
    "minmaj7": "m",
}
THIRDS = {"M": "M", "M7": "M", "7": "M", "+": "M", "m": "m", "m7": "m", "o": "m", "o7": "m", "/o7": "m"}


def symbol(name: str) -> tuple[str, str]:
    """Root and quality, spelled as in music.chords, of a POP909 chord such as "Gb:min7/b7"."""
    if name == "N":
        return "N", "N"
    root, quality = name.split("/")[0].split(":")
    pitch = "C D EF G A B".index(root[0]) + root.count("#") - root[1:].count("b")
    return chords.ROOTS[pitch % 12], SYMBOLS.get(quality, quality)


def chord_accuracy(notes: np.ndarray, grid: rhythm.Beats, given: list) -> dict[str, float]:
    """Share of beats inside given chords with the right root, root and third (no sus chords), and full symbol."""
    begun = time.process_time()
    found = [tuple(name.split("_")) for name in chords.estimate(notes, grid)]
    spent = time.process_time() - begun
    middle = grid.times + 0.5 * np.diff(grid.times, append=2 * grid.times[-1] - grid.times[-2])
    at = np.searchsorted([start / 1000 for start, _, _ in given], middle, side="right") - 1
    pairs = [(f, symbol(given[i][2])) for f, i in zip(found, at) if i >= 0 and given[i][2] != "N"]
    thirds = [(f, t) for f, t in pairs if t[1] in THIRDS]
    return {
        "root": np.mean([f[0] == t[0] for f, t in pairs]),
        "root+third": np.mean([f[0] == t[0] and THIRDS.get(f[1]) == THIRDS[t[1]] for f, t in thirds]),
        "symbol": np.mean([f == t for f, t in pairs]),
        "cpu s": spent,
    }


def logistic(x: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Weights (f,) of the softmax over the choices in x (n, choices, f) that best explains label (n,)."""
    from scipy.optimize import minimize

    def loss(weights):
        scores = x @ weights
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        rows = np.arange(len(label))
        value = -np.log(odds[rows, label]).mean() + 1e-3 * weights @ weights
        odds[rows, label] -= 1
        return value, np.einsum("nc,ncf->f", odds, x) / len(label) + 2e-3 * weights

    return minimize(loss, np.zeros(x.shape[2]), jac=True, method="L-BFGS-B").x


def fit(songs: list) -> None:
    """Print the logistic weights of an event's position in the beat and of a beat's position in the bar."""
    rng = np.random.default_rng(0)
    features, positions, sums, phases = [], [], [], []
    for path, beats, opens, _ in 2 * songs:
        notes, true, first = excerpt(read_notes(path), beats, opens, rng)
        notes, true = perform(notes, true, rng)
        found = rhythm.events(notes)
        inside = (found.times > true[0]) & (found.times < true[-1])
        quarter = (np.interp(found.times[inside], true, np.arange(len(true))) * 4).round().astype(int) % 4
        features.append(found.features[inside])
        positions.append(np.array([0, 2, 1, 3])[quarter])  # in the order of rhythm.POSITIONS
        if len(first) > 3 and (np.diff(first) == 4).all():
            sums.append(bars.phases(bars.accents(notes, true)) / np.sqrt(len(true)))
            phases.append(first[0] % 4)
    x = np.concatenate(features)
    spread = np.einsum("nf,cd->ncfd", x, np.eye(4)).reshape(len(x), 4, -1)
    weights = logistic(spread, np.concatenate(positions)).reshape(-1, 4)
    print("POSITION_WEIGHTS", np.array2string(weights.round(2), separator=", "))
    weights = logistic(np.array(sums), np.array(phases)).reshape(3, -1)
    print("DOWNBEAT_WEIGHTS", np.array2string(weights.round(2), separator=", "))


def report(data: Path, songs: list, count: int) -> None:
    """Print the tables."""
    rng = np.random.default_rng(1)
    rows = {}
    for path, beats, opens, given in songs[:: max(1, len(songs) // count)][:count]:
        notes = read_notes(path)
        part, true, first = excerpt(notes, beats, opens, rng)
        if len(first) < 3:
            continue
        rows.setdefault("excerpts, as given", []).append(measure(part, true, first))
        rows.setdefault("excerpts, performed", []).append(measure(*perform(part, true, rng), first))
        rows.setdefault("songs, performed", []).append(measure(*perform(notes, beats, rng), opens))
        grid = rhythm.Beats(beats, int(opens[0] % 4))
        rows.setdefault("chords, given beats", []).append(chord_accuracy(notes, grid, given))
        rows.setdefault("chords, tracked beats", []).append(chord_accuracy(notes, rhythm.track(notes), given))
    for name, found in rows.items():
        table(f"POP909 {name}", found)
    for corpus in ("emopia", "giantmidi"):
        paths = sorted((data / corpus).rglob("*.mid"))
        paths = paths[:: max(1, len(paths) // count)][:count]
        table(corpus, [grid_error(read_notes(path)) for path in paths])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--songs", type=int, default=100, help="per corpus")
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    songs = pop909(options.data)
    if options.fit:
        fit(songs[:400])
    else:
        report(options.data, songs[400:], options.songs)


if __name__ == "__main__":
    main()
