"""Choice of a performance: proposals by performer and phrase, then recognition of the rendered proposals, and of the
best of them once more with the change of the sound that they will have.

k proposals, e width of the shared embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import soxr

from gen.emotion.embedding.network import Reference
from gen.emotion.embedding.recogniser import SEVEN, Recogniser
from gen.emotion.spec import CANONICAL
from gen.emotion.track import EmotionTrack
from voice_conversion import speaker
from voice_conversion.features import HOP, RATE
from voice_conversion.performance.bank import Bank
from voice_conversion.performance.lay import Contours, changed, contours
from voice_conversion.performance.phrase import Phrase, basis
from voice_conversion.performance.recording import Recording, sounding
from voice_conversion.psola import periods
from voice_conversion.speaker import SpeakerEncoder

SHARE = 0.2  # of the largest share of a mix: emotions with less give no proposals
REGISTER, LENGTH, CLEAR = 1.5, 0.7, 2.0  # weights of register (octaves), length (nepers) and clarity in a proposal
CHANCE = 0.25  # spread of the random part of a proposal's score
PERSON, SAME = 6.0, 0.7  # cost of a speaker's cosine below
PITCH, LOW, HIGH = 3.0, -0.7, 1.1  # cost of each octave below and above, from the speaker's median
WORDS, TOLD, SPOKEN = 4.0, 9, 3.0  # cost of losing the words, cepstra that tell them, nepers below the loud frames
PACE = 0.5  # cost of a neper of pace
FINAL = 4  # proposals that are adapted and compared again


class Choice(NamedTuple):
    """A performance laid on a phrase, and -1 where it is to be turned round (away from its emotion), else 1."""

    which: int
    laid: Contours
    sign: int


def shares(weights: np.ndarray, bank: Bank) -> dict[str, float]:
    """Weights (8,) over the canonical emotions -> those of the bank's emotions, the largest first, summing to 1.

    What the bank does not know is shared among its emotions by their nearness in valence, arousal and dominance.
    """
    from gen.emotion import lexicon

    points, known = lexicon.canonical()[0], sorted({p.emotion for p in bank.performances})
    found = dict.fromkeys(known, 0.0)
    for name, weight in zip(CANONICAL, weights):
        if name in found:
            found[name] += float(weight)
        elif name != "neutral":
            apart = [np.square(points[CANONICAL.index(one)] - points[CANONICAL.index(name)]).sum() for one in known]
            near = np.exp(-np.array(apart) / 0.1)
            for one, part in zip(known, near / near.sum()):
                found[one] += float(weight * part)
    total = sum(map(abs, found.values()))
    return {n: w / total for n, w in sorted(found.items(), key=lambda item: -abs(item[1]))} if total else {}


def proposals(
    bank: Bank,
    emotion: str,
    own: Phrase,
    median: float,
    count: int,
    random: np.random.Generator,
    performer: str | None = None,
    without: Callable = lambda performance: False,
) -> list[int]:
    """Performances of an emotion that fit who speaks and how long the phrase is, best first, performers in turn."""
    scores: dict[str, list[tuple[float, int]]] = {}
    for i, one in enumerate(bank.performances):
        if one.emotion != emotion or (performer and one.speaker != performer) or without(one):
            continue
        length = np.log(len(bank.readings[one.reading]) * bank.step / len(own.hz))
        score = CLEAR * one.clarity - REGISTER * abs(bank.medians[one.speaker] - median) - LENGTH * abs(length)
        scores.setdefault(one.speaker, []).append((score + CHANCE * random.gumbel(), i))
    ranked = [sorted(own, reverse=True) for own in scores.values()]
    turns = [sorted((own[turn] for own in ranked if turn < len(own)), reverse=True) for turn in range(3)]
    return [i for turn in turns for _, i in turn][:count]


def kept(own: Phrase, wave: np.ndarray, stretch: np.ndarray) -> float:
    """Preservation of the words in a rendering: the mean correlation, over the frames of speech, of the first
    cepstra of the phrase and of its rendering (s,), in which a frame takes ``stretch`` (n,)."""
    import torch

    from voice_conversion import features

    mel = features.mel(torch.from_numpy(features.cut(wave))[None])[0].numpy()
    when = np.cumsum(stretch) - stretch / 2 - 0.5
    made = np.stack([np.interp(when, np.arange(len(mel)), row) for row in (mel @ basis()[:, :TOLD]).T], 1)
    speech = own.level > -SPOKEN
    pairs = zip(own.cepstra[speech, :TOLD].T, made[speech].T)
    return float(np.mean([np.corrcoef(before, after)[0, 1] for before, after in pairs]))


class Ear(Protocol):
    """A recogniser of emotion, such as :class:`~voice_conversion.performance.scorer.Scorer`."""

    def reference(self, samples: np.ndarray, rate: int):
        """Reference features of a speaker, from neutral speech (s,)."""

    def shares(self, recordings: list[np.ndarray], reference, rate: int) -> np.ndarray:
        """Recordings (s,) of that speaker -> shares (k, 7) over SEVEN."""


class Embedded(NamedTuple):
    """The shared embedding as an ear."""

    recogniser: Recogniser

    def reference(self, samples: np.ndarray, rate: int) -> Reference:
        return self.recogniser.reference([samples], rate)

    def shares(self, recordings: list[np.ndarray], reference: Reference, rate: int) -> np.ndarray:
        return self.recogniser(recordings, reference, rate).probabilities


class Chooser:
    """Listens to proposals, and guards who speaks and how."""

    def __init__(self, known: SpeakerEncoder, *ears: Ear):
        self.known, self.ears = known, ears  # the first ear hears all proposals, all ears the best
        self.last: tuple[np.ndarray | None, dict] = (None, {})  # a recording, and what was computed of it

    def once(self, plain: np.ndarray, name: object, work: Callable):
        """The result of ``work`` on a recording (s,), kept until another recording comes."""
        last = self.last if self.last[0] is plain else (plain, {})
        if name not in last[1]:
            last[1][name] = work()
        self.last = last
        return last[1][name]

    def __call__(
        self,
        bank: Bank,
        recording: Recording,
        first: int,
        last: int,
        asked: EmotionTrack,
        count: int,
        random: np.random.Generator,
        performer: str | None = None,
        adapt: Callable[[Contours], Contours] | None = None,
    ) -> Choice | None:
        """The performance for frames ``first`` to ``last`` of which ``asked`` (n,) says what is wanted; None where
        nothing but neutral is. ``adapt`` gives a performance the change of the sound that it will have."""
        asked = asked.in_numbers()
        mean = (asked.intensity[:, None] * asked.weights).mean(0)
        wanted, own = shares(mean, bank), recording.whole.part(first, last)
        kept = {name: share for name, share in wanted.items() if abs(share) >= SHARE * max(map(abs, wanted.values()))}
        which, signs = [], []
        for name, share in kept.items():
            size = max(round(count * abs(share) / sum(map(abs, kept.values()))), 1)
            found = proposals(bank, name, own, recording.median, size, random, performer)
            found = found or proposals(bank, name, own, recording.median, size, random)
            which, signs = which + found, signs + [1 if share > 0 else -1] * len(found)
        if not which:
            return None
        laid = contours(bank, which, own, recording.median)
        listen = partial(self.scores, recording, first, last, wanted=wanted)
        best = range(len(which))
        if len(which) > 1:
            best = np.argsort(-listen(laid, signs, self.ears[:1]))[: FINAL if adapt else 1]
        found = [laid[i] if signs[i] < 0 or adapt is None else adapt(laid[i]) for i in best]
        one = int(listen(found, [signs[i] for i in best], self.ears).argmax()) if len(found) > 1 else 0
        return Choice(which[best[one]], found[one], signs[best[one]])

    def scores(
        self,
        recording: Recording,
        first: int,
        last: int,
        laid: list[Contours],
        signs: list[int],
        ears: Sequence[Ear],
        wanted: dict[str, float],
    ) -> np.ndarray:
        """(k,) how well each is heard by ``ears`` as what is wanted, at full strength, less what it costs."""
        own, rate = recording.whole.part(first, last), RATE
        plain = recording.plain[first * HOP : last * HOP]
        grains = self.once(recording.plain, (first, last), lambda: periods(plain[None], rate, own.hz))
        changes = [changed(own, recording.median, one, sign) for one, sign in zip(laid, signs)]
        heard = [sounding(plain[None], rate, own.hz, change, grains)[0] for change in changes]
        refer = lambda ear: self.once(recording.plain, id(ear), lambda: ear.reference(recording.plain, rate))
        each = [np.log(ear.shares(heard, refer(ear), rate) + 1e-3) for ear in ears]
        p = np.mean(each, 0)
        score = sum(share * p[:, SEVEN.index(name)] for name, share in wanted.items())
        said = np.array([kept(own, wave, change.stretch) for wave, change in zip(heard, changes)])
        return score - self.costs(recording.plain, heard, laid) - WORDS * (1 - said)

    def costs(self, plain: np.ndarray, heard: list[np.ndarray], laid: list[Contours]) -> np.ndarray:
        """(k,) what proposals cost: another person's voice, much higher pitch, another pace."""
        at16 = lambda wave: soxr.resample(wave, RATE, speaker.RATE)
        embed = lambda waves: self.known.embed_each([at16(wave) for wave in waves]).numpy()
        person = embed(heard) @ self.once(plain, "speaker", lambda: embed([plain]))[0]
        ends = np.array([np.quantile(one.pitch, (0.05, 0.95)) for one in laid])
        pitch = (LOW - ends[:, 0]).clip(0) + (ends[:, 1] - HIGH).clip(0)
        pace = np.array([abs(float(np.log(np.exp(one.stretch).mean()))) for one in laid])
        return PERSON * (SAME - person).clip(0) + PITCH * pitch + PACE * pace
