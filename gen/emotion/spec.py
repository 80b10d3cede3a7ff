"""An emotion, and an emotion over time, as pure data: no torch, no file access.

Both are frozen, hashable and JSON-able, and are parsed from the same text or mapping in YAML, on the command line and
in Python (grammar: :mod:`gen.emotion.grammar`). Shapes: t times, 8 emotions, 3 for VAD.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeAlias

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from gen.emotion import grammar, lexicon
from gen.emotion.lexicon import CANONICAL, QUADRANTS
from gen.errors import InputError

__all__ = ["CANONICAL", "QUADRANTS", "Embedding", "Emotion", "EmotionCurve", "Keyframe", "Samples"]

Plain: TypeAlias = Mapping[str, Any] | Sequence[Any] | float | None  # a value from YAML or JSON
ROUND = 6  # decimals of a weight
EMBEDDING = "emotion-embedding"  # the checkpoint that perceives emotions in files


def _mix(pairs: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
    """Merges lexicon terms and normalises the absolute weights to sum 1, largest first; idempotent."""
    total: dict[str, float] = {}
    for word, weight in pairs:
        term = lexicon.resolve(word)
        if term is None:
            near = ", ".join(lexicon.nearest([word]))
            raise ValueError(f"unknown emotion {word!r}; the nearest terms are {near}.")
        total[term] = total.get(term, 0.0) + weight
    shares = {term: round(weight, ROUND) for term, weight in total.items() if round(weight, ROUND)}
    size = sum(abs(weight) for weight in total.values())
    if len(shares) == 1 or abs(sum(map(abs, shares.values())) - 1.0) > len(shares) * 10.0**-ROUND:
        if not 0.0 < size < math.inf:
            raise ValueError("the weights of the mix cancel out: give at least one term a weight other than 0.")
        shares = {term: round(weight / size, ROUND) for term, weight in total.items()}
    ranked = sorted(shares.items(), key=lambda item: (-abs(item[1]), -item[1], item[0]))
    return tuple((term, weight) for term, weight in ranked if weight)


def _point(vad: Plain) -> Plain:
    """Reads a mapping of v, a and d, or two or three numbers; a missing dominance gets its expected value."""
    if isinstance(vad, Mapping):
        if not vad or vad.keys() - {"v", "a", "d"}:
            raise ValueError("give a point as v, a and optionally d, such as {v: 0.6, a: -0.3}.")
        vad = [vad.get("v", 0.0), vad.get("a", 0.0), *(vad[axis] for axis in "d" if axis in vad)]
    if isinstance(vad, Sequence) and len(vad) == 2 and all(isinstance(value, int | float) for value in vad):
        return (*vad, round(lexicon.expected_dominance(*vad), 3))
    return vad


def _pairs(mix: Plain) -> Plain:
    return tuple(mix.items()) if isinstance(mix, Mapping) else mix


Coordinate = Annotated[float, Field(ge=-1.0, le=1.0), AfterValidator(lambda value: value + 0.0)]  # no -0.0
Point = Annotated[tuple[Coordinate, Coordinate, Coordinate], BeforeValidator(_point)]
Mix = Annotated[tuple[tuple[str, float], ...], BeforeValidator(_pairs), AfterValidator(_mix)]


class Value(BaseModel):
    """A frozen value with ``parse``, which turns any mistake into one :class:`InputError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Callable[[Any], Any]) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core)]}

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Parses text, a mapping, or an instance. Raises :class:`InputError`."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise InputError(_sentence(error)) from None


class Emotion(Value):
    """A mix of terms or a point in valence-arousal-dominance, and an intensity: 0 neutral, 1 natural, 2 exaggerated.

    The absolute weights of a mix sum to 1; a negative weight means "away from". Terms are words of the lexicon.
    """

    mix: Mix | None = None
    vad: Point | None = None
    intensity: float = Field(default=1.0, ge=0.0, le=2.0)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: Any) -> Any:
        return grammar.emotion_fields(data) if isinstance(data, str) else data

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.mix is None) == (self.vad is None):
            raise ValueError("give either 'mix' or 'vad', such as mix: {happy: 1} or vad: [0.6, -0.3].")
        return self

    def weights(self) -> np.ndarray:
        """(8,) weights over :data:`CANONICAL` that sum to 1; neutral holds the remainder."""
        if self.vad is not None:
            return lexicon.posterior(np.array(self.vad))
        others = sum((weight * lexicon.terms()[term].weights for term, weight in self.mix or ()), np.zeros(8))
        return np.concatenate([[1.0 - others[1:].sum()], others[1:]])

    def point(self) -> np.ndarray:
        """(3,) valence, arousal and dominance at intensity 1; "away from" a term is its mirror image."""
        if self.vad is not None:
            return np.array(self.vad)
        whole = sum((weight * lexicon.terms()[term].mean for term, weight in self.mix or ()), np.zeros(3))
        return np.clip(whole, -1.0, 1.0)

    def spread(self) -> np.ndarray:
        """(3,) standard deviation of the mixture of the terms' Gaussians; 0 for a point."""
        if self.vad is not None:
            return np.zeros(3)
        return self._blend().sd

    def quadrants(self) -> np.ndarray:
        """(4,) share of each quadrant: the mix's Gaussian mass, or a point's signs with soft edges."""
        if self.vad is not None:
            return lexicon.quadrants(np.array(self.vad))
        return self._blend().quadrants

    def scaled(self) -> np.ndarray:
        """(3,) the point scaled from neutral by the intensity, clipped to [-1, 1]."""
        return np.clip(self.intensity * self.point(), -1.0, 1.0)

    def _blend(self) -> lexicon.Term:
        mix = self.mix or ()
        parts = [lexicon.terms()[term] if weight > 0 else lexicon.mirror(term) for term, weight in mix]
        shares = np.array([abs(weight) for _, weight in mix])
        return lexicon.blend(parts, shares / shares.sum())

    def __str__(self) -> str:
        mix = self.mix or ()
        if self.vad is not None:
            body = " ".join(f"{axis}={_short(value)}" for axis, value in zip("vad", self.vad))
        elif len(mix) == 1:
            body = "-" * (mix[0][1] < 0) + mix[0][0]
        else:
            body = _signed(mix)
        return body if self.intensity == 1.0 else f"{body} @ {_short(self.intensity)}"


class Embedding(BaseModel):
    """An emotion's embedding from clips, at intensity 1 (set by :mod:`gen.emotion.resolve`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: tuple[float, ...] = Field(repr=False)
    variance: tuple[float, ...] = Field(repr=False)
    known: float = Field(default=1.0, ge=0.0, le=1.0)  # share that comes from clips; the rest from the words' priors


class Keyframe(Value):
    """An emotion at a time; ``ease`` is the interpolation from here to the next keyframe."""

    at: float = Field(ge=0.0)
    emotion: Emotion
    ease: Literal["hold", "linear", "smooth"] = "linear"
    embedding: Embedding | None = None


class Samples(NamedTuple):
    """A sampled curve: float32 arrays; ``vad`` is the point at intensity 1."""

    weights: np.ndarray  # (t, 8)
    vad: np.ndarray  # (t, 3)
    intensity: np.ndarray  # (t,)


class EmotionCurve(Value):
    """Keyframes over seconds or bars; before the first and after the last the curve is constant.

    Or the emotion of a file, ``{from: message.wav}``, perceived by :func:`gen.emotion.resolve.resolve`: as one emotion,
    or with ``follow: true`` over the time of the file (in bars: one bar per two seconds). A voice may be compared with
    other recordings of its speaker, ``{from: message.wav, reference: [monday.wav, tuesday.wav]}``, and read by another
    voice encoder, ``{from: message.wav, ear: whisper}`` (:mod:`gen.emotion.embedding.ear`).
    """

    keyframes: tuple[Keyframe, ...] = ()
    unit: Literal["seconds", "bars"] = "seconds"
    source: Path | None = None
    follow: bool = False
    reference: tuple[Path, ...] = ()
    ear: Literal["compact", "whisper"] = "compact"

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: "Plain | Emotion") -> Any:
        if isinstance(data, str):
            return grammar.curve_fields(data)
        if isinstance(data, Mapping) and "from" in data:
            return {"source": data["from"], **{name: value for name, value in data.items() if name != "from"}}
        if isinstance(data, Emotion) or (isinstance(data, Mapping) and not data.keys() & {"keyframes", "source"}):
            return {"keyframes": [{"at": 0.0, "emotion": data}]}
        if isinstance(data, Sequence):
            return {"keyframes": data}
        return data

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if bool(self.keyframes) == bool(self.source):
            raise ValueError("give a curve keyframes, or a file with 'from'.")
        if self.reference and not self.source:
            raise ValueError("a reference needs a file: give it with 'from'.")
        times = [key.at for key in self.keyframes]
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError(f"the times of a curve must increase, not {', '.join(map(_short, times))}.")
        return self

    @classmethod
    def constant(cls, emotion: Emotion) -> "EmotionCurve":
        """A curve with a constant emotion."""
        return cls(keyframes=(Keyframe(at=0.0, emotion=emotion),))

    def sample(self, times: Sequence[float]) -> Samples:
        """Samples the curve at ``times`` (t,), in its own unit; interpolates weights, point and intensity.

        Raises ``ValueError`` for an unresolved curve of a file.
        """
        emotions = [key.emotion for key in self.keyframes]
        if self.source is not None:
            raise ValueError(f"resolve the curve of {self.source} first: gen.emotion.resolve.resolve(curve).")
        return Samples(
            self.interpolate(np.stack([emotion.weights() for emotion in emotions]), times),
            self.interpolate(np.stack([emotion.point() for emotion in emotions]), times),
            self.interpolate(np.array([emotion.intensity for emotion in emotions]), times),
        )

    def interpolate(self, values: np.ndarray, times: Sequence[float]) -> np.ndarray:
        """Interpolates a value per keyframe (k, ...) to float32 (t, ...), with easing; constant outside."""
        starts, at = np.array([key.at for key in self.keyframes]), np.asarray(times, float)
        here = np.clip(np.searchsorted(starts, at, side="right") - 1, 0, len(starts) - 1)
        after = np.minimum(here + 1, len(starts) - 1)
        span = np.where(after > here, starts[after] - starts[here], 1.0)
        fraction = np.clip((at - starts[here]) / span, 0.0, 1.0)
        eased = np.stack([np.zeros_like(fraction), fraction, fraction**2 * (3 - 2 * fraction)])
        kinds = [("hold", "linear", "smooth").index(key.ease) for key in self.keyframes]
        step = eased[np.array(kinds)[here], np.arange(len(at))]
        move = step.reshape(-1, *[1] * (values.ndim - 1))
        return (values[here] * (1 - move) + values[after] * move).astype(np.float32)

    def __str__(self) -> str:
        if self.source is not None:
            others = ", ".join(map(str, self.reference))
            return f"{'follow' if self.follow else 'from'}: {self.source}" + f" against {others}" * bool(others)
        first = self.keyframes[0]
        if len(self.keyframes) == 1 and (first.at, first.ease, self.unit) == (0.0, "linear", "seconds"):
            return str(first.emotion)
        bar = "bar " if self.unit == "bars" else ""
        return ", ".join(
            f"{bar}{_short(key.at)}{'' if key.ease == 'linear' else ' ' + key.ease}: {key.emotion}"
            for key in self.keyframes
        )


def _signed(mix: tuple[tuple[str, float], ...]) -> str:
    parts = [f"{'-' if weight < 0 else '+'} {term} {_short(abs(weight))}" for term, weight in mix]
    return " ".join(parts).removeprefix("+ ")


def _short(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _sentence(error: ValidationError) -> str:
    """The first mistake as one sentence, with its position in the value."""
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    if cause:
        return str(cause)
    place = ".".join(str(part) for part in first["loc"])
    if not place:
        return f"give an emotion as text or as a mapping, not {first['input']!r}."
    return f"{place}: {first['msg']}, not {first['input']!r}."
