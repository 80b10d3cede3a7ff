"""The controls of a musician and the properties of every piece: requested against measured, on pieces of MusER.

    python benchmarks/controls.py --tokens runs/music/tokens.npz [--pieces 12] [--bars 16]

Pieces are sampled once and rendered for each request, since controls act on sampled pieces. ``control`` rows:
Spearman's rho of request and measure over all pieces and levels, and the largest side effect: the standard deviation of
another measure over the levels of a piece, relative to that of real (EMOPIA's held-out) clips. Prints both tables and
writes ``benchmarks/results/controls.csv``.
"""

import csv
import re
import time
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import music21
import numpy as np
import symusic
import tyro
from scipy.stats import spearmanr

from gen import media
from gen.emotion.spec import EmotionCurve
from gen.evaluate.bootstrap import interval, mean_of
from gen.jobs.schema import parse_task
from gen.notes import collect
from music import controls, finish, names, rework
from music.controls import Requests
from music.evaluation import metrics
from music.evaluation.evaluate import Music, from_rows, with_end
from music.evaluation.judge import Judge
from music.hands import chords, divide
from music.notation import musicxml
from music.pipeline import FADERS, MusicGenerator
from music.rework import anew, turned
from music.score import read_song, to_notes, to_score
from music.shape import parted, shaped
from music.task import TAKEN
from music.tokens import POSITIONS, Grid, Vocabulary, decode
from music.training import corpus
from music.training.emopia import emopia
from music.transfer import transferred

EMOTIONS = ("Q1", "Q2", "Q3", "Q4")
MEASURES = {
    "density": controls.density,
    "voices": controls.voices,
    "register": controls.register,
    "dynamics": controls.dynamics,
    "articulation": controls.articulation,
    "tempo": controls.tempo,
}
LEVELS = {
    "density": (0.75, 1.25, 1.75, 2.25, 2.75, 3.25),
    "voices": (1.5, 2, 3, 4, 5, 6),
    "register": (48, 54, 60, 66, 72),
    "dynamics": (33, 49, 62, 76, 90, 104),
    "articulation": (0.35, 0.5, 0.65, 0.8, 1.0),
    "tempo": (54, 72, 90, 108, 132, 160),
}
PROGRESSIONS = ("C Am F G", "Dm7 G7 Cmaj7", "Em C G D", "Bb F Gm Eb")
SECONDS = (12.0, 42.5, 61.3)


def drawn(generator: MusicGenerator, count: int, bars: int) -> tuple[list, list[np.ndarray], list[int]]:
    """Sampled grids, the arousal of each bar, seeds."""
    curves, seeds = [EmotionCurve.parse(EMOTIONS[i % 4]) for i in range(count)], list(range(count))
    rows = generator.drawn(curves, bars, seeds, candidates=1)
    arousal = [generator.points(curve, bars)[:, 1] for curve in curves]
    return [decode(r, generator.vocabulary) for r in rows], arousal, seeds


def swept(name: str, raw, faders, real: dict[str, float]) -> dict:
    """One control at all its levels."""
    asked, found, others = [], [], []
    for grid, arousal, seed in zip(*raw, strict=True):
        made = [
            shaped(
                grid,
                arousal,
                Requests(**{name: float(level)}),
                seed,
                None,
                faders if name in ("density", "voices") else None,
            )[0]
            for level in LEVELS[name]
        ]
        asked += LEVELS[name]
        found += [MEASURES[name](one) for one in made]
        others.append(
            [
                np.std([measure(one) for one in made]) / real[other]
                for other, measure in MEASURES.items()
                if other != name
            ]
        )
    worst = np.mean(others, 0)
    other = [m for m in MEASURES if m != name][int(worst.argmax())]
    off = np.abs(np.array(found) - asked)
    return {
        "row": name,
        "n": len(found),
        "measure": "Spearman",
        "value": spearmanr(asked, np.round(found, 3))[0],
        "also": f"mean error {off.mean():.2f}, {np.mean(off / np.array(asked)):.1%}; others move at most "
        f"{worst.max():.2f} sd ({other})",
    }


def others(raw) -> list[dict]:
    """Keys, modes, lengths, chords, loops."""
    share, right, modes, exact, on, loops = [], [], [], [], [], []
    for i, (grid, arousal, seed) in enumerate(zip(*raw, strict=True)):
        for tonic in range(0, 12, 3):
            for minor in (False, True):
                key = names.Key(tonic + i % 3, minor)
                made = shaped(grid, arousal, Requests(key=key), seed)[0]
                share.append(controls.in_scale(made, key))
                right.append(names.found(made.notes) == key)
        for minor in (False, True):
            modes.append(names.found(shaped(grid, arousal, Requests(minor=minor), seed)[0].notes).minor == minor)
        for seconds in SECONDS:
            part = grid._replace(notes=grid.notes, tempo=grid.tempo)
            made = shaped(part, arousal, Requests(seconds=seconds), seed)[0]
            exact.append(abs(controls.length(made) - seconds))
        for text in PROGRESSIONS:
            wanted = tuple(names.chord(part) for part in text.split())
            made = shaped(grid, arousal, Requests(chords=wanted), seed)[0]
            on.append(controls.on_chords(made, wanted))
        made, key, _ = shaped(grid, arousal, Requests(loop=True), seed)
        loops.append(made.chords[-1] == f"{names.ROOTS[(key.tonic + 7) % 12]}_7" and len(made.tempo) == len(grid.tempo))
    row = lambda name, values, measure, also="": {
        "row": name,
        "n": len(values),
        "measure": measure,
        "value": float(np.mean(values)),
        "also": also,
    }
    return [
        row("key", share, "notes in its scale", f"least {min(share):.3f}"),
        row("key", right, "key found is the one asked for"),
        row("mode", modes, "mode found is the one asked for"),
        row("seconds", exact, "mean error, s", f"most {max(exact):.4f}"),
        row("chords", on, "beats on their chord", f"least {min(on):.2f}"),
        row("loop", loops, "ends on the dominant of its beginning"),
    ]


def transfers(raw, tokens: Path, data: Path) -> list[dict]:
    """Transfers elements from held-out clips of the opposite quadrant (Q1 and Q3, Q2 and Q4), as ``--take`` does.

    Rows have the share of the elements that is the clip's, how much of the others is kept, and how far the judge's
    arousal and valence move towards the clip's (95 % intervals), with the distance between piece and clip.
    """
    judge, clips = Judge.load(), emopia(data)
    kept = [p for p in corpus.load(tokens) if p.group == "emopia"]
    held = [
        (decode(p.rows, Vocabulary.default()), c.quadrant - 1)
        for p, c in zip(kept, clips, strict=True)
        if c.part == "test" and len(p.feeling) >= 8
    ]
    own = np.arange(len(raw[0])) % 4
    by_quadrant = [[grid for grid, quadrant in held if quadrant == q] for q in range(4)]
    donors = [by_quadrant[(q + 2) % 4][i % len(by_quadrant[(q + 2) % 4])] for i, q in enumerate(own)]
    pieces = [finish.in_reach(grid)[0]._replace(tempo=finish.paced(grid.tempo, a)) for grid, a, _ in zip(*raw)]
    told = lambda grids: judge([to_notes(grid) for grid in grids])
    before, whole, rows = told(pieces), told(donors), []
    up = {"arousal": np.where(own < 2, -1, 1), "valence": np.where(np.isin(own, (0, 3)), -1, 1)}
    for elements in (*((one,) for one in TAKEN[:5]), ("rhythm", "pitch"), ("rhythm", "velocity", "tempo"), TAKEN[:5]):
        made = [
            finish.in_reach(transferred(grid, dict.fromkeys(elements, donor)))[0]
            for grid, donor in zip(pieces, donors, strict=True)
        ]
        rest = {*TAKEN[:5]} - {*elements} - ({"duration"} if "rhythm" in elements else set())
        came = [_same(e, one, donor) for one, donor in zip(made, donors, strict=True) for e in elements]
        stayed = [_same(e, one, grid) for one, grid in zip(made, pieces, strict=True) for e in rest]
        after, moves = told(made), []
        for axis, sign in up.items():
            old, new, aim = (getattr(verdict, axis) for verdict in (before, after, whole))
            moved = mean_of(sign * (new - old))
            whole_way = np.mean(sign * (aim - old))
            moves.append(f"{axis} by {moved.value:.2f} ({moved.low:.2f} to {moved.high:.2f}) of {whole_way:.2f}")
        turned = np.mean(after.quadrant.argmax(1) == (own + 2) % 4)
        rows.append(
            {
                "row": f"take {' '.join(elements)}",
                "n": len(made),
                "measure": "share of the elements that is the clip's",
                "value": float(np.mean(came)),
                "also": f"others kept {f'{np.mean(stayed):.2f}' if stayed else '-'}; judge: {', '.join(moves)}; "
                f"clip's quadrant {turned:.2f}",
            }
        )
    return rows


def _same(element: str, one: Grid, other: Grid) -> float:
    """Share of an element that two grids have in common, over the bars of the first."""
    if element == "tempo":
        return float(np.mean(one.tempo == np.resize(other.tempo, len(one.tempo))))
    column = {"rhythm": 0, "pitch": 1, "duration": 2, "velocity": 3}[element]
    bars = len(other.tempo)
    found = []
    for bar in range(len(one.tempo)):
        a, b = (grid.notes[grid.notes[:, 0] // POSITIONS == at] for grid, at in ((one, bar), (other, bar % bars)))
        x, y = ({*(note[column] % POSITIONS if column == 0 else note[column] for note in part)} for part in (a, b))
        found.append(len(x & y) / max(len(x), 1) if x and y else 1.0)
    return float(np.mean(found))


def seams(generator: MusicGenerator, data: Path, count: int) -> list[dict]:
    """Regenerates four bars inside held-out clips: nats per step after the seam against those of other bars."""
    clips = [clip for clip in emopia(data) if clip.part == "test"]
    after, before, others = [], [], []
    for clip in clips:
        bars = len(read_song(clip.path).grid.tempo)
        if bars < 16 or len(after) == count:
            continue
        task = parse_task(
            {
                "kind": "music",
                "emotion": f"Q{clip.quadrant}",
                "continue": str(clip.path),
                "replace": f"{bars // 2 - 1}-{bars // 2 + 2}",
            }
        )
        with collect() as notes:
            anew(generator, task, 0)
        found = re.findall(r"\d+\.\d\d", next(text for text in notes if "nats" in text))
        for row, number in zip((after, before, others), found, strict=True):
            row.append(float(number))
    spread = mean_of(np.subtract(after, others))
    return [
        {
            "row": "seams",
            "n": len(after),
            "measure": "nats a step after new bars, above the song's other bars",
            "value": float(np.mean(after) - np.mean(others)),
            "also": f"95 % {spread.low:.2f} to {spread.high:.2f}; old bars {np.mean(before) - np.mean(others):.2f}",
        }
    ]


def themes(generator: MusicGenerator, tokens: Path, count: int) -> list[dict]:
    """``--theme`` and ``--melody`` with the tunes of held-out clips: eight bars sad, then the same eight bars happy."""
    held = [p for p in corpus.load(tokens) if p.group == "emopia" and p.part == "test" and len(p.feeling) >= 8]
    alike, kept = [], []
    for seed, piece in enumerate(held[:: max(len(held) // count, 1)][:count]):
        clip = parted(decode(piece.rows, Vocabulary.default()), 8)[0]
        tune = clip._replace(notes=controls.tune(clip))
        with TemporaryDirectory() as folder:
            path = Path(folder) / "tune.mid"
            to_score(tune, names.found(clip.notes)).dump_midi(path)
            emotion = {"emotion": "bar 0: sad, bar 7.9: sad, bar 8: happy"}
            task = parse_task({"kind": "music", "theme": str(path), **emotion})
            turns = parted(turned(generator, task, Requests(), 16, seed)[0], 8)
            task = parse_task({"kind": "music", "melody": str(path), **emotion})
            old, new = symusic.Score(path), rework.kept(generator, task, seed)[0]
        alike.append([controls.melody_likeness(tune.notes, controls.tune(turn)) for turn in turns])
        kept.append(all(a.notes == b.notes for a, b in zip(old.tracks, new.tracks, strict=False)))
    alike = np.array(alike)
    return [
        {
            "row": "theme",
            "n": len(alike),
            "measure": "similarity of the tune's intervals, sad and happy",
            "value": alike.mean(),
            "also": f"sad {alike[:, 0].mean():.2f}, happy {alike[:, 1].mean():.2f}; least {alike.min():.2f}; "
            f"at least .8 in both {(alike.min(1) >= 0.8).mean():.2f}",
        },
        {
            "row": "melody",
            "n": len(kept),
            "measure": "tunes whose notes stay to the tick",
            "value": float(np.mean(kept)),
            "also": "",
        },
    ]


def notation(pieces: list, bars: int) -> list[dict]:
    """MusicXML and MIDI of finished pieces as music21 reads them."""
    right = defaultdict(list)
    for piece in pieces:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "a.mid"
            media.write_midi(path, to_score(piece.grid, piece.key), {}, channel=0)
            midi = music21.converter.parse(path, quantizePost=False)
        xml = music21.converter.parse(musicxml(piece.grid, piece.key, ""), format="musicxml")
        for name, read in (("MusicXML", xml), ("MIDI", midi)):
            flat = read.flatten()
            right["two staves, hands apart"].append(len(read.parts) == 2)
            right[f"bars, {name}"].append(max(len(part.getElementsByClass("Measure")) for part in read.parts) == bars)
            right[f"key, {name}"].append(flat.getElementsByClass("KeySignature")[0].sharps == piece.key.fifths)
            right["4/4"].append(flat.getElementsByClass("TimeSignature")[0].ratioString == "4/4")
            bpm = flat.getElementsByClass("MetronomeMark")[0].number
            right["first tempo within 1"].append(abs(bpm - piece.grid.tempo[0]) <= 1)
        clefs = [len(part.flatten().getElementsByClass("Clef")) - 1 for part in xml.parts]
        right["no change of clef"].append(not sum(clefs))
        right["chord symbols"].append(len(xml.flatten().getElementsByClass("ChordSymbol")) > 0)
        right["onsets that two hands can play"].append(_reached(piece))
        pedals = xml.recurse().getElementsByClass(music21.expressions.PedalMark)
        right["pedal, where a hand leaves notes"].append(bool(len(pedals)) == bool(len(divide(piece.grid).pedal)))
    return [
        {"row": f"notation: {name}", "n": len(found), "measure": "share", "value": float(np.mean(found)), "also": ""}
        for name, found in right.items()
    ]


def speed(generator: MusicGenerator) -> list[dict]:
    """CPU seconds of one piece of 16 bars per quadrant, weights loaded."""
    rows = []
    for candidates in (1, 4):
        took = []
        for emotion in EMOTIONS:
            begun = time.process_time()
            generator.compose([EmotionCurve.parse(emotion)], 16, [0], candidates=candidates)
            took.append(time.process_time() - begun)
        rows.append(
            {
                "row": f"speed, candidates {candidates}",
                "n": len(took),
                "measure": "CPU seconds of 16 bars",
                "value": float(np.mean(took)),
                "also": ", ".join(f"{emotion} {t:.1f}" for emotion, t in zip(EMOTIONS, took, strict=True)),
            }
        )
    return rows


def every_piece(generator: MusicGenerator, count: int, bars: int, tokens: Path) -> list[dict]:
    """Properties of unconditional pieces, with the judge's figures and those of real clips."""
    asked = np.arange(count) % 4
    pieces = generator.compose([EmotionCurve.parse(EMOTIONS[q]) for q in asked], bars, list(range(count)))
    verdict = Judge.load()([piece.notes for piece in pieces])
    kept = corpus.load(tokens)
    held = [p for p in kept if p.group == "emopia" and p.part == "test"]
    real, clips = [from_rows(p.rows) for p in held], [decode(p.rows, Vocabulary.default()) for p in held]
    book = metrics.Songbook([metrics.transitions(*from_rows(p.rows), False) for p in kept if p.part == "train"])
    made = [with_end(piece.notes, piece.bars) for piece in pieces]
    table = lambda music: np.array([[*metrics.song_measures(*m).values()] for m in music])
    off = np.abs(table(made).mean(0) - table(real).mean(0)) / table(real).std(0)
    runs = [book.longest(metrics.transitions(*m, False)) for m in made]
    runs_real = [book.longest(metrics.transitions(*m, False)) for m in real]
    leaps = [np.abs(np.log(p.grid.tempo[1:] / p.grid.tempo[:-1])).max() >= np.log(1.25) for p in pieces]
    rubato = [np.abs(p.grid.tempo[:-2] / np.median(p.grid.tempo[:-2]) - 1).max() for p in pieces]
    arousal = np.repeat(np.linspace(-1, 1, 9), 2)
    paces = generator.compose([EmotionCurve.parse(f"a={a:.2f} v=0") for a in arousal], 8, [*range(2)] * 9, candidates=1)

    def value(name: str, x, measure: str, also: str = "", how=np.mean) -> dict:
        found = interval(how, np.asarray(x, float))
        also = f"95 % {found.low:.2f} to {found.high:.2f}{'; ' if also else ''}{also}"
        return {"row": name, "n": len(x), "measure": measure, "value": found.value, "also": also}

    farthest, pace = int(off.argmax()), np.array([controls.tempo(piece.grid) for piece in paces])
    tail = lambda x: float(np.quantile(x, 0.95))
    return [
        value("quadrant", verdict.quadrant.argmax(1) == asked, "judge right (held-out clips .66 to .68)"),
        value("arousal", (verdict.arousal > 0.5) == (asked < 2), "judge right"),
        value("valence", (verdict.valence > 0.5) == np.isin(asked, (0, 3)), "judge right"),
        value("valid", [piece.valid() for piece in pieces], "share"),
        value(
            "likeness",
            (table(made)[:, farthest] - table(real)[:, farthest].mean()) / table(real)[:, farthest].std(),
            f"sd off, the farthest of {', '.join(metrics.song_measures(*made[0]))}",
        ),
        value(
            "memorisation",
            runs,
            "notes shared in a row, 95th percentile, any key",
            f"real {tail(runs_real):.1f} ({len(real)} clips); longest {max(runs)}, real {max(runs_real)}",
            tail,
        ),
        value("tempo leaps", leaps, "pieces with a leap of 25 %"),
        value("rubato", rubato, "farthest from the pulse", f"most {max(rubato):.3f}"),
        value("ending", [_ends(p) for p in pieces], "pieces that end on a held tonic chord"),
        value(
            "cadences",
            [_cadences(p.grid, p.key) for p in pieces],
            "dominant before the eighth and last bar lines",
            f"real {np.mean([_cadences(grid, names.found(grid.notes)) for grid in clips]):.2f}",
        ),
        value(
            "clashes",
            [_clashes(p.grid) for p in pieces],
            "onsets with a semitone or a minor ninth",
            f"real {np.mean([_clashes(grid) for grid in clips]):.3f}",
        ),
        value(
            "tempo against arousal",
            np.column_stack((arousal, pace)),
            "Spearman",
            how=lambda x: float(spearmanr(*x.T)[0]),
        ),
        value(
            "repetition",
            [_repeats(m) for m in made],
            "likeness of a bar to its nearest other",
            f"real {np.mean([_repeats(m) for m in real]):.2f}",
        ),
        value(
            "one chord",
            [_commonest(p.grid) for p in pieces],
            "share of beats on the commonest chord",
            f"real {np.mean([_commonest(grid) for grid in clips]):.2f}",
        ),
        value("hands", [_reached(p) for p in pieces], "onsets that two hands take"),
    ]


def _ends(piece) -> bool:
    last = piece.grid.notes[piece.grid.notes[:, 0] >= (len(piece.grid.tempo) - 1) * POSITIONS]
    tonic, third = piece.key.tonic, 3 + (not piece.key.minor)
    triad = {(tonic + step) % 12 for step in (0, third, 7)}
    held = np.all(last[:, 2] >= POSITIONS / 2)
    return bool(held and last[:, 1].min() % 12 == tonic and set(last[:, 1] % 12) <= triad)


def _cadences(grid: Grid, key: names.Key) -> float:
    lines = [*range(8, len(grid.tempo) - 1, 8), len(grid.tempo) - 1]
    root = names.ROOTS[(key.tonic + 7) % 12]
    return float(np.mean([grid.chords[bar * 4 - 1] in (f"{root}_7", f"{root}_M") for bar in lines]))


def _clashes(grid: Grid) -> float:
    pitches = [onset[:, 1] for onset in chords(grid.notes) if len(onset) > 1]
    found = [np.isin(pitch[:, None] - pitch, (1, 13)).any() for pitch in pitches]
    return float(np.mean(found)) if found else 0.0


def _repeats(music: Music) -> float:
    """Mean over bars of the largest Jaccard index of (position, pitch class) with another bar of the piece."""
    bar, position = metrics.on_grid(*music)
    sets = [set(zip(position[bar == b], music.notes[bar == b, 2] % 12)) for b in np.unique(bar)]
    nearest = [
        max((len(a & b) / max(len(a | b), 1) for j, b in enumerate(sets) if i != j), default=0.0)
        for i, a in enumerate(sets)
    ]
    return float(np.mean(nearest))


def _commonest(grid: Grid) -> float:
    """The share of the beats that have the commonest chord."""
    return Counter(grid.chords).most_common(1)[0][1] / len(grid.chords)


def _reached(piece) -> float:
    hands = divide(piece.grid)
    found = [len(c) <= 5 and np.ptp(c[:, 1]) <= 16 for part in (hands.right, hands.left) for c in chords(part)]
    return float(np.mean(found))


def main(tokens: Path, pieces: int = 12, bars: int = 16, judged: int = 48, only: str = "", data: Path = Path()) -> None:
    """``only``: comma-separated parts: others, transfer and seams (with ``data``), themes, notation, speed, every."""
    generator = MusicGenerator.from_pretrained()
    parts = (
        only.split(",") if only else ["others", *MEASURES, "transfer", "seams", "themes", "notation", "speed", "every"]
    )
    from music.faders.play import Faders

    vocabulary, path = Vocabulary.default(), Path(__file__).parent / "results" / "controls.csv"
    real = [decode(p.rows, vocabulary) for p in corpus.load(tokens) if p.group == "emopia" and p.part == "test"]
    spread = {name: float(np.std([measure(grid) for grid in real])) for name, measure in MEASURES.items()}
    with path.open(newline="") as file:
        rows = [*csv.DictReader(file)]

    def add(found: list[dict]) -> None:
        fresh = {row["row"] for row in found}
        rows[:] = [row for row in rows if row["row"] not in fresh]
        rows.extend(found)
        for row in found:
            print(f"{row['row']:22} {row['n']:4} {row['value']:8.3f}  {row['measure']}  {row['also']}", flush=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows({**row, "value": round(float(row["value"]), 4)} for row in rows)

    raw = drawn(generator, pieces, bars) if set(parts) - {"every", "seams", "themes", "notation", "speed"} else None
    if "others" in parts:
        add(others(raw))
    for name in MEASURES:
        if name in parts:
            add([swept(name, raw, Faders.load(FADERS), spread)])
    if "transfer" in parts:
        add(transfers(raw, tokens, data))
    if "seams" in parts:
        add(seams(generator, data, pieces))
    if "themes" in parts:
        add(themes(generator, tokens, pieces))
    if "notation" in parts:
        some = [EmotionCurve.parse(EMOTIONS[i % 4]) for i in range(8)]
        add(notation(generator.compose(some, bars, list(range(8))), bars))
    if "speed" in parts:
        add(speed(generator))
    if "every" in parts:
        add(every_piece(generator, judged, 12, tokens))


if __name__ == "__main__":
    tyro.cli(main)
