"""The report of a music evaluation."""

import io

import numpy as np
from matplotlib import rc_context
from scipy.stats import ks_2samp

from gen.evaluate.bootstrap import mean_of
from gen.evaluate.report import COLOURS, STYLE, Estimate, Report, Spread
from music.evaluation import figures, metrics
from music.evaluation.evaluate import AROUSAL, VALENCE, Music, Pieces, Results
from music.evaluation.judge import accuracy
from music.roll import draw

SONG = ("PR", "NPC", "POLY", "BPR", "BNPC", "BPOLY")
AXES = {"a": ("arousal", AROUSAL, 0.9), "v": ("valence", VALENCE, 0.7)}
OMITTED = ("data", "tokens", "full")  # paths of this machine, and what the sizes say already
RATE = 32000
PER_NOTE = ("pitch", "length", "velocity", "onset step", "position")


def report_of(found: Results) -> Report:
    """The report of what was found."""
    sizes = " ".join(f"{name}={value}" for name, value in found.chosen.model_dump().items() if name not in OMITTED)
    report = Report("Emotional piano: evaluation", f"Made by `affekt evaluate music --set data=DIR {sizes}`.")
    with rc_context(STYLE):
        bars(report, found)
        emotion(report, found)
        control(report, found)
        change(report, found)
        likeness(report, found)
        originality(report, found)
        listening(report, found)
    return report


def bars(report: Report, found: Results) -> None:
    """Targets, and speed."""
    real, made = (accuracy(found.told[o], *found.pieces[o][1:])["quadrant"] for o in ("held out", "generated"))
    table = {origin: song_table(found.pieces[origin]) for origin in ("held out", "generated")}
    mean, spread = table["held out"].mean(axis=0), table["held out"].std(axis=0)
    off = np.abs(table["generated"].mean(axis=0) - mean) / spread
    report.bar(f"share of valid pieces, of {found.made}", found.valid / found.made, at_least=1.0)
    report.bar("judge's accuracy (4 quadrants), generated; the bar is that on real clips", Estimate(*made), real[0])
    for axis, (name, measures, bar) in AXES.items():
        rho = found.sweeps[axis].correlations(measures[0])[0]
        report.bar(f"requested {name} against {measures[0]}, Spearman", rho, at_least=bar)
    report.bar(
        f"song and bar measures, standard deviations off; farthest: {SONG[int(off.argmax())]}", off.max(), at_most=1.0
    )
    for name, runs in found.copies.items():
        own, other = (float(np.quantile(runs[origin], 0.95)) for origin in ("generated", "held out"))
        report.bar(
            f"notes in a row shared with training songs, {name}, 95th percentile; the bar is real songs' own",
            own,
            at_most=other,
        )
    pace = found.seconds / found.made
    report.section("Speed")
    report.table(
        "Speed",
        ["pieces", "seconds each", "bars", "batch"],
        [[found.made, pace, found.chosen.bars, found.chosen.batch]],
    )


def emotion(report: Report, found: Results) -> None:
    """The judge's predictions."""
    report.section(
        "Emotion",
        "The judge is trained on EMOPIA's training songs alone and shares nothing with the generator. Its accuracy on "
        "real clips of songs it has not heard is the ceiling that it can measure; chance is 0.25, 0.5 and 0.5.",
    )
    held, made = found.pieces["held out"], found.pieces["generated"]
    shuffled = np.random.default_rng(0).permutation(len(made.quadrant))
    asked = [
        ("held out, as performed", found.performed, held),
        ("held out, as tokens", found.told["held out"], held),
        ("generated", found.told["generated"], made),
        ("generated, labels shuffled", found.told["generated"], made._replace(quadrant=made.quadrant[shuffled])),
        ("neutral, first draw", found.told["neutral"], found.pieces["neutral"]),
    ]
    rows = []
    for name, told, pieces in asked:
        right = accuracy(told, pieces.quadrant, pieces.song)
        rows.append([name, len(pieces.music), *(Estimate(*right[key]) for key in ("quadrant", "arousal", "valence"))])
    note = "95 % intervals by bootstrap; real clips are drawn by song."
    report.table("The judge's accuracy", ["pieces", "n", "quadrant", "arousal", "valence"], rows, note)
    told = {name: (pieces.quadrant, told.quadrant.argmax(axis=1)) for name, told, pieces in asked[1:3]}
    report.figure(figures.confusion(told), "Labels or requests (rows) and the judge's word (columns).")


def control(report: Report, found: Results) -> None:
    """Requested against measured, 21 steps of each axis."""
    count = found.chosen.sweep
    report.section(
        "Continuous control",
        f"21 levels from -1 to 1 are requested, {count} pieces of each, from the same seeds at every level; the other "
        "axis is 0.",
    )
    rows = []
    for axis, (name, measures, _) in AXES.items():
        for measure in measures:
            rows.append([measure, name, *found.sweeps[axis].correlations(measure)])
    columns = ["measure", "requested", "means of the levels", "single pieces"]
    report.table("Spearman's rho with the request", columns, rows)
    for (axis, (name, measures, _)), colour in zip(AXES.items(), COLOURS[1:3], strict=True):
        chosen = {measure: found.sweeps[axis].measured[measure] for measure in measures[:4]}
        picture = figures.control(found.sweeps[axis].requested, chosen, name, colour)
        report.figure(picture, f"Requested {name}: single pieces and the mean of each level.")


def change(report: Report, found: Results) -> None:
    """Emotions that change from bar to bar."""
    rows = []
    for item in found.following:
        first, second = (mean_of(column) for column in item.told.T)
        right = (item.told[:, 1] > item.told[:, 0]) == item.rises
        rows.append([item.asked, AXES[item.axis][1][0].removeprefix("judge: "), first, second, float(right.mean())])
    report.section("Emotions that change", f"{found.chosen.curves} pieces each; the judge hears the halves apart.")
    columns = ["request", "judge's probability of", "first half", "second half", "moved as asked"]
    report.table("Halves", columns, rows)
    moving = [(item.asked, np.stack(item.energy)) for item in found.following if item.axis == "a"]
    names = ("notes per second", "velocity")
    report.figure(figures.following(moving, names), "Mean of each bar, with its standard error.")


def song_table(pieces: Pieces) -> np.ndarray:
    """(n, 6) song and bar measures."""
    return np.array([list(metrics.song_measures(*piece).values()) for piece in pieces.music])


def control_table(pieces: Pieces) -> tuple[list[str], np.ndarray]:
    """Names, and (n, 7) measures of arousal and valence."""
    rows = [metrics.control_measures(*piece) for piece in pieces.music]
    return list(rows[0]), np.array([list(row.values()) for row in rows])


def per_note(piece: Music) -> np.ndarray:
    """(n - 1, 5): pitch, length in sixteenths, velocity, sixteenths since the onset before, place in the bar."""
    bar, position = metrics.on_grid(piece.notes, piece.bars)
    steps = np.interp(piece.notes[:, :2], piece.bars, np.arange(len(piece.bars)) * metrics.STEPS)
    length = np.rint(np.diff(steps, axis=1)[:, 0])
    wait = np.diff(bar * metrics.STEPS + position)
    return np.stack([piece.notes[1:, 2], length[1:], piece.notes[1:, 3], wait, position[1:]], axis=1)


def likeness(report: Report, found: Results) -> None:
    """Similarity of the pieces to real ones, overall and by quadrant."""
    report.section(
        "Likeness to real music",
        "Real clips are measured as the tokens keep them. PR pitch range, NPC pitch classes, POLY simultaneous pitches "
        "(MusPy); with B: the same per bar, BPOLY notes per onset. The closest to the held-out clips is the best.",
    )
    tables = {origin: song_table(pieces) for origin, pieces in found.pieces.items()}
    rows = [[o, len(t), *map(Spread, t.mean(axis=0), t.std(axis=0))] for o, t in tables.items()]
    report.table("Song and bar measures", ["pieces", "n", *SONG], rows)
    controls, rows = {origin: control_table(found.pieces[origin])[1] for origin in ("held out", "generated")}, []
    for q, (origin, table) in ((q, pair) for q in range(4) for pair in controls.items()):
        here = table[found.pieces[origin].quadrant == q]
        rows.append([f"Q{q + 1} {origin}", *map(Spread, here.mean(axis=0), here.std(axis=0))])
    names = control_table(found.pieces["generated"])[0]
    report.table("By quadrant", ["pieces", *names], rows)
    split = {
        name: {o: [t[found.pieces[o].quadrant == q, k] for q in range(4)] for o, t in controls.items()}
        for k, name in enumerate(names)
    }
    for k, name in ((0, "pitch"), (1, "length in sixteenths"), (2, "velocity of notes")):
        split[name] = {o: [note_values(found.pieces[o], q, k) for q in range(4)] for o in controls}
    report.figure(figures.violins(split), "Distributions by quadrant: labelled (held out) and requested (generated).")
    distances(report, found, tables)


def note_values(pieces: Pieces, quadrant: int, column: int) -> np.ndarray:
    """One column of :func:`per_note` over all pieces of a quadrant."""
    chosen = [piece for piece, q in zip(pieces.music, pieces.quadrant, strict=True) if q == quadrant]
    return np.concatenate([per_note(piece)[:, column] for piece in chosen])


def distances(report: Report, found: Results, tables: dict[str, np.ndarray]) -> None:
    """Overlap area and KL divergence per measure, Kolmogorov-Smirnov per element; the training clips for comparison."""
    origins = ("generated", "training")
    rows = []
    for k, name in enumerate(SONG):
        pairs = [metrics.set_distance(tables["held out"][:, [k]], tables[origin][:, [k]]) for origin in origins]
        rows.append([name, *(pair[key] for pair in pairs for key in ("OA", "KL"))])
    columns = ["measure", "OA generated", "KL generated", "OA training", "KL training"]
    note = (
        "Distances within the held-out clips against distances to the others (Yang and Lerch 2020); 1 and 0 are ideal."
    )
    report.table("Overlap with held-out clips", columns, rows, note)
    notes = {o: np.concatenate([per_note(piece) for piece in found.pieces[o].music]) for o in ("held out", *origins)}
    rows = [
        [name, *(float(ks_2samp(notes["held out"][:, k], notes[o][:, k]).statistic) for o in origins)]
        for k, name in enumerate(PER_NOTE)
    ]
    report.table("Kolmogorov-Smirnov distance to held-out notes", ["element", *origins], rows)


def originality(report: Report, found: Results) -> None:
    """Copying from training songs."""
    report.section(
        "Originality",
        "The longest run of notes (pitch steps and onset steps) that a piece shares with any piece of training "
        f"({found.corpora}). Real held-out songs share some too: that is the bar.",
    )
    rows = []
    for name, runs in found.copies.items():
        for origin, longest in runs.items():
            rows.append([f"{origin}, {name}", *np.quantile(longest, (0.5, 0.95)).tolist(), int(longest.max())])
    report.table("Longest shared run in notes", ["pieces", "median", "95th percentile", "longest"], rows)
    report.figure(figures.shared_runs(found.copies), "Share of pieces with a shared run at least so long; dashed: 5 %.")


def listening(report: Report, found: Results) -> None:
    """Piano rolls, and sound where it was asked for."""
    report.section("To see and to hear", "The first pieces of each quadrant, not chosen.")
    made, told, count = found.pieces["generated"], found.told["generated"].quadrant, found.chosen.pieces
    for i in range(0, 4 * count, count):
        roll, (notes, bars) = io.BytesIO(), made.music[i]
        beats = np.interp(np.arange(0, len(bars) - 1, 0.25), np.arange(len(bars)), bars)
        draw(notes, roll, figures.QUADRANT[i // count], beats)
        report.picture(roll.getvalue(), f"Seed {i}: asked for Q{i // count + 1}, judged Q{told[i].argmax() + 1}.")
    if found.chosen.listen:
        heard = [i + k for i in range(0, 4 * count, count) for k in range(min(found.chosen.listen, count))]
        sounds = [(f"{figures.QUADRANT[i // count]}, seed {i}", sound(made.music[i]), RATE) for i in heard]
        report.players(sounds)


def sound(piece: Music) -> np.ndarray:
    """The piece on the piano, float32 (n, 2)."""
    import symusic

    from music.synth import render

    score = symusic.Score(ttype="second")
    track = symusic.Track(name="piano", ttype="second")
    for start, end, pitch, loud in piece.notes:
        track.notes.append(symusic.Note(start, end - start, int(pitch), int(loud), ttype="second"))
    score.tracks.append(track)
    return render(score, RATE).T
