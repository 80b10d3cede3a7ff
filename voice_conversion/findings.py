"""The sections of the voice's evaluation: each measures, and writes a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gen.evaluate.report import Report
from voice_conversion import features, measures
from voice_conversion.judge import ALSO, EMOTIONS
from voice_conversion.prosody import measure, shifts

if TYPE_CHECKING:
    from voice_conversion.corpus import Clip
    from voice_conversion.evaluate import Bench, Made

TARGETS = EMOTIONS[1:]


def emotion(report: Report, bench: Bench, made: list[Made]) -> None:
    """Accuracy of the judge on conversions, on real speech and on the sources; who is taken for whom."""
    from voice_conversion.evaluate import estimate

    real = [c for c in bench.acted if c.emotion in TARGETS or ALSO.get(c.emotion, c.emotion) == "neutral"]
    real = [c for c in real if c.group == "ravdess" or bench.random.random() < 0.25]
    heard = {c: bench.judge.hear(bench.corpus.samples(c)) for c in real}
    rows, ratio = [], []
    for name in TARGETS:
        index = EMOTIONS.index(name)
        hits = [m.heard.argmax() == index for m in made if m.emotion == name]
        truth = [h.argmax() == index for c, h in heard.items() if c.emotion == name]
        before = [heard_before(bench, m.clip).argmax() == index for m in made if m.emotion == name]
        share = np.mean([m.heard[index] for m in made if m.emotion == name])
        ratio.append((np.mean(hits), np.mean(truth)))
        both = (estimate(values, bench.random) for values in (hits, truth))
        rows.append([name, *both, np.mean(before), share, len(hits)])
    all_made, all_true = np.mean(ratio, 0)
    report.section("Emotion", "Neutral readings converted at intensity 1.")
    columns = ["emotion", "converted", "real speech", "unconverted", "probability, converted", "files"]
    report.table("Accuracy of the judge, seven classes", columns, rows)
    report.table("Against real speech", ["what", "share", "of real", ">= 0.6"],
                 [["mean recall, converted", all_made, all_made / all_true, bool(all_made >= 0.6 * all_true)],
                  ["mean recall, real speech", all_true, 1.0, True]])  # fmt: skip
    report.bar("mean recall of the judge, converted, of that on real speech", all_made / all_true, at_least=0.6)
    grid = np.zeros((len(TARGETS), len(EMOTIONS)))
    for m in made:
        grid[TARGETS.index(m.emotion), m.heard.argmax()] += 1
    shares = grid / grid.sum(1, keepdims=True)
    report.table("Who is taken for whom", ["asked for", *EMOTIONS],
                 [[name, *map(float, row)] for name, row in zip(TARGETS, shares)])  # fmt: skip


def heard_before(bench: Bench, clip: Clip, held: dict = {}) -> np.ndarray:  # noqa: B006 - kept between calls
    if clip.start not in held:
        held[clip.start] = bench.judge.hear(bench.corpus.samples(clip))
    return held[clip.start]


def intensity(report: Report, bench: Bench, sources: list[Clip], made: list[Made]) -> list[Made]:
    """The judge's probability of the target at nine intensities; returns the conversions at one half."""
    from matplotlib.figure import Figure

    from voice_conversion.evaluate import LEVELS

    known = {(m.clip, m.emotion): m for m in made}
    rows, halves, curves = [], [], {}
    for name in TARGETS:
        index, table = EMOTIONS.index(name), np.zeros((len(sources), len(LEVELS)))
        for i, clip in enumerate(sources):
            for j, level in enumerate(LEVELS):
                found = known[clip, name] if level == 1 else bench.convert(clip, name, level)
                table[i, j] = found.heard[index]
                halves += [found] if level == 0.5 else []
        curve = table.mean(0)
        curves[name] = curve
        rows.append([name, *map(float, curve[::2]), float(curve[4] - curve[0]), float(curve[-1] - curve[0]),
                     measures.kendall(curve), float(np.mean([measures.kendall(row) for row in table]))])  # fmt: skip
    whole = np.mean(list(curves.values()), 0)
    rows.append(["all", *map(float, whole[::2]), float(whole[4] - whole[0]), float(whole[-1] - whole[0]),
                 measures.kendall(whole), float(np.mean([row[-1] for row in rows]))])  # fmt: skip
    report.section("Intensity", "The judge's probability of the emotion asked for. A tau without range means nothing.")
    report.table("Probability of the target", ["emotion", *(f"{level:g}" for level in LEVELS[::2]), "range 0 to 1",
                 "range 0 to 2", "tau of means", "tau of files"], rows)  # fmt: skip
    report.table("Bar", ["what", "range 0 to 1", ">= 0.3"], [["all emotions", rows[-1][6], bool(rows[-1][6] >= 0.3)]])
    report.bar("range of the probability of the target, intensity 0 to 1", rows[-1][6], at_least=0.3)
    figure = Figure(figsize=(6, 3.2))
    axes = figure.add_subplot()
    for name, curve in curves.items():
        axes.plot(LEVELS, curve, label=name)
    axes.plot(LEVELS, whole, "k", lw=2.5, label="all")
    axes.set(xlabel="intensity", ylabel="probability of the target", ylim=(0, 1))
    axes.legend(ncol=2, fontsize=8)
    report.figure(figure, "Mean over files; the judge hears everything at one loudness.")
    return halves


def prosody(report: Report, bench: Bench, made: list[Made]) -> None:
    """How pitch, its range and the length move, beside real speakers' moves."""
    real = shifts(bench.corpus, bench.acted)
    rows = []
    for name in TARGETS:
        moves = []
        for m in (m for m in made if m.emotion == name):
            before, after = (_measured(x) for x in (bench.corpus.samples(m.clip), m.samples))
            moves.append(after - before)
        own = np.nanmedian(moves, 0)
        true = np.median([d for c, d in real if c.emotion == name], 0)
        own, true = own[:4], true[:4]
        same = (np.sign(own) == np.sign(true)) | (np.abs(true) < np.array([0.04, 0.15, 0.08, 0.08]))
        numbers = (float(v) for pair in zip(own, true) for v in pair)
        rows.append([name, *numbers, f"{same.sum()} of 4", bool(same.all())])
    columns = ["emotion", "pitch, octaves", "real", "range, log2", "real ", "length, log2", "real  ",
               "dynamics, log2", "real   ", "as real", "all"]  # fmt: skip
    report.section("Prosody", "Medians over recordings; the real ones are the same speakers' readings of the words.")
    report.table("Shifts from neutral", columns, rows, "A real shift near nothing has no direction to keep to.")


def _measured(samples: np.ndarray) -> np.ndarray:
    import torch

    from voice_conversion.corpus import levelled

    samples = levelled(samples)
    mel = features.mel(torch.from_numpy(samples)[None])[0].numpy()
    return measure(features.track(samples), mel)


def parallel(report: Report, bench: Bench, made: list[Made]) -> None:
    """Distance to the same speaker's real rendition of the words in the emotion, before and after converting."""
    from voice_conversion.corpus import levelled

    where = {(c.speaker, c.text, c.emotion): c for c in bench.acted if c.level <= 1}
    before, after = [], []
    for m in made[::2]:
        real = where.get((m.clip.speaker, m.clip.text, m.emotion))
        if real is not None:
            aim = levelled(bench.corpus.samples(real))
            before.append(measures.against(levelled(bench.corpus.samples(m.clip)), aim))
            after.append(measures.against(levelled(m.samples), aim))
    report.section("Against the real rendition", "Aligned in time; the same person says the same words.")
    rows = [[name, *map(float, np.nanmean(found, 0))] for name, found in
            (("neutral reading, unconverted", before), ("converted", after))]  # fmt: skip
    report.table("Distance", ["what", "MCD dB", "F0 RMSE semitones", "DDUR s"], rows, f"{len(after)} pairs.")


def speaker(report: Report, bench: Bench, made: list[Made], halves: list[Made]) -> None:
    """Cosine of speaker vectors: conversions to their source; real people to themselves."""
    from voice_conversion.evaluate import estimate

    cosine = lambda one, other: float(bench.vector(one) @ bench.vector(other))
    sound = bench.corpus.samples
    full = [cosine(sound(m.clip), m.samples) for m in made[::3]]
    half = [cosine(sound(m.clip), m.samples) for m in halves]
    actors = sorted({c.speaker for c in bench.acted if c.group == "ravdess"})
    plain, strong, others = [], [], []
    for actor in actors:
        own = [c for c in bench.acted if c.speaker == actor]
        neutral = [sound(c) for c in own if c.emotion == "neutral"]
        plain += [cosine(neutral[0], other) for other in neutral[1:]]
        strong += [cosine(neutral[0], sound(c)) for c in own if c.level > 1 and c.emotion in TARGETS][::2]
        others += [cosine(neutral[0], sound(next(c for c in bench.acted if c.speaker == other)))
                   for other in actors if other != actor]  # fmt: skip
    bar = float(np.mean(strong)) - 0.05
    rows = [["converted at 1, to its source", estimate(full, bench.random), float(np.mean(full)) >= bar],
            ["converted at 0.5, to its source", estimate(half, bench.random), float(np.mean(half)) >= bar + 0.05],
            ["same actor, neutral and neutral", estimate(plain, bench.random), "real"],
            ["same actor, neutral and strong emotion", estimate(strong, bench.random), "real"],
            ["another actor", estimate(others, bench.random), "real"]]  # fmt: skip
    report.bar("speaker's cosine, converted at 1, to its source", np.mean(full), at_least=bar)
    report.section("Speaker", "Resemblyzer's vectors, which the decoder is also told the speaker by.")
    report.table("Cosine", ["what", "cosine", "bar"], rows)


def sound(report: Report, bench: Bench) -> None:
    """Words and quality on sentences of voices never trained on, and quality on acted speech."""
    from voice_conversion.evaluate import estimate

    sentences = [c for c in bench.test if c.group == "aligned"]
    sentences = [sentences[i] for i in bench.random.permutation(len(sentences))[: bench.settings.sentences]]
    acted = bench.sources(bench.settings.sentences)
    kinds = {"recording": lambda c: bench.corpus.samples(c), "copy": lambda c: bench.copy(bench.corpus.samples(c)),
             "copy of the decoder's own mel": lambda c: bench.copy(bench.corpus.samples(c), drawn=True),
             "intensity 0": lambda c: bench.convert(c, "happy", 0).samples}  # fmt: skip
    kinds |= {f"{name} @ 1": lambda c, n=name: bench.convert(c, n).samples for name in ("happy", "sad", "angry")}
    kinds["happy @ 1, through the network"] = lambda c: bench.convert(c, "happy", vocoder="network").samples
    hear, score = measures.recogniser(), measures.quality()
    report.section("Words and quality", "Sentences of the aligned set; words by PocketSphinx, quality by Distill-MOS.")
    rows = []
    for kind, make in kinds.items():
        spoken, played = [make(c) for c in sentences], [make(c) for c in acted]
        row = [kind]
        if hear:
            wrong = sum(measures.word_errors(c.words, hear(x)) for c, x in zip(sentences, spoken))
            row.append(wrong / sum(len(measures.words(c.words)) for c in sentences))
        if score:
            row += [estimate([score(x) for x in sounds], bench.random) for sounds in (spoken, played)]
        rows.append(row)
    columns = ["what", *(["word error rate"] * bool(hear)), *(["quality, sentences", "quality, acted"] * bool(score))]
    missing = [] if hear else ["Words: PocketSphinx is not installed."]
    missing += [] if score else ["Quality: Distill-MOS is not installed."]
    report.table("After loudness normalisation", columns, rows, " ".join(missing))


def players(report: Report, bench: Bench, made: list[Made], count: int = 3) -> None:
    """Sources and what became of them, to listen to and to look at."""
    report.section("Listen")
    sources = list(dict.fromkeys(m.clip for m in made))
    for clip in [sources[0], sources[len(sources) // 2], sources[-1]][:count]:
        own = [m for m in made if m.clip == clip]
        cells = [(f"{clip.speaker}, as recorded", bench.corpus.samples(clip), features.RATE)]
        cells += [(f"{clip.speaker}, {m.emotion}", m.samples, features.RATE) for m in own]
        report.players([(caption, x / max(1.0, np.abs(x).max()), rate) for caption, x, rate in cells])
        picture = spectrograms([(caption, x) for caption, x, _ in cells])
        report.picture(picture, f"{clip.speaker}: mel spectra and pitch.")


def spectrograms(sounds: list[tuple[str, np.ndarray]]) -> bytes:
    """A picture of mel spectra with their pitch and its double."""
    import io

    import torch
    from matplotlib.figure import Figure

    from voice_conversion.corpus import levelled

    columns = 2
    figure = Figure(figsize=(13, 2.1 * -(-len(sounds) // columns)))
    for at, (caption, samples) in enumerate(sounds):
        axes = figure.add_subplot(-(-len(sounds) // columns), columns, at + 1)
        samples = levelled(samples)
        mel, hz = features.mel(torch.from_numpy(samples)[None])[0].numpy(), features.track(samples)
        axes.imshow(mel.T, origin="lower", aspect="auto", vmin=-9, vmax=0.5)
        for times, colour in ((1, "r"), (2, "w")):
            band = np.where(hz > 0, np.interp(times * hz, features.centres(), np.arange(features.BANDS)), np.nan)
            axes.plot(band, colour, lw=0.8)
        middle = np.median(hz[hz > 0]) if (hz > 0).any() else 0
        axes.set_title(f"{caption}: {middle:.0f} Hz, {len(samples) / features.RATE:.2f} s", fontsize=8)
        axes.tick_params(labelsize=6)
    image = io.BytesIO()
    figure.tight_layout()
    figure.savefig(image, format="png", dpi=80, metadata={"Software": None})
    return image.getvalue()
