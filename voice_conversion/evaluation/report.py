"""``affekt evaluate voice --out DIR --files FOLDER --set data=DATA``: conversions of speakers never trained on.

FOLDER gets the recordings, the conversions, the same speakers' real renditions, and manifests for a judge from outside
(columns source, output, emotion, intensity, text, lang). What such a judge heard, a JSON with a list ``files`` of rows
with heard_as, p, words_wrong, speaker, mos, becomes tables with ``--set heard=FILE real_heard=FILE``.

Performances of the sentence that is converted are left out of the bank, so that every text is one never trained on.
"""

from __future__ import annotations

import csv
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, DirectoryPath, FilePath

from gen import media
from gen.emotion.embedding.recogniser import SEVEN
from gen.emotion.spec import EMBEDDING, EmotionCurve
from gen.evaluate.bootstrap import mean_of
from gen.evaluate.report import Report
from gen.generator import Bar
from voice_conversion.evaluation import measures
from voice_conversion.evaluation.listener import Together, judges
from voice_conversion.pipeline import SPEAKER, WHISPER, VoiceGenerator
from voice_conversion.task import CANDIDATES
from voice_conversion.training.bank import canonical
from voice_conversion.training.corpus import SPEECH, labels, part_of, text_of

TARGETS = ("happy", "sad", "angry", "fear", "disgust", "surprise")
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
MEASURES = ("words_wrong", "words_wrong_source", "mos", "mos_source", "speaker")
COLUMNS = ("source", "output", "emotion", "intensity", "text", "lang")


class Settings(BaseModel):
    """Settings that ``--set`` can change."""

    model_config = ConfigDict(extra="forbid")
    data: DirectoryPath
    model: str = "voice-compact"
    files: str = ""  # a folder for what was made, with manifests for judges from outside
    listener: str = ""  # a folder with the heads of the project's own judges, which `affekt train voice` writes
    heard: FilePath | None = None  # what a judge heard in it
    real_heard: FilePath | None = None  # and in the speakers' real renditions
    sources: int = 2  # neutral readings of each test speaker; RAVDESS has four, two of each text
    corpora: str = "ravdess,emodb,nemo"
    levels: str = "1"  # intensities, such as 0,0.25,0.5,0.75,1,1.5,2
    candidates: int = CANDIDATES
    refine: bool = True
    chooser: Literal["own", "whisper"] = "own"
    seed: int = 0


class VoiceEvaluator:
    """``affekt evaluate voice``."""

    def __init__(self, settings: Settings, out: Path):
        self.settings, self.out = settings, out
        self.report = Report(
            "Emotional voice conversion",
            f"`{settings.model}`, {settings.candidates} candidates; recordings of speakers never trained on, each with "
            "a sentence that the performances laid on it do not have.",
        )

    def run(self) -> Report:
        if self.settings.heard:
            judged(self.report, self.settings)
        else:
            self.made()
        return self.report

    def summary(self) -> list[Bar]:
        return self.report.bars

    def generator(self) -> VoiceGenerator:
        others = (SPEAKER, EMBEDDING, *((WHISPER,) if self.settings.chooser == "whisper" else ()))
        return VoiceGenerator.from_pretrained(self.settings.model, *others)

    def made(self) -> None:
        """Render everything, write it where files are wanted, and measure what needs no judge."""
        chosen = self.settings
        place, speech = Path(chosen.files) if chosen.files else None, chosen.data / SPEECH
        generator, found, rows = self.generator(), defaultdict(list), []
        bank, judge = generator.bank, judges(Path(chosen.listener)) if chosen.listener else None
        judged: list[tuple[float, str, float, bool, float, bool]] = []
        for one, real in readings(chosen.data, chosen.corpora.split(","), chosen.sources):
            samples, rate = media.read_audio(speech / one["file"], mono=False)
            generator.bank = bank._replace(performances=[p for p in bank.performances if p.text != text_of(one)])
            known = judge.reference(measures.plain(samples, rate)) if judge else None
            for emotion in TARGETS:
                if emotion not in real:
                    continue
                told = media.read_audio(speech / real[emotion]["file"], mono=False) if judge else None
                acted = opinion(judge, *told, known, emotion) if told else ()
                for level in map(float, chosen.levels.split(",")):
                    began = time.process_time()
                    curve = EmotionCurve.parse(f"{emotion} @ {level:g}")
                    made = generator.convert(
                        samples, rate, curve, seed=chosen.seed, candidates=chosen.candidates, refine=chosen.refine
                    )
                    measure(found[level], samples, made, rate, time.process_time() - began)
                    if judge:
                        judged.append((level, emotion, *opinion(judge, made, rate, known, emotion), *acted))
                    if place:
                        rows += written(place, one, speech / real[emotion]["file"], emotion, level, samples, made, rate)
        generator.bank = bank
        if place:
            for kind in ("made", "real"):
                with open(place / f"{kind}.csv", "w", newline="", encoding="utf-8") as file:
                    table = csv.writer(file)
                    table.writerow(COLUMNS)
                    table.writerows(row for own, row in rows if own == kind)
        self.report.section("Without a judge", "What changed that should not, and what it cost.")
        columns = ["intensity", "octave leaps, share", "sibilants, dB", "loudness, LU", "seconds a second", "files"]
        middle = lambda own, name: float(np.mean([abs(row[name]) for row in own if np.isfinite(row[name])] or [0.0]))
        self.report.table(
            "Means of sizes",
            columns,
            [
                [f"{level:g}", *(middle(own, name) for name in ("leaps", "hiss", "louder", "speed")), len(own)]
                for level, own in found.items()
            ],
        )
        if judged:
            own_judge(self.report, judged)
        own = found[max(found)]
        self.report.bar("octave leaps, share of voiced frames", middle(own, "leaps"), at_most=0.01)
        self.report.bar("sibilants' change, dB", middle(own, "hiss"), at_most=3)
        self.report.bar("loudness' change, LU", middle(own, "louder"), at_most=1)
        self.report.bar("processor seconds a second of speech", middle(own, "speed"), at_most=0.5)


def readings(data: Path, corpora: list[str], count: int) -> list[tuple[dict, dict[str, dict]]]:
    """Rows of neutral readings of the test speakers, ``count`` of each, with different words before the same words
    again, and for each the speaker's strongest real rendition of the words in every emotion."""
    said: dict[tuple[str, str], list[dict]] = defaultdict(list)
    for row in labels(data):
        if row["set"] in corpora and part_of(row["speaker"]) == "test":
            said[row["speaker"], text_of(row)].append(row)
    found: dict[str, list[tuple]] = defaultdict(list)
    for (speaker, _), own in said.items():
        real = {r["emotion"]: r for r in sorted(own, key=lambda r: (r["intensity"], r["file"]))}
        plain = [row for row in own if row["emotion"] == "neutral"]
        found[speaker] += [(again, -len(real), row, real) for again, row in enumerate(plain)]
    best = lambda own: sorted(own, key=lambda one: one[:2])[:count]
    return [one[2:] for own in found.values() for one in best(own)]


def opinion(judge: Together, samples: np.ndarray, rate: int, known: np.ndarray, emotion: str) -> tuple[float, bool]:
    """The judge's share of an emotion in a recording, and whether it is the largest."""
    shares = judge.shares([measures.plain(samples, rate)], known)[0]
    which = SEVEN.index(canonical(emotion))
    return float(shares[which]), bool(shares.argmax() == which)


def own_judge(report: Report, judged: list[tuple[float, str, float, bool, float, bool]]) -> None:
    """The table of what the project's own judge heard: level, emotion, p and right in a conversion and for real."""
    report.section(
        "Heard by the project's own judges",
        "Mean of two, on Whisper base's blocks and on functionals; seven ways; real beside.",
    )
    kinds = sorted({row[:2] for row in judged}) + [(level, "all") for level in sorted({row[0] for row in judged})]
    rows = []
    for level, emotion in kinds:
        own = [row[2:] for row in judged if row[0] == level and emotion in (row[1], "all")]
        rows.append([f"{level:g}", emotion, *map(float, np.mean(own, 0)), len(own)])
    report.table(
        "Right and probability", ["intensity", "emotion", "p", "right", "p, real", "right, real", "files"], rows
    )


def measure(found: list, source: np.ndarray, made: np.ndarray, rate: int, work: float) -> None:
    """Add one conversion's measures."""
    before, after = (measures.plain(x, rate) for x in (source, made))
    found.append(
        {
            "leaps": measures.leaps(after),
            "hiss": measures.sibilants(before, after),
            "louder": measures.louder(source, made, rate),
            "speed": work / (source.shape[1] / rate),
        }
    )


def written(
    place: Path, one: dict, real: Path, emotion: str, level: float, samples: np.ndarray, made: np.ndarray, rate: int
) -> list[tuple[str, list]]:
    """Write a source and its conversion; the manifest's rows."""
    name = f"{one['speaker'].replace(':', '-')}_{Path(one['file']).stem}"
    source, output = f"{name}.wav", f"{name}_{emotion}_{level:g}.wav"
    if not (place / source).is_file():
        media.write_audio(place / source, samples, rate)
    media.write_audio(place / output, made, rate)
    rows = [("made", [source, output, emotion, level, one["text"], one["language"]])]
    again = f"{name}_{emotion}_real.wav"
    if not (place / again).is_file():
        media.write_audio(place / again, *media.read_audio(real, mono=False))
        rows.append(("real", [source, again, emotion, 1.0, one["text"], one["language"]]))
    return rows


def judged(report: Report, chosen: Settings) -> None:
    """Tables of what a judge heard in the conversions, beside what it heard in real renditions."""
    heard = {
        kind: json.loads(Path(path).read_text(encoding="utf-8"))["files"]
        for kind, path in (("made", chosen.heard), ("real", chosen.real_heard))
        if path
    }
    full = [row for row in heard["made"] if row["intensity"] == 1]
    hits = lambda rows: [row["heard_as"] == row["emotion"] for row in rows]
    report.section("Heard by a judge from outside", "Seven ways; `real`: the speakers' own strong renditions.")
    rows = []
    for corpus in ("", "ravdess", "emodb", "nemo"):
        for emotion in ("", *TARGETS):
            part = [r for r in full if corpus in r["output"] and emotion in r["emotion"]]
            real = [r for r in heard.get("real", []) if corpus in r["output"] and emotion in r["emotion"]]
            if part:
                rows.append(
                    [
                        f"{corpus or 'all'} {emotion}".strip(),
                        mean_of(hits(part)),
                        mean_of(hits(real)) if real else "",
                        float(np.mean([r["p"] for r in part])),
                        *(mean(part, n) for n in MEASURES),
                        len(part),
                    ]
                )
    columns = ["what", "right", "real", "p", "words wrong", "words wrong, source", "MOS", "MOS, source", "speaker"]
    report.table("At intensity 1", [*columns, "files"], rows)
    report.bar("right at intensity 1", mean_of(hits(full)))


def mean(rows: list[dict], name: str) -> float:
    return float(np.nanmean([row[name] for row in rows]))
