"""Beat, bar-line and chord tracking measured on POP909, and grid agreement on EMOPIA and GiantMIDI.

python -m benchmarks.beats --data DIR [--songs N] [--fit]
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from music import beats as rhythm
from music.data import read_notes

EXCERPT = 40.0  # seconds, about an EMOPIA clip


def pop909(data: Path) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, list]]:
    """Songs in 4/4: notes (n, 4), beats (m,) s, bar lines (k,) s, chords [start ms, end ms, name]."""
    meta = json.loads((data / "pop909" / "pop909_meta.json").read_text())
    songs = []
    for name, song in meta.items():
        beats = np.array(song["beats"]) / 1000
        flags = np.array([int(flag) for flag in song["beat_flags"]])
        songs.append((data / "pop909" / f"{name}.mid", beats, np.flatnonzero(flags & 2), song["chords"]))
    return songs


def excerpt(notes, beats, bars, rng):
    """A stretch of EXCERPT seconds: notes, beats and the indices of the bar lines in it."""
    start = rng.uniform(beats[0], max(beats[0], beats[-1] - EXCERPT))
    notes = notes[(notes[:, 0] >= start) & (notes[:, 0] < start + EXCERPT)]
    first, last = np.searchsorted(beats, [start, start + EXCERPT])
    return notes, beats[first:last], bars[(bars >= first) & (bars < last)] - first


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
    """For each true time whether a found time lies within ``window`` seconds (nearest)."""
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


def measure(notes, truth, bars) -> dict[str, float]:
    """One performance: beat F, CMLt, AMLt, tempo octave, bar line F."""
    begun = time.perf_counter()
    grid = rhythm.track(notes)
    spent = time.perf_counter() - begun
    scores = {name: continuity(level, grid.times) for name, level in levels(truth).items()}
    ratio = np.log2(np.median(np.diff(truth)) / np.median(np.diff(grid.times)))
    return {
        "beat F": f_measure(truth, grid.times),
        "CMLt": scores["right"],
        "AMLt": max(scores.values()),
        "double": float(ratio > 0.5),
        "half": float(ratio < -0.5),
        "bar F": f_measure(truth[bars], grid.times[grid.downbeat :: 4]),
        "seconds": spent,
    }


def table(name: str, rows: list[dict[str, float]]) -> None:
    """Print means over songs."""
    print(f"{name:34s}" + "  ".join(f"{key} {np.mean([row[key] for row in rows]):.3f}" for key in rows[0]))


def grid_error(notes: np.ndarray) -> dict[str, float]:
    """Mean distance of onsets from the sixteenth grid, relative to uniform onsets (0 perfect, 1 chance)."""
    begun = time.perf_counter()
    grid = rhythm.track(notes)
    spent = time.perf_counter() - begun
    place = np.interp(notes[:, 0], grid.times, np.arange(len(grid.times))) * 4
    away = np.abs(place - place.round())
    return {
        "grid error": away.mean() / 0.25,
        "near": float((away < 0.2).mean()),
        "bpm": 60 / np.median(np.diff(grid.times)),
        "seconds": spent,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--songs", type=int, default=100, help="per corpus")
    options = parser.parse_args()
    songs = pop909(options.data)[400:]
    songs = songs[:: max(1, len(songs) // options.songs)][: options.songs]
    rng = np.random.default_rng(1)
    rows = {"POP909 excerpts, as given": [], "POP909 excerpts, performed": [], "POP909 songs, performed": []}
    for path, beats, bars, _ in songs:
        notes = read_notes(path)
        n, b, k = excerpt(notes, beats, bars, rng)
        if len(k) < 3:
            continue
        rows["POP909 excerpts, as given"].append(measure(n, b, k))
        n, b = perform(n, b, rng)
        rows["POP909 excerpts, performed"].append(measure(n, b, k))
        n, b = perform(notes, beats, rng)
        rows["POP909 songs, performed"].append(measure(n, b, bars))
    for name, found in rows.items():
        table(name, found)
    for corpus in ("emopia", "giantmidi"):
        paths = sorted((options.data / corpus).rglob("*.mid"))
        paths = paths[:: max(1, len(paths) // options.songs)][: options.songs]
        table(corpus, [grid_error(read_notes(path)) for path in paths])


if __name__ == "__main__":
    main()
