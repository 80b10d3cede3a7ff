"""Losses of the tokens on real performances: every EMOPIA clip as MIDI -> compound words -> MIDI, and again.

python -m benchmarks.roundtrip --data DIR [--clips N]: DIR contains emopia/labels.csv. With all clips, also writes
benchmarks/results/roundtrip.md.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gen import media
from music.beats import track
from music.chords import estimate
from music.score import read_grid, read_notes, to_score
from music.tokens import CHORD, POSITIONS, STEP, TEMPO, Vocabulary, decode, encode, quantise
from music.training.emopia import emopia

VOCABULARY = Vocabulary.default()


def measure(path: Path, folder: Path) -> dict[str, np.ndarray]:
    """For one clip: errors of every surviving note against its original, and counts."""
    notes = read_notes(path)
    beats = track(notes)
    grid = quantise(notes, beats, estimate(notes, beats))
    rows = encode(grid, VOCABULARY)
    written = folder / "clip.mid"
    media.write_midi(written, to_score(decode(rows, VOCABULARY)))
    played = np.array([(n.start, n.duration, n.pitch, n.velocity) for n in media.read_midi(written).tracks[0].notes])
    place = np.interp(notes[:, :2], beats.times, np.arange(len(beats.times)) * 4.0 - beats.downbeat * 4)
    sixteenth = np.interp(notes[:, 0], beats.times[:-1], np.diff(beats.times) / 4)
    position = place[:, 0].round().astype(int)
    position -= position.min() // POSITIONS * POSITIONS
    raw = place[:, 1] - place[:, 0]
    originals, lasting = {}, np.where(raw < 0.75, 0.5, raw.round().clip(1, POSITIONS))
    for i in np.lexsort((-np.arange(len(notes)), lasting)):  # per pitch and position the (first) longest note
        originals[position[i], int(notes[i, 2])] = i
    arrived = [(originals.get((start // STEP, pitch)), k) for k, (start, _, pitch, _) in enumerate(played)]
    source, copy = np.array([pair for pair in arrived if pair[0] is not None]).T
    again = encode(read_grid(written), VOCABULARY)
    rest = [e for e in range(7) if e != CHORD]
    same = len(again) == len(rows) and np.array_equal(again[:, rest], rows[:, rest])
    onset = np.abs(place[source, 0] - place[source, 0].round())
    length = raw[source].clip(0.5, POSITIONS) - played[copy, 1] / STEP
    bpm = VOCABULARY.numbers(TEMPO)
    nearest = np.array([bpm[VOCABULARY.nearest(TEMPO, t)] for t in grid.tempo])
    return {
        "notes": np.array([len(notes), len(played), len(source)]),
        "onset, sixteenths": onset,
        "onset, ms": onset * sixteenth[source] * 1000,
        "length, sixteenths": np.abs(length),
        "velocity": np.abs(notes[source, 3] - played[copy, 3]),
        "bar's tempo, %": np.abs(nearest / grid.tempo - 1) * 100,
        "same": np.array([same]),
        "same chords": (again[:, CHORD] == rows[:, CHORD])[rows[:, CHORD] > 0] if same else np.zeros(0),
    }


def report(found: list[dict[str, np.ndarray]]) -> str:
    total, played, matched = np.sum([clip["notes"] for clip in found], 0)
    pooled = {name: np.concatenate([clip[name] for clip in found]) for name in found[0]}
    lines = [
        f"{len(found)} clips, {total} notes: {played / total:.4%} arrive, "
        f"{matched / played:.4%} of them at the pitch and sixteenth of their original",
        "",
        "| error | median | 95 % | largest |",
        "|---|---|---|---|",
    ]
    for name in ("onset, sixteenths", "onset, ms", "length, sixteenths", "velocity", "bar's tempo, %"):
        middle, most = np.percentile(pooled[name], [50, 95])
        lines.append(f"| {name} | {middle:.3g} | {most:.3g} | {pooled[name].max():.3g} |")
    lines += [
        "",
        f"A second round changes nothing but chords in {pooled['same'].mean():.2%} of the clips; "
        f"{pooled['same chords'].mean():.2%} of their chords, estimated again, are unchanged too.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clips", type=int, help="every k-th clip, so many of them")
    options = parser.parse_args()
    paths = [clip.path for clip in emopia(options.data)]
    paths = paths[:: max(1, len(paths) // options.clips)][: options.clips] if options.clips else paths
    with tempfile.TemporaryDirectory() as folder:
        text = report([measure(path, Path(folder)) for path in tqdm(paths, mininterval=10)])
    print(text)
    if not options.clips:
        results = Path(__file__).parent / "results"
        results.mkdir(exist_ok=True)
        (results / "roundtrip.md").write_text(f"# What tokens lose of EMOPIA\n\n{text}\n")


if __name__ == "__main__":
    main()
