"""``affekt train voice --data DIR --out OUT``: the bank of performances, how clear each is, and what intensity means.

Everything is measured with the project's own recogniser on speakers of the corpora; no judge takes part, and the
speakers that evaluations use are not in the bank.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from gen import checkpoints
from gen.emotion.calibration import Calibration
from gen.emotion.embedding.recogniser import SEVEN, Recogniser
from gen.emotion.spec import CANONICAL
from gen.emotion.track import plain
from voice_conversion.features import RATE
from voice_conversion.performance.bank import Bank
from voice_conversion.performance.choose import Chooser
from voice_conversion.performance.lay import Contours, changed, contours
from voice_conversion.performance.recording import Recording, heard, sounding
from voice_conversion.speaker import SpeakerEncoder
from voice_conversion.training import bank as pairs
from voice_conversion.training import corpus as recordings
from voice_conversion.training.corpus import Clip, Corpus

log = logging.getLogger(__name__)
TRIED = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  # strengths; 0 is the recording
MOST = 1.5  # strength at an intensity of 2
NEAR = 0.5  # octaves between the medians of those who may try each other's performances


class Settings(BaseModel):
    """What ``--set`` may change."""

    model_config = ConfigDict(extra="forbid")
    seed: int = 0
    speaker: str = "speaker-encoder"  # checkpoint
    tries: int = 3  # neutral readings by others that each performance is laid on, about
    files: int = 10  # neutral readings of validation speakers that the calibration is fitted on


def train(data: Path, out: Path, minutes: float | None, settings: Settings) -> None:
    """Write the bank and the calibration to ``OUT/checkpoint``; features and pairs are kept, minutes do not count."""
    chosen, place = settings, out / "checkpoint"
    corpus = recordings.build(Path(data), out / "corpus")
    recogniser, known = Recogniser.load(), checkpoints.load(chosen.speaker, SpeakerEncoder).float().eval()
    if not (out / "bank" / "performances.json").is_file():
        pairs.build(corpus).save(out / "bank")
    bank = Bank.load(out / "bank")
    clear = clarity(bank, corpus, recogniser, chosen.tries, chosen.seed)
    bank = bank._replace(performances=[one._replace(clarity=c) for one, c in zip(bank.performances, clear)])
    bank.save(place)
    calibrated(bank, corpus, Chooser(known, recogniser), chosen.files, chosen.seed).save(place)


class Reader:
    """A neutral reading that performances are tried on, and what the recogniser hears of that."""

    def __init__(self, corpus: Corpus, clip: Clip, recogniser: Recogniser):
        self.clip, self.recogniser = clip, recogniser
        self.recording: Recording = heard(corpus.samples(clip)[None], RATE)
        self.first, self.last = self.recording.spans[0][0], self.recording.spans[-1][1]
        self.own = self.recording.whole.part(self.first, self.last)
        self.reference = recogniser.reference([self.recording.plain], RATE)

    def listen(self, laid: list[Contours], strength: float = 1.0) -> np.ndarray:
        """(k, 7) shares of the emotions over SEVEN."""
        samples = self.recording.plain[None, self.first * 256 : self.last * 256]
        change = lambda one: changed(self.own, self.recording.median, one, strength)
        waves = [sounding(samples, RATE, self.own.hz, change(one))[0] for one in laid]
        return self.recogniser(waves, self.reference, RATE).probabilities


def clarity(bank: Bank, corpus: Corpus, recogniser: Recogniser, tries: int, seed: int) -> np.ndarray:
    """(p,) how clearly a performance's emotion is heard when others of a like register perform it saying something
    else, against the mean over its emotion: nepers of the recogniser's share."""
    random, total = np.random.default_rng(seed), np.zeros(len(bank.performances))
    count = np.zeros(len(total))
    neutral = [c for c in corpus.clips if c.part != "test" and c.emotion == "neutral"]
    speakers = sorted({c.speaker for c in neutral})
    for speaker in speakers:
        own = [c for c in neutral if c.speaker == speaker]
        reader = Reader(corpus, own[random.integers(len(own))], recogniser)
        apart = {other: abs(median - reader.recording.median) for other, median in bank.medians.items()}
        which = [i for i, p in enumerate(bank.performances)
                 if p.speaker != speaker and apart[p.speaker] < NEAR and p.text != reader.clip.text]  # fmt: skip
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


def calibrated(bank: Bank, corpus: Corpus, chooser: Chooser, files: int, seed: int) -> Calibration:
    """What intensity means: the recogniser's share of the emotion at TRIED, over readings of validation speakers, none
    of whom performs for himself."""
    random = np.random.default_rng(seed)
    clips = [c for c in corpus.clips if c.part == "valid" and c.emotion == "neutral"]
    queues = [[c for c in clips if c.speaker == speaker] for speaker in sorted({c.speaker for c in clips})]
    clips = [queue[random.integers(len(queue))] for queue in queues for _ in range(max(files // len(queues), 1))]
    responses: dict[str, list[np.ndarray]] = {}
    for clip in clips:
        reader = Reader(corpus, clip, chooser.recogniser)
        others = bank._replace(performances=[p for p in bank.performances if p.speaker != clip.speaker])
        for name in sorted({p.emotion for p in bank.performances}):
            weights = np.eye(len(CANONICAL))[[CANONICAL.index(name)] * len(reader.own.hz)]
            asked = plain(weights, np.ones(len(weights)))
            choice = chooser(others, reader.recording, reader.first, reader.last, asked, 8, random)
            shares = [reader.listen([choice.laid], strength)[0, SEVEN.index(name)] for strength in TRIED]
            responses.setdefault(name, []).append(np.array(shares))
    mean = {name: np.mean(rows, 0) for name, rows in responses.items()}
    log.info("heard at strengths %s: %s", TRIED, {name: row.round(2).tolist() for name, row in mean.items()})
    rows = {name: spaced(np.array(TRIED), row) for name, row in mean.items()}
    return Calibration(np.stack([rows.get(name, np.mean([*rows.values()], 0)) for name in CANONICAL]))


def spaced(tried: np.ndarray, response: np.ndarray) -> np.ndarray:
    """(9,) strengths at INTENSITIES: the performance as it was at 1, MOST of it at 2, and between 0 and 1 even steps of
    the response (m,) to the strengths ``tried``."""
    from scipy.optimize import isotonic_regression

    below = tried <= 1
    curve = isotonic_regression(response[below]).x + 0.05 * tried[below]
    even = np.interp(np.linspace(curve[0], curve[-1], 5), curve, tried[below])
    return np.concatenate([even, np.linspace(1, MOST, 5)[1:]])
