"""The emotion of a file (voice, music, face motion, picture, video or text) as a mix, a point and an intensity.

    found = perceive("message.wav")
    found.emotion                       an Emotion, for any generator
    found.curve()                       an EmotionCurve over the file's seconds
    perceive("message.wav", ["other.wav"])   relative to other recordings of the same speaker

Long files are read in windows. Confidence is calibrated for speech and piano music; for faces and text it is None,
since there is no held-out material for calibration.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen import registry
from gen.emotion import grammar, lexicon
from gen.emotion import text as english
from gen.emotion.embedding import features
from gen.emotion.spec import EMBEDDING, Embedding, Emotion, EmotionCurve, Keyframe
from gen.errors import InputError
from gen.notes import note

MUSIC = {".mid", ".midi"}
TEXT = {".txt", ".md"}
MOTION = {".npz"}
PICTURES = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".jpg", ".jpeg", ".png", ".webp", ".gif"}
WINDOW = {"voice": 4.0, "face": 4.0, "music": 30.0}  # seconds; as in the embedding's training
HOP = {"voice": 2.0, "face": 2.0, "music": 10.0}
SHOWN = 0.05  # minimum share in a mix
FAINT = 0.25  # intensity below which a clip's embedding is not fully scaled to intensity 1


Window = tuple[float, np.ndarray]  # its centre in seconds, and its rows


class Place(NamedTuple):
    """An embedding relative to the words' priors, at its perceived intensity."""

    mean: tuple[float, ...]  # (e,)
    var: tuple[float, ...]  # (e,)


class Moment(NamedTuple):
    """The perception of a window."""

    at: float  # seconds, its centre
    emotion: Emotion
    vad: tuple[float, float, float]
    confidence: float | None
    place: Place | None = None

    @property
    def embedding(self) -> Embedding | None:
        """Its embedding at intensity 1; None for a text."""
        return _unit(self)


class Perception(NamedTuple):
    """The perception of a file; ``kind`` is voice, face, music or text."""

    kind: str
    emotion: Emotion
    vad: tuple[float, float, float]  # at the intensity perceived
    confidence: float | None  # of the largest share of the mix
    moments: tuple[Moment, ...]
    place: Place | None = None

    @property
    def embedding(self) -> Embedding | None:
        """Its embedding at intensity 1; None for a text."""
        return _unit(self)

    def curve(self) -> EmotionCurve:
        """The emotion over time, in seconds."""
        keys = (Keyframe(at=m.at, emotion=m.emotion, ease="smooth", embedding=m.embedding) for m in self.moments)
        return EmotionCurve(keyframes=tuple(keys))

    def facts(self, curve: bool = False) -> dict:
        """JSON-able values; with the moments if ``curve``."""
        found = {"kind": self.kind, **_facts(self)}
        if curve:
            found["curve"] = [{"at": round(m.at, 2), **_facts(m)} for m in self.moments]
        return found


def _unit(found: Perception | Moment) -> Embedding | None:
    if found.place is None:
        return None
    mean, var = map(np.array, found.place)
    neutral, by = _model()[1].numpy(), max(found.emotion.intensity, FAINT)
    return Embedding(mean=(neutral + (mean - neutral) / by).tolist(), variance=(var / by**2).tolist())


def _facts(found: Perception | Moment) -> dict:
    return {
        "emotion": str(found.emotion),
        "mix": dict(found.emotion.mix),
        "intensity": found.emotion.intensity,
        "vad": list(found.vad),
        "confidence": found.confidence,
    }


def perceive(path: str | Path, reference: Sequence[str | Path] = (), ear: str = "compact") -> Perception:
    """Perceives the emotion of a file; raises :class:`InputError` if it has no readable content.

    ``reference``: other recordings of the speaker, such as ten in different emotions. ``ear``: the voice encoder, one
    of :data:`gen.emotion.embedding.ear.EARS`.
    """
    path = Path(path)
    if path.suffix.lower() in TEXT and path.is_file() and not reference:
        return _text(path)
    kind, windows = _windows(path, ear)
    return listen(kind, windows, _reference(kind, path, reference, ear), ear, path.name)


def _reference(kind: str, path: Path, others: Sequence[str | Path], ear: str) -> tuple[np.ndarray, int] | None:
    """The mean vector (v,) of other recordings, equally weighted, and their number."""
    if not others:
        return None
    if kind != "voice":
        raise InputError(f"{path} is not a voice: omit the reference")
    means = []
    for other in others:
        kind, windows = _windows(Path(other), ear)
        if kind != "voice":
            raise InputError(f"the reference {other} is not a voice recording: give another")
        means.append(_vectors([rows for _, rows in windows], ear).mean(0))
    return np.mean(means, 0), len(means)


def _vectors(voices: list[np.ndarray], ear: str) -> np.ndarray:
    """(w, v) voice encoder outputs for rows of voices."""
    import torch

    from gen.emotion.embedding.network import collate

    model, steps, found = _model(ear)[0], [torch.from_numpy(features.steps("voice", rows)) for rows in voices], []
    with torch.inference_mode():
        for i in range(0, len(steps), 32):
            found.append(model.voice(*collate(steps[i : i + 32]))[1])
    return torch.cat(found).numpy()


def _windows(path: Path, ear: str) -> tuple[str, list[Window]]:
    """The modality of a file, and its windows with content (centre in seconds, rows)."""
    ending = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"file not found: {path}")
    kind = "music" if ending in MUSIC else "face" if ending in MOTION | PICTURES else "voice"
    readable = registry.get("reader", kind)(path)
    found = [((start + end) / 2, readable.part(start, end)) for start, end in _spans(kind, readable.seconds)]
    encoded = _model(ear)[0].voice.rows if kind == "voice" else lambda part: part
    windows = [(at, encoded(part)) for at, part in found if part is not None]
    if not windows:
        raise InputError(f"{path}: nothing to perceive: {NOTHING[kind]}")
    return kind, windows


NOTHING = {
    "voice": "it is silent, or has no voice",
    "music": "it is shorter than a second",
    "face": "it is shorter than 0.2 s, or no face was found (for a video's sound, give a WAV)",
}


def listen(
    kind: str,
    windows: list[Window],
    reference: tuple[np.ndarray, int] | None = None,
    ear: str = "compact",
    name: str = "this",
) -> Perception:
    """Perceives windows of one modality, each and together; ``reference``: a speaker's mean vector (v,) and its number
    of recordings. ``ear``: the voice encoder that the windows were computed for. ``name``: of the file, for notes.
    """
    import torch

    model, neutral, axes = _model(ear)
    mu, var, known = _means(kind, windows, reference, ear)
    if known is not None and known.mean() < 0.5:
        note(f"{name} sounds like music, a song or noise, not speech: the perception is unreliable")
    with torch.inference_mode():
        reading = model.read(mu)
        terms, quadrants = (p.numpy() for p in model.probabilities(reading, reference is not None, known))
    along = ((mu - neutral) @ axes).numpy()  # (w, 10)
    shares, vad = (quadrants if kind == "music" else terms), reading.vad.numpy()
    judged = [_judge(kind, shares[i], vad[i], along[i]) for i in range(len(windows))]
    moments = tuple(
        Moment(round(at, 3), *own, _place(*own[:2], mu[i], var[i]))
        for i, ((at, _), own) in enumerate(zip(windows, judged))
    )
    whole = _judge(kind, shares.mean(0), vad.mean(0), along.mean(0))
    return Perception(kind, *whole, moments, _place(*whole[:2], mu.mean(0), var.mean(0) + mu.var(0, correction=0)))


def _place(emotion: Emotion, point: tuple[float, ...], mean, var) -> Place:
    """A mean and a variance (e,) relative to the words' priors. Music quadrants, calm and bored have embeddings far
    from their words' priors: the offset of their typical clip from the word is removed. Along the priors' slope over
    points the mean is set to the ``point`` that the embedding's own head reads, which follows the labels of people
    never heard more closely than the mean does.
    """
    from gen.emotion.embedding.priors import NEUTRAL, shared
    from gen.emotion.track import unit_prior

    slope, neutral, by = shared().slope.numpy(), shared().mean[NEUTRAL].numpy(), emotion.intensity
    placed = mean.numpy() - by * sum(share * _gaps()[name] for name, share in emotion.mix)
    beyond = placed - neutral - by * (unit_prior(emotion) - neutral)
    placed = placed + (np.array(point) - by * emotion.point() - beyond @ np.linalg.pinv(slope)) @ slope
    return Place(tuple(placed.tolist()), tuple(var.tolist()))


@lru_cache(maxsize=1)
def _gaps() -> dict[str, np.ndarray]:
    """For each term and quadrant, the offset (e,) of its typical clip from the word at intensity 1."""
    from safetensors.numpy import load_file

    from gen import checkpoints
    from gen.emotion.embedding.network import TERMS
    from gen.emotion.track import unit_prior

    held = load_file(checkpoints.folder(EMBEDDING) / "priors.safetensors")
    means = zip((*TERMS, *lexicon.QUADRANTS), (*held["terms.mean"], *held["quadrants.mean"]))
    return {name: mean.astype(np.float32) - unit_prior(Emotion(mix={name: 1.0})) for name, mean in means}


def _means(kind: str, windows: list[Window], reference: tuple[np.ndarray, int] | None, ear: str):
    """(w, e) means and variances of windows in the embedding; for voices also the probability of speech (w,)."""
    import torch

    from gen.emotion.embedding.network import Reference, collate

    model, rows = _model(ear)[0], [own for _, own in windows]
    with torch.inference_mode():
        if kind == "voice":
            heard, known = torch.from_numpy(_vectors(rows, ear)), None
            if reference is not None:
                middle, count = map(torch.as_tensor, reference)
                known = Reference(middle.expand(len(heard), -1), count.expand(len(heard)))
            place = model(known, heard)
            return place.mu, place.log_var.exp(), model.known(heard)
        steps = [torch.from_numpy(features.steps(kind, own)) for own in rows]
        found = [model(**{kind: collate(steps[i : i + 32])}) for i in range(0, len(steps), 32)]
    return torch.cat([one.mu for one in found]), torch.cat([one.log_var for one in found]).exp(), None


def _judge(kind: str, shares: np.ndarray, vad: np.ndarray, along: np.ndarray) -> tuple:
    """Emotion, point and confidence from the shares of the terms or quadrants."""
    from gen.emotion.embedding.network import TERMS

    names = lexicon.QUADRANTS if kind == "music" else TERMS
    vad = vad.astype(float)
    if kind == "music":
        vad[2] = lexicon.expected_dominance(*vad[:2])
        intensity = np.hypot(*vad[:2]) / np.hypot(0.6, 0.6)
    else:
        emotional = shares[1:].sum()
        intensity = shares[1:] @ along[1:] / emotional if emotional > 0.3 else 1.0
    mix = {name: float(share) for name, share in zip(names, shares) if share >= min(SHOWN, shares.max())}
    intensity = round(float(np.clip(intensity, 0, 2)), 2)
    point = tuple(round(float(x), 3) for x in np.clip(vad, -1, 1))
    confidence = None if kind == "face" else round(float(shares.max()), 3)
    return Emotion(mix=_rounded(mix), intensity=intensity), point, confidence


def _rounded(mix: dict[str, float]) -> dict[str, float]:
    """Rounds shares to three digits that sum to 1: the largest absorbs the remainder."""
    total = sum(mix.values())
    found = {name: round(share / total, 3) for name, share in mix.items()}
    largest = max(found, key=found.get)
    return found | {largest: round(found[largest] + 1 - sum(found.values()), 3)}


@lru_cache(maxsize=2)
def _model(ear: str = "compact"):
    """The embedder with a voice encoder, the neutral centroid (e,), and axes (e, 10) scaled to 1 at a term's
    centroid."""
    import torch
    from safetensors.torch import load_file

    from gen import checkpoints
    from gen.emotion.embedding.ear import embedder

    model = embedder(EMBEDDING, ear)
    mean = load_file(checkpoints.folder(EMBEDDING) / "priors.safetensors")["terms.mean"].float()
    axis = mean - mean[0]
    return model, mean[0], torch.nan_to_num(axis / axis.square().sum(1, keepdim=True)).T


def _spans(kind: str, length: float) -> list[tuple[float, float]]:
    """Starts and ends, in seconds, of the windows of a recording of ``length`` seconds."""
    if length <= 1.5 * WINDOW[kind]:
        return [(0.0, length)]
    starts = np.arange(0, length - WINDOW[kind] / 2, HOP[kind])
    return [(start, min(start + WINDOW[kind], length)) for start in starts]


def _text(path: Path) -> Perception:
    """Perceives sentences with lexicon terms, equally weighted; a moment's time is the sentence's number."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None
    moments = []
    for number, sentence in enumerate(re.split(r"[.!?\n]+", text)):
        if fields := grammar.sentence_fields(sentence):
            found = Emotion(**fields)
            point = tuple(round(float(x), 3) for x in found.scaled())
            moments.append(Moment(float(number), found, point, None))
    if not moments:
        only = f", and {english.ENGLISH}" if english.read(text).foreign else ""
        raise InputError(f"{path}: nothing to perceive: it has no emotion word{only}")
    total: dict[str, float] = {}
    for moment in moments:
        for term, share in moment.emotion.mix:
            total[term] = total.get(term, 0.0) + share / len(moments)
    intensity = float(np.mean([moment.emotion.intensity for moment in moments]))
    emotion = Emotion(mix=total, intensity=round(intensity, 2))
    return Perception("text", emotion, tuple(round(float(x), 3) for x in emotion.scaled()), None, tuple(moments))


def report(found: Perception, curve: bool = False) -> str:
    """The perception as text for a terminal."""
    sure = "not calibrated for this kind of file" if found.confidence is None else f"{found.confidence:.0%}"
    lines = [f"{found.kind}: {found.emotion}", "point: " + _axes(found.vad), f"confidence: {sure}"]
    if curve:
        unit = " sentence" if found.kind == "text" else " s"
        lines += [f"{m.at:7.1f}{unit}  {m.emotion}  ({_axes(m.vad)})" for m in found.moments]
    return "\n".join(lines)


def _axes(vad: tuple[float, float, float]) -> str:
    return "  ".join(f"{name} {value:+.2f}" for name, value in zip(("valence", "arousal", "dominance"), vad))
