"""Emotion terms as Gaussians in valence-arousal-dominance, and conversions between the descriptions of an emotion.

Means and spreads are published measurements (``data/vad_terms.csv``): state ratings if available (Russell and
Mehrabian, J. Research in Personality 11, 1977), else word ratings (Warriner, Kuperman and Brysbaert, Behavior
Research Methods 45, 2013), mapped to the scale of the state ratings by a line per axis, fitted on the terms with both.
``data/vad_aliases.csv`` moves measured words towards the state they belong to and adds words as mixes of terms
(``data/README.md``). All coordinates are in [-1, 1].
"""

import csv
import difflib
import functools
import re
from collections.abc import Mapping
from importlib import resources
from typing import NamedTuple

import numpy as np

CANONICAL = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
QUADRANTS = ("Q1", "Q2", "Q3", "Q4")

MEASURED_AS = {"surprise": "surprised", "fear": "fearful", "disgust": "disgusted", "anger": "angry"}
AVERAGE_WORD = (0.015, -0.198, 0.045)  # Warriner et al. 2013, table 1: mean over 13,915 words; taken as neutral
STATE_SPREAD = 0.5  # spread of a state relative to the raters' spread of a word
NEUTRAL_SD = (0.25, 0.25, 0.25)
SEEN = (74874, 134415, 25459, 14090, 6378, 3803, 24882, 3750)  # faces of each emotion in AffectNet (IEEE TAC 2019)
RARITY = 0.2  # exponent of those counts in the prior
KIN = 0.7  # share of a word's canonical mix that comes from the state it belongs to
QUADRANT_SIGN = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
QUADRANT_CENTRE = 0.6  # |valence| and |arousal| of the term Q1..Q4
QUADRANT_WEIGHTS = (  # the canonical emotions of each quadrant
    (0, 0.8, 0, 0.2, 0, 0, 0, 0),
    (0, 0, 0, 0, 0.4, 0.15, 0.4, 0.05),
    (0.15, 0, 0.85, 0, 0, 0, 0, 0),
    (0.5, 0.5, 0, 0, 0, 0, 0, 0),
)
EDGE = 0.15  # half-width of the soft edge between quadrants


class Term(NamedTuple):
    """A word: its mean, its spread and its share of each canonical emotion."""

    mean: np.ndarray  # (3,)
    sd: np.ndarray  # (3,)
    weights: np.ndarray  # (8,) sums to 1
    quadrants: np.ndarray  # (4,) sums to 1


_added: dict[str, Term] = {}


def _rows(name: str) -> list[dict[str, str]]:
    text = resources.files("gen.emotion").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _numbers(row: dict[str, str], suffix: str = "") -> np.ndarray:
    return np.array([float(row[axis + suffix]) for axis in ("valence", "arousal", "dominance")])


@functools.cache
def measured() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Every measured term on the scale of the state ratings: name -> mean (3,), sd (3,)."""
    rows = _rows("vad_terms.csv")
    words = {row["term"]: row for row in rows if row["source"] == "warriner2013"}
    states = {row["term"]: _numbers(row) for row in rows if row["source"] == "russell_mehrabian1977"}
    shared = sorted(states.keys() & words.keys())
    source = np.array([_numbers(words[term]) for term in shared] + [AVERAGE_WORD])
    target = np.array([states[term] for term in shared] + [(0.0, 0.0, 0.0)])
    slope, offset = np.array([np.polyfit(source[:, i], target[:, i], 1) for i in range(3)]).T
    terms = {
        term: (np.clip(slope * _numbers(row) + offset, -1, 1), STATE_SPREAD * slope * _numbers(row, "_sd"))
        for term, row in words.items()
    }
    terms |= {term: (mean, terms[term][1]) for term, mean in states.items() if term in terms}
    return terms | {"neutral": (states["neutral"], np.array(NEUTRAL_SD))}


@functools.cache
def canonical() -> tuple[np.ndarray, np.ndarray]:
    """Means (8, 3) and the pooled spread (3,) of the canonical emotions.

    One shared spread keeps the posterior's logits linear, hence monotone far from all terms.
    """
    pairs = [measured()[MEASURED_AS.get(term, term)] for term in CANONICAL]
    return np.stack([mean for mean, _ in pairs]), np.stack([sd for _, sd in pairs]).mean(0)


def posterior(vad: np.ndarray) -> np.ndarray:
    """(..., 3) points -> (..., 8) label distributions: Bayes' rule under the canonical Gaussians.

    The prior of an emotion grows slowly with its frequency: without a prior, contempt and surprise, which are between
    the others, would win for every mild mood.
    """
    mean, sd = canonical()
    logits = RARITY * np.log(SEEN) - 0.5 * (((np.asarray(vad)[..., None, :] - mean) / sd) ** 2).sum(-1)
    likelihood = np.exp(logits - logits.max(-1, keepdims=True))
    return likelihood / likelihood.sum(-1, keepdims=True)


def quadrants(vad: np.ndarray, sd: np.ndarray | float = EDGE) -> np.ndarray:
    """(..., 3) means and their spreads -> (..., 4) mass of the Gaussian in each quadrant of valence and arousal."""
    vad = np.asarray(vad, float)
    z = vad[..., :2] / np.broadcast_to(sd, vad.shape)[..., :2]
    v, a = np.moveaxis(1 / (1 + np.exp(-1.702 * z)), -1, 0)  # logistic approximation of the normal CDF
    return np.stack([v * a, (1 - v) * a, (1 - v) * (1 - a), v * (1 - a)], -1)


@functools.cache
def _dominance_slope() -> np.ndarray:
    means = np.stack([mean for mean, _ in measured().values()])
    return np.linalg.lstsq(means[:, :2], means[:, 2], rcond=None)[0]


def expected_dominance(valence: float, arousal: float) -> float:
    """The expected dominance for a valence and an arousal: least squares through neutral over all terms."""
    return float(np.clip(np.array([valence, arousal]) @ _dominance_slope(), -1, 1))


@functools.cache
def terms() -> dict[str, Term]:
    """Every term by name: the canonical eight first, the quadrants, the measured words, the mixes, and the terms added
    by :func:`add`."""
    mean, _ = canonical()
    table: dict[str, Term] = {}
    for index, name in enumerate(CANONICAL):
        sd = measured()[MEASURED_AS.get(name, name)][1]
        table[name] = Term(mean[index], sd, np.eye(8)[index], quadrants(mean[index], sd))
    for index, name in enumerate(QUADRANTS):
        valence, arousal = QUADRANT_CENTRE * QUADRANT_SIGN[index]
        point = np.array([valence, arousal, expected_dominance(valence, arousal)])
        table[name] = Term(point, np.full(3, 0.3), np.array(QUADRANT_WEIGHTS[index]), np.eye(4)[index])
    for name, (point, sd) in measured().items():
        table.setdefault(name, Term(point, sd, posterior(point), quadrants(point, sd)))
    for row in _rows("vad_aliases.csv"):
        parts = [part.split() for part in row["meaning"].split("+")]
        shares = np.array([float(part[1]) if len(part) == 2 else 1.0 for part in parts])
        meaning = blend([table[part[0]] for part in parts], shares / shares.sum())
        table[row["word"]] = _draw(table[row["word"]], meaning) if row["how"] == "kin" else meaning
    return table | _added


def add(user_terms: Mapping[str, Term]) -> None:
    """Adds terms to the built-in ones; replaces those of an earlier call (:func:`gen.emotion.own.load`)."""
    _added.clear()
    _added.update(user_terms)
    terms.cache_clear()


def _draw(word: Term, state: Term) -> Term:
    """Combines a measured word and its state: the product of their Gaussians, and mostly the state's weights."""
    precision = 1 / word.sd**2 + 1 / state.sd**2
    mean = (word.mean / word.sd**2 + state.mean / state.sd**2) / precision
    weights = KIN * state.weights + (1 - KIN) * posterior(mean)
    return Term(mean, word.sd, weights, quadrants(mean, word.sd))


def mirror(name: str) -> Term:
    """A term's opposite, "away from" it: reflected through neutral; its weights are neutral's weights without the
    term."""
    term = terms()[name]
    return Term(-term.mean, term.sd, 2 * np.eye(8)[0] - term.weights, term.quadrants[[2, 3, 0, 1]])


def blend(parts: list[Term], shares: np.ndarray) -> Term:
    """The moment-matched mixture of terms: its spread includes the distance between the parts."""
    means, sds = np.stack([part.mean for part in parts]), np.stack([part.sd for part in parts])
    mean = shares @ means
    sd = np.sqrt(shares @ (sds**2 + (means - mean) ** 2))
    weights, quarter = (shares @ np.stack([getattr(part, name) for part in parts]) for name in ("weights", "quadrants"))
    return Term(mean, sd, weights, quarter)


@functools.cache
def _same() -> dict[str, str]:
    """Words that are inflections of a term: word -> term."""
    return {row["word"]: row["meaning"] for row in _rows("vad_aliases.csv") if row["how"] == "same"}


def resolve(word: str) -> str | None:
    """The term of a word, or None: ignores case, and knows aliases and endings (sadly, happily, gloominess)."""
    if word.upper() in QUADRANTS:
        return word.upper()
    word = word.lower()
    stem = re.sub(r"(ly|ness)$", "", word)
    for form in (word, stem, re.sub(r"i$", "y", stem)):
        if form in terms():
            return _same().get(form, form)
    return None


def nearest(words: list[str], count: int = 3) -> list[str]:
    """The known terms closest in spelling to one of ``words`` (only the longest few are compared), best first."""
    likeness = difflib.SequenceMatcher(autojunk=False)
    scored: list[tuple[float, str]] = []
    for word in sorted(words, key=len)[-4:]:
        likeness.set_seq2(word.lower()[:40])
        for term in terms():
            likeness.set_seq1(term.lower())
            scored.append((likeness.ratio(), term))
    ranked = dict.fromkeys(term for _, term in sorted(scored, key=lambda pair: (-pair[0], pair[1])))
    return list(ranked)[:count]
