"""``affekt train voice --data DIR --out OUT``: recognisers, refiner, the bank of performances, how clear each is, and
what intensity means.

Whisper's encoder (``affekt checkpoints pull whisper-base``) hears everything, with a head that is trained here; no
judge from outside takes part, and the speakers that evaluations use are not in the bank.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from gen import checkpoints
from gen.emotion.calibration import INTENSITIES, Calibration
from gen.emotion.embedding.recogniser import SEVEN, Recogniser
from gen.emotion.spec import CANONICAL
from gen.emotion.track import plain
from gen.whisper import Whisper
from voice_conversion.emoreg import refine
from voice_conversion.evaluation.listener import HEAD, PLAIN, Listener, PlainListener, Together, judges
from voice_conversion.features import RATE
from voice_conversion.performance.bank import Bank
from voice_conversion.performance.choose import Chooser, Ear, Embedded, proposals
from voice_conversion.performance.lay import Contours, changed, contours
from voice_conversion.performance.recording import Recording, heard, sounding
from voice_conversion.performance.scorer import FILE, Scorer
from voice_conversion.speaker import SpeakerEncoder
from voice_conversion.training import bank as pairs
from voice_conversion.training import corpus as recordings
from voice_conversion.training import listener as heads
from voice_conversion.training import refiner as refining
from voice_conversion.training import scorer as scoring
from voice_conversion.training.corpus import ASIDE, Clip, Corpus

log = logging.getLogger(__name__)
TRIED = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # strengths; 0 is the recording
LEAST = (0.0, 0.8, 1.5)  # least strength at intensities 0, 1 and 2
LIFTS, MOVEMENTS = (0.0, 0.33, 0.67, 1.0), (0.5, 1.0, 1.5)  # shares of a performance's pitch that are tried
ENOUGH = (0.94, 0.85)  # of what is heard with the best lift, and of that with its best movement
TOGETHER = 16  # performances that fit a reading, of which some are tried
REAL = ("ravdess", "emodb")  # corpora whose recordings the scorer hears beside renderings: the clearest ones
NEAR = 0.5  # octaves between the medians of those who may try each other's performances


class Settings(BaseModel):
    """Settings that ``--set`` can change."""

    model_config = ConfigDict(extra="forbid")
    seed: int = 0
    speaker: str = "speaker-encoder"  # checkpoint
    whisper: str = "whisper-base"  # checkpoint, of the teacher
    renderings: int = 1200  # that the scorer learns from
    steps: int = 450  # of its training
    refining: int = 8000  # steps of the refiner's
    tries: int = 3  # neutral readings by others that each performance is laid on, about
    kept: float = 0.55  # share of each emotion's performances that the bank keeps: the clearest
    files: int = 12  # neutral readings of validation speakers that the calibration is fitted on


def train(data: Path, out: Path, minutes: float | None, settings: Settings) -> None:
    """Write bank, networks and calibration to ``OUT/checkpoint``; what is made on the way is kept beside it, and
    minutes do not count."""
    chosen, place = settings, out / "checkpoint"
    place.mkdir(parents=True, exist_ok=True)
    corpus = recordings.build(Path(data), out / "corpus")
    own = [clip for clip in corpus.clips if clip.part != "test" and clip.speaker not in ASIDE]
    names = [pairs.canonical(clip.emotion) for clip in own]
    listeners = Listener(Whisper(checkpoints.folder(chosen.whisper) / "model.bin"), {}), PlainListener({})
    for listener, file in zip(listeners, (HEAD, PLAIN)):
        if not (place / file).is_file():
            heads.save(heads.fitted(heads.heard(listener, corpus, own), own, names, chosen.seed), place / file)
    judge = judges(place, chosen.whisper)
    if not (out / "bank" / "performances.json").is_file():
        pairs.build(corpus).save(out / "bank")
    bank = Bank.load(out / "bank")
    if not (out / "lessons.npz").is_file():
        teachers = bank._replace(performances=[p for p in bank.performances if p.speaker not in ASIDE])
        scoring.lessons(teachers, corpus, judge, own, chosen.renderings, chosen.seed).save(out / "lessons.npz")
    if not (place / FILE).is_file():
        acted = [clip for clip in own if clip.group in REAL]
        real = scoring.real(corpus, acted, [pairs.canonical(clip.emotion) for clip in acted], chosen.seed)
        scoring.taught(scoring.Lessons.load(out / "lessons.npz"), real, chosen.steps, chosen.seed).save(place)
    if not (place / refine.FILE).is_file():
        others = bank._replace(performances=[p for p in bank.performances if p.speaker not in ASIDE])
        refining.taught(refining.build(corpus, others, own, chosen.seed), chosen.refining, chosen.seed).save(place)
    scorer = Scorer.load(place)
    every = Together((*judge.ears, Embedded(Recogniser.load())))
    bank = bank._replace(shares=shared(bank, corpus, every, chosen.files, chosen.seed))
    bank = clearest(bank, clarity(bank, corpus, scorer, chosen.tries, chosen.seed), chosen.kept)
    bank.save(place)
    known = checkpoints.load(chosen.speaker, SpeakerEncoder).float().eval()
    chooser, refiner = Chooser(known, scorer, Embedded(Recogniser.load())), refine.Refiner.load(place)
    calibrated(bank, corpus, chooser, refiner, judge, chosen.files, chosen.seed).save(place)


def clearest(bank: Bank, clear: np.ndarray, share: float) -> Bank:
    """The bank with the clarities (p,) and only the clearest ``share`` of each emotion's performances, and only the
    readings that these need."""
    kept: list[int] = []
    for emotion in {p.emotion for p in bank.performances}:
        mine = np.array([i for i, p in enumerate(bank.performances) if p.emotion == emotion])
        kept += mine[np.argsort(-clear[mine])][: max(round(share * len(mine)), 1)].tolist()
    needed = sorted({bank.performances[i].reading for i in kept})
    performances = [
        bank.performances[i]._replace(clarity=float(clear[i]), reading=needed.index(bank.performances[i].reading))
        for i in sorted(kept)
    ]
    return bank._replace(readings=[bank.readings[i] for i in needed], performances=performances)


class Reader:
    """A neutral reading that performances are tried on, and what is heard of that."""

    def __init__(self, corpus: Corpus, clip: Clip, ear: Ear):
        self.clip, self.ear = clip, ear
        self.recording: Recording = heard(corpus.samples(clip)[None], RATE)
        self.first, self.last = self.recording.spans[0][0], self.recording.spans[-1][1]
        self.own = self.recording.whole.part(self.first, self.last)
        self.reference = ear.reference(self.recording.plain, RATE)

    def listen(self, laid: list[Contours], strength: float = 1.0) -> np.ndarray:
        """(k, 7) shares of the emotions over SEVEN."""
        samples = self.recording.plain[None, self.first * 256 : self.last * 256]
        change = lambda one: changed(self.own, self.recording.median, one, strength)
        waves = [sounding(samples, RATE, self.own.hz, change(one))[0] for one in laid]
        return self.ear.shares(waves, self.reference, RATE)


def clarity(bank: Bank, corpus: Corpus, ear: Ear, tries: int, seed: int) -> np.ndarray:
    """(p,) how clearly a performance's emotion is heard when others of a like register perform it saying something
    else, against the mean over its emotion: nepers of the share that is heard."""
    random, total = np.random.default_rng(seed), np.zeros(len(bank.performances))
    count = np.zeros(len(total))
    neutral = [c for c in corpus.clips if c.part != "test" and c.emotion == "neutral"]
    speakers = sorted({c.speaker for c in neutral})
    for speaker in speakers:
        own = [c for c in neutral if c.speaker == speaker]
        reader = Reader(corpus, own[random.integers(len(own))], ear)
        apart = {other: abs(median - reader.recording.median) for other, median in bank.medians.items()}
        which = [
            i
            for i, p in enumerate(bank.performances)
            if p.speaker != speaker and apart[p.speaker] < NEAR and p.text != reader.clip.text
        ]
        which = random.permutation(which)[: 2 * tries * len(bank.performances) // len(speakers)]
        for part in np.array_split(which, max(len(which) // 32, 1)):
            shares = reader.listen(contours(bank, list(part), reader.own, reader.recording.median))
            columns = [SEVEN.index(bank.performances[i].emotion) for i in part]
            total[part] += np.log(shares[np.arange(len(part)), columns] + 1e-3)
            count[part] += 1
        log.info("%s tried %d performances", speaker, len(which))
    found = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    for emotion in {p.emotion for p in bank.performances}:
        mine = np.array([p.emotion == emotion for p in bank.performances]) & (count > 0)
        found[mine] -= found[mine].mean() if mine.any() else 0
    return found * count / (count + 1)  # few tries say little


def readers(corpus: Corpus, ear: Ear, files: int, random: np.random.Generator) -> list[Reader]:
    """About ``files`` neutral readings of those left aside, as many of each."""
    clips = [c for c in corpus.clips if c.speaker in ASIDE and c.emotion == "neutral"]
    queues = [[c for c in clips if c.speaker == speaker] for speaker in sorted({c.speaker for c in clips})]
    count = max(files // len(queues), 1)
    return [Reader(corpus, queue[random.integers(len(queue))], ear) for queue in queues for _ in range(count)]


def shared(bank: Bank, corpus: Corpus, ear: Ear, files: int, seed: int) -> dict[str, list[float]]:
    """By emotion, the shares of a performance's lift and movement of pitch that are enough: the least of LIFTS with
    which it is heard nearly as well as with the best, and of MOVEMENTS with that, over readings of those left aside and
    performances by others."""
    random, size = np.random.default_rng(seed), (len(LIFTS), len(MOVEMENTS))
    total: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(size))
    for reader in readers(corpus, ear, files, random):
        strange = lambda p, clip=reader.clip: p.speaker == clip.speaker or p.text == clip.text
        for name in sorted({p.emotion for p in bank.performances}):
            which = proposals(bank, name, reader.own, reader.recording.median, TOGETHER, random, without=strange)
            for i in random.choice(which, min(len(which), 2), replace=False):
                laid = [
                    contours(bank._replace(shares={name: way}), [i], reader.own, reader.recording.median)[0]
                    for way in product(LIFTS, MOVEMENTS)
                ]
                total[name] += reader.listen(laid)[:, SEVEN.index(name)].reshape(size)
        log.info("%s performed at all lifts", reader.clip.speaker)
    found = {}
    for name, own in total.items():
        lift = int((own.max(1) >= ENOUGH[0] * own.max()).argmax())
        movement = int((own[lift] >= ENOUGH[1] * own[lift].max()).argmax())
        found[name] = [LIFTS[lift], MOVEMENTS[movement]]
    log.info("shares of lift and movement: %s", found)
    return found


def calibrated(
    bank: Bank, corpus: Corpus, chooser: Chooser, refiner: refine.Refiner, ear: Ear, files: int, seed: int
) -> Calibration:
    """The calibration of intensity: the share of the emotion that ``ear`` hears at TRIED, over readings of validation
    speakers, each from other performers."""
    random = np.random.default_rng(seed)
    responses: dict[str, list[np.ndarray]] = {}
    for reader in readers(corpus, ear, files, random):
        others = bank._replace(performances=[p for p in bank.performances if p.speaker != reader.clip.speaker])
        for name in sorted({p.emotion for p in bank.performances}):
            weights = np.eye(len(CANONICAL))[[CANONICAL.index(name)] * len(reader.own.hz)]
            asked = plain(weights, np.ones(len(weights)))
            where = reader.recording, reader.first, reader.last
            adapt = partial(refine.adapted, refiner, *where, track=asked, seed=seed)
            laid = chooser(others, *where, asked, TOGETHER, random, adapt=adapt).laid
            shares = [reader.listen([laid], strength)[0, SEVEN.index(name)] for strength in TRIED]
            responses.setdefault(name, []).append(np.array(shares))
    mean = {name: np.mean(rows, 0) for name, rows in responses.items()}
    log.info("heard at strengths %s: %s", TRIED, {name: row.round(2).tolist() for name, row in mean.items()})
    least = np.interp(INTENSITIES, range(3), LEAST)
    return Calibration(np.maximum(Calibration.fit(TRIED, mean).strengths, least))
