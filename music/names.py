"""Keys and chords as musicians write them: "D minor", "Bb", "F#m7"."""

import re

import numpy as np

from gen.errors import InputError
from music.chords import NONE, QUALITIES, ROOTS, TONES
from music.keys import MAJOR, MINOR

LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
SIGNS = ("", "m", "dim", "aug", "maj7", "m7", "7", "dim7", "m7b5", "sus2", "sus4")  # of music.chords.QUALITIES
ALSO = {
    "min": "m",
    "maj": "",
    "M": "",
    "-": "m",
    "M7": "maj7",
    "Maj7": "maj7",
    "min7": "m7",
    "-7": "m7",
    "o": "dim",
    "°": "dim",
    "+": "aug",
    "o7": "dim7",
    "°7": "dim7",
    "ø": "m7b5",
    "ø7": "m7b5",
    "sus": "sus4",
}


class Key:
    """A tonic (0 is C) and a mode."""

    def __init__(self, tonic: int, minor: bool):
        self.tonic, self.minor = tonic % 12, minor

    def __eq__(self, other) -> bool:
        return isinstance(other, Key) and (self.tonic, self.minor) == (other.tonic, other.minor)

    def __hash__(self) -> int:
        return hash((self.tonic, self.minor))

    def __str__(self) -> str:
        return f"{self.spelt(self.tonic)} {'minor' if self.minor else 'major'}"

    @property
    def fifths(self) -> int:
        """Sharps of the signature, flats below 0, at most six of either (-5 to 6)."""
        relative = (self.tonic + 3 * self.minor) % 12
        count = relative * 7 % 12
        return count if count <= 6 else count - 12

    @property
    def scale(self) -> np.ndarray:
        """(7,) pitch classes; of minor the natural one."""
        steps = (0, 2, 3, 5, 7, 8, 10) if self.minor else (0, 2, 4, 5, 7, 9, 11)
        return np.array([(self.tonic + step) % 12 for step in steps])

    def spelt(self, pitch_class: int) -> str:
        """The name of a pitch class in this key: of the twelve from three fifths below its tonic to eight above, as
        textbooks spell them, with one sign at most."""
        step = next(i for i in range(self.fifths - 3, self.fifths + 9) if 7 * i % 12 == pitch_class % 12)
        step += 12 * ((step + 1) // 7 < -1) - 12 * ((step + 1) // 7 > 1)
        return "FCGDAEB"[(step + 1) % 7] + ("", "#", "b")[(step + 1) // 7]

    def chord(self, name: str) -> str:
        """One of :data:`music.chords.NAMES` as a musician writes it."""
        if name == NONE:
            return "N.C."
        root, quality = name.split("_")
        return self.spelt(ROOTS.index(root)) + SIGNS[QUALITIES.index(quality)]


def key(text: str) -> Key:
    """A key in words: "D minor", "Bb major", "f#", "Am". Raises InputError with what is understood."""
    found = re.fullmatch(
        r"\s*([A-Ga-g])\s*(#|b|♯|♭|sharp|flat|-flat|-sharp|is|es|s)?\s*[- ]?"
        r"(major|minor|maj|min|m|dur|moll)?\s*",
        text,
    )
    if not found:
        raise InputError(f"{text!r} is not a key that is understood: write it as D minor, Bb major or F# minor")
    letter, sign, mode = found.groups()
    shift = 0 if not sign else -1 if sign in ("b", "♭", "flat", "-flat", "es", "s") else 1
    minor = mode in ("minor", "min", "m", "moll") or (mode is None and letter.islower())
    return Key(LETTERS[letter.upper()] + shift, minor)


def chord(text: str) -> str:
    """A chord symbol such as Am7 or Bb -> one of :data:`music.chords.NAMES`. Raises InputError for others."""
    found = re.fullmatch(r"([A-G])(#|b|♯|♭)?(.*?)(/[A-G][#b]?)?", text.strip())
    signs = {sign: quality for sign, quality in zip(SIGNS, QUALITIES, strict=True)}
    sign = found and ALSO.get(found[3], found[3])
    if not found or sign not in signs:
        raise InputError(
            f"{text!r} is no chord that the piano knows: write a root A to G and nothing or {', '.join(SIGNS[1:])}"
        )
    root = LETTERS[found[1]] + (0 if not found[2] else 1 if found[2] in "#♯" else -1)
    return f"{ROOTS[root % 12]}_{signs[sign]}"


def found(notes: np.ndarray) -> Key:
    """The key of a grid's notes (n, 4) by Krumhansl's profiles, each note weighed by its length."""
    profile = np.bincount(notes[:, 1].astype(int) % 12, weights=notes[:, 2], minlength=12)
    fits = [[np.dot(np.roll(k - k.mean(), t), profile) / k.std() for t in range(12)] for k in (MAJOR, MINOR)]
    mode, tonic = np.unravel_index(np.argmax(fits), (2, 12))
    return Key(int(tonic), bool(mode))


def tones(name: str) -> np.ndarray:
    """Pitch classes of one of :data:`music.chords.NAMES`, its root first."""
    root, quality = name.split("_")
    return (ROOTS.index(root) + np.array(TONES[QUALITIES.index(quality)])) % 12


def of_tones(root: int, classes: frozenset[int]) -> str:
    """The chord of a root whose tones are nearest to some pitch classes."""
    every = [f"{ROOTS[root % 12]}_{quality}" for quality in QUALITIES]
    return min(every, key=lambda name: len(set(tones(name).tolist()) ^ set(classes)))


def transposed(name: str, by: int) -> str:
    """A chord ``by`` semitones higher."""
    if name == NONE:
        return name
    root, quality = name.split("_")
    return f"{ROOTS[(ROOTS.index(root) + by) % 12]}_{quality}"


def scale_over(name: str) -> np.ndarray:
    """Pitch classes that pass over a chord: its tones, and the other steps of the major or minor scale on its root."""
    chord = tones(name)
    minor = (chord[0] + 3) % 12 in chord
    steps = (0, 2, 3, 5, 7, 8, 10) if minor else (0, 2, 4, 5, 7, 9, 10 if (chord[0] + 10) % 12 in chord else 11)
    return np.unique(np.append(chord, (chord[0] + np.array(steps)) % 12))
