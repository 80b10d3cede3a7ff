"""Finds emotions in English text: the lexicon's terms in a sentence, their degree, and negation.

No syntax is parsed. Phrases that negate or scale the following words become marks (``<not>``, ``<x1.5>``), clause ends
stop them, and a mark reaches a few words ahead, as in VADER (Hutto and Gilbert, ICWSM 2014, sec. 3.2). Verbs and
events that imply an emotion, such as "died", are in ``data/said_words.csv``.
"""

import csv
import functools
import re
from importlib import resources
from typing import NamedTuple

from gen.emotion import lexicon

REACH = 3  # content words that a mark may skip before its term
RUNS = 4  # maximum number of ignored passages named in a note
ENGLISH = "only English is supported"

DEGREES = {
    "barely": 0.3,
    "faintly": 0.4,
    "slightly": 0.5,
    "mildly": 0.5,
    "little": 0.5,
    "bit": 0.5,
    "somewhat": 0.6,
    "less": 0.6,
    "partly": 0.6,
    "kinda": 0.6,
    "sorta": 0.6,
    "rather": 0.8,
    "fairly": 0.8,
    "moderately": 0.8,
    "mostly": 0.8,
    "pretty": 1.1,
    "quite": 1.1,
    "more": 1.2,
    "such": 1.2,
    "particularly": 1.3,
    "so": 1.3,
    "really": 1.3,
    "truly": 1.3,
    "too": 1.3,
    "very": 1.4,
    "super": 1.4,
    "genuinely": 1.3,
    "terribly": 1.5,
    "awfully": 1.5,
    "deeply": 1.5,
    "most": 1.5,
    "incredibly": 1.6,
    "insanely": 1.7,
    "madly": 1.6,
    "intensely": 1.6,
    "absolutely": 1.6,
    "completely": 1.6,
    "totally": 1.6,
    "extremely": 1.7,
    "utterly": 1.8,
    "overwhelmingly": 1.9,
}

NOT, NEVER, END = "<not>", "<never>", "<end>"
CANNOT = "(?:can['’]?t|can ?not|could(?:n['’]?t| not))"
MARKS = [
    (re.compile(rf"(?<![\w'’<])(?:{pattern})(?![\w'’>])", re.IGNORECASE), f" {mark} ")
    for pattern, mark in (
        (r"no (?:wonder|doubt|question|kidding|matter|problem)", ""),
        (r"without (?:a |any )?(?:doubt|question)", ""),
        (r"not (?:only|just|merely|simply|to mention)", ""),
        (r"nothing (?:but|other than|short of)", ""),
        (rf"{CANNOT} wait", "eager"),
        (r"over the moon", "overjoyed"),
        (r"heart (?:is|was) broken|broken heart", "heartbroken"),
        (rf"{CANNOT} help(?: but)?(?: be| being| feel| feeling)?", ""),
        (
            r"never(?:(?: [a-z]+)? (?:been|felt|was|were|looked))?(?: quite| half)? (?:so|this|that|more|as|such)",
            "<x1.5>",
        ),
        (r"(?:(?:have|has|had)(?:n['’]t| not)) (?:been|felt) (?:so|this|that|as)(?= .+ (?:in|for|since) )", "<x1.5>"),
        (rf"{CANNOT} (?:be|feel|have been) (?:more|any more)", "<x1.5>"),
        (rf"{CANNOT}(?= (?:be|feel|have been) (?:any )?[a-z]+er\b)", NEVER),
        (r"not (?:a bit|at all|in the least|the least bit)", NOT),
        (r"no (?:longer|more)", NOT),
        (r"any ?(?:more|longer)|at all|in the least", ""),
        (r"anything but|far from|free (?:of|from)|instead of|rather than|in no way|by no means|used to", NOT),
        (
            r"(?:refus|fail|ceas)(?:e|es|ed|ing|s) to|stop(?:s|ped|ping)?|lack(?:s|ed|ing)?(?: of)?|wish(?:es|ed|ing)?",
            NOT,
        ),
        (r"if only", NOT),
        (r"too ([a-z]+) to (?:be|feel)", rf"<x1.3> \1 {NOT}"),
        (r"never", NEVER),
        (r"[a-z]+n['’]t|cannot|can not|(?:do|ca|did|does|is|was|are|were|wo|could|would|should|has|have|had)nt", NOT),
        (r"not|no|no one|nobody|none|nothing|nowhere|neither|nor|without|hardly|scarcely|rarely|seldom", NOT),
        (r"(?:kind|sort) of", "<x0.6>"),
        (r"a (?:little )?bit(?: of)?|a little|a touch(?: of)?", "<x0.5>"),
        (r"a lot(?: of)?|lots of|much", "<x1.3>"),
        (r"wonder(?:s|ed|ing)?(?= (?:if|whether|why|what|how|when|who|where)\b)", END),
        (r"but|however|though|although|yet|because|since|until|when|while", END),
        (r"and(?= (?:i|he|she|it|we|they|you|then|now|am|is|are|was|were|feels?|felt)\b)", END),
    )
]
STOP = re.compile(r"[.,;:!?()\[\]…—–\"“”]+")
TOKEN = re.compile(r"<[^>]+>|Q[1-4]\b|[^\W\d_]+(?:['’-][^\W\d_]+)*", re.IGNORECASE)
COMPARED = re.compile(r"(?:(i)|([b-df-hj-np-tv-z])\2?)(er|est)$")


@functools.cache
def _words(name: str) -> frozenset[str]:
    return frozenset(_file(f"{name}_words.txt").split())


def _file(name: str) -> str:
    return resources.files("gen.emotion").joinpath("data", name).read_text(encoding="utf-8")


class Read(NamedTuple):
    """The emotion content of a text."""

    terms: tuple[tuple[str, float], ...]  # with signed degrees: not happy -1, slightly sad 0.5
    unread: tuple[str, ...]  # passages without emotion words
    foreign: bool  # True if it is likely not English


class Word(NamedTuple):
    """A word's term, its degree, and whether the word is a comparative."""

    term: str
    degree: float
    compared: bool


@functools.cache
def _said() -> dict[str, Word]:
    rows = csv.DictReader(_file("said_words.csv").splitlines())
    return {word: Word(row["term"], float(row["degree"]), False) for row in rows for word in row["words"].split()}


def read(text: str) -> Read:
    """The terms in an English text; none if it has no emotion word."""
    found: list[tuple[str, float]] = []
    sign, degree, wait, last, denied = 1.0, 1.0, 0, None, ""
    unread: list[list[str]] = [[]]
    tokens = list(_tokens(text))
    for token in tokens:
        low = token.lower().replace("’", "'")
        word = None
        if low.startswith("<"):
            if low in (NOT, NEVER):
                sign, wait, denied = -sign, REACH, low
            elif low == END:
                sign, degree, last = 1.0, 1.0, None
            else:
                degree, wait = degree * _scaled(float(low[2:-1]), sign), REACH
        elif low in DEGREES:
            degree, wait = degree * _scaled(DEGREES[low], sign), REACH
        elif word := _word(low):
            if sign < 0 and denied == NEVER and word.compared:
                sign, degree = 1.0, 1.5  # never happier: as happy as ever
            found.append((word.term, round(sign * degree * word.degree, 3)))
            last, sign, degree = sign, 1.0, 1.0
        elif low in ("or", "nor", "and") and last is not None:
            sign, wait, last = last, 1, None
            continue
        elif low not in _words("plain"):
            wait -= 1
            if wait < 0:
                sign, degree = 1.0, 1.0
        if word is None:
            last = None
        _gather(unread, token, read=word is not None or low.startswith("<") or low in DEGREES)
    words = [token.lower() for token in tokens]
    strange = sum(word in _words("foreign") for word in words)
    foreign = (
        strange > 1 or (strange == 1 and not found) or any(ord(letter) > 0x24F for word in words for letter in word)
    )
    return Read(tuple(found), tuple(" ".join(run) for run in map(_trimmed, unread) if run), foreign)


def _tokens(text: str):
    """Words and marks; hyphenated words that are no term are split."""
    text = STOP.sub(f" {END} ", text)
    for pattern, mark in MARKS:
        text = pattern.sub(mark, text)
    for token in TOKEN.findall(text):
        yield from [token] if token.startswith("<") or _word(token.lower()) else token.split("-")


def _scaled(degree: float, sign: float) -> float:
    """The degree of a negated amplifier: "not very" is half of a negation."""
    return 0.5 if sign < 0 and degree > 1 else degree


def _word(low: str) -> Word | None:
    if low in _words("plain"):
        return None
    if term := lexicon.resolve(low):
        return Word(term, 1.0, False)
    if low in _said():
        return _said()[low]
    if low != "number" and (match := COMPARED.search(low)):
        stem = low[: match.start()] + ("y" if match[1] else match[2])
        for form in (stem, low[: -len(match[3])], low[: -len(match[3])] + "e"):
            if term := lexicon.resolve(form):
                return Word(term, 1.0 if match[3] == "er" else 1.3, True)
    return None


def _gather(unread: list[list[str]], token: str, read: bool) -> None:
    if read:
        if unread[-1]:
            unread.append([])
    else:
        unread[-1].append(token)


def _trimmed(run: list[str]) -> list[str]:
    """A passage without stop words at its ends."""
    own = [i for i, token in enumerate(run) if token.lower().replace("’", "'") not in _words("plain")]
    return run[own[0] : own[-1] + 1] if own else []
