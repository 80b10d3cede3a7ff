"""The text form of an emotion and of a curve: parses text into the fields of :mod:`gen.emotion.spec`.

    emotion   := (mix | point) ["@" intensity]
    mix       := ["-"] part {("+" | "-") part}        a minus before a part means "away from"
    part      := words [weight]                       a term, or free text that contains terms
    point     := "v=" number "a=" number ["d=" number]
    curve     := emotion | key {"," key} | ("from" | "follow") ":" path ["against" path {"," path}]
    key       := ["bar"] time [ease] ":" emotion      without "bar" the time is in seconds

Every mistake raises a ``ValueError`` with the correct form.
"""

import re
from typing import Any

from gen.emotion import lexicon, text
from gen.notes import note

NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
POINT = re.compile(rf"\s*([vad])\s*=\s*([+-]?{NUMBER})\s*(?:,|;|(?=\s|$))", re.IGNORECASE)
OPERATOR = re.compile(r"\s*(\+|(?:^|(?<=\s))[-−])\s*")
PART = re.compile(rf"(Q[1-4]|[^\d@=+]+?)(?:\s*({NUMBER}))?", re.IGNORECASE)
KEY = re.compile(
    rf"(?:^|[,;\n])\s*(?P<bar>bar\s*)?(?P<at>{NUMBER})\s*s?\s*(?P<ease>hold|linear|smooth)?\s*:", re.IGNORECASE
)
FILE = re.compile(r"\s*(?P<how>from|follow)\s*:\s*(?P<path>\S.*?)(?:\s+against\s+(?P<others>\S.*?))?\s*", re.IGNORECASE)
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
SHOWN = 60  # characters of an emotion quoted in a note


def emotion_fields(written: str) -> dict[str, Any]:
    """Parses an Emotion's text into its fields."""
    body, at, intensity = written.strip().strip("\"'“”").partition("@")
    fields = _point(body) if "=" in body else _mix(body)
    if at:
        factor = fields.get("intensity", 1.0)
        fields["intensity"] = round(factor, 3) * _number(intensity, "an intensity after '@', such as 'happy @ 1.3'")
    return fields


def sentence_fields(sentence: str) -> dict[str, Any] | None:
    """The fields of the Emotion in a sentence of a longer text; None if the sentence has no emotion word."""
    found = text.read(sentence).terms
    total: dict[str, float] = {}
    for term, degree in found:
        total[term] = total.get(term, 0.0) + degree / len(found)
    if not any(total.values()):
        return None
    return {"mix": total, "intensity": min(round(sum(abs(d) for _, d in found) / len(found), 3), 2.0)}


def curve_fields(written: str) -> dict[str, Any]:
    """Parses an EmotionCurve's text into its fields; a single emotion is a constant curve."""
    if source := FILE.fullmatch(written):
        others = [other.strip() for other in (source["others"] or "").split(",")]
        return {
            "source": source["path"],
            "follow": source["how"].lower() == "follow",
            "reference": [other for other in others if other],
        }
    keys = list(KEY.finditer(written))
    if not keys or keys[0].start() > 0:
        return {"keyframes": [{"at": 0.0, "emotion": written}]}
    ends = [key.start() for key in keys[1:]] + [len(written)]
    units = {"bars" if key["bar"] else "seconds" for key in keys}
    if len(units) > 1:
        raise ValueError("write 'bar' before every time of a curve or before none")
    frames = [
        {"at": float(key["at"]), "emotion": written[key.end() : end], "ease": (key["ease"] or "linear").lower()}
        for key, end in zip(keys, ends)
    ]
    return {"keyframes": frames, "unit": units.pop()}


def _number(text: str, expected: str) -> float:
    if not re.fullmatch(rf"\s*{NUMBER}\s*", text, re.IGNORECASE):
        raise ValueError(f"expected {expected}, not {text.strip()!r}")
    return float(text)


def _point(body: str) -> dict[str, Any]:
    found = {axis.lower(): float(value) for axis, value in POINT.findall(body)}
    if POINT.sub("", body).strip() or len(found) != len(POINT.findall(body)):
        raise ValueError(f"write a point as 'v=0.6 a=-0.3' or 'v=0.6 a=-0.3 d=0.1', not {body.strip()!r}.")
    return {"vad": found}


def _mix(body: str) -> dict[str, Any]:
    pieces = OPERATOR.split(body.strip())
    signs = ["", *pieces[1::2]]
    parts = pieces[0::2]
    if parts[0] == "" and len(parts) > 1:
        signs, parts = signs[1:], parts[1:]
    total: dict[str, float] = {}
    degrees, shares = 0.0, 0.0
    for sign, part in zip(signs, parts):
        match = PART.fullmatch(part.strip())
        if not match:
            raise ValueError(f"write an emotion as 'happy', 'happy 0.7 + surprise 0.3' or 'sad @ 1.4', not {body!r}.")
        share = float(match[2] or 1.0) * (1 if sign in ("", "+") else -1)
        found = _phrase(match[1], body)
        for term, degree in found:
            total[term] = total.get(term, 0.0) + share * degree / len(found)
            degrees += abs(share * degree) / len(found)
        shares += abs(share)
    intensity = degrees / shares if shares else 1.0
    return {"mix": total, "intensity": min(round(intensity, 3), 2.0)}


def _phrase(part: str, whole: str) -> tuple[tuple[str, float], ...]:
    """Terms in free text with signed degrees: ``not happy`` -1, ``slightly sad`` 0.5, ``not very happy`` -0.5."""
    found = text.read(part)
    if not found.terms:
        words = WORD.findall(part) or [part.strip()]
        only = f"; {text.ENGLISH}" if found.foreign else ""
        near = ", ".join(lexicon.nearest(words))
        raise ValueError(f"unknown emotion {part.strip()!r}{only}; the nearest terms are {near}.")
    if found.unread:
        named = ", ".join(f"'{run}'" for run in found.unread[: text.RUNS])
        more = " and more" if len(found.unread) > text.RUNS else ""
        only = f" ({text.ENGLISH})" if found.foreign else ""
        asked = whole.strip() if len(whole.strip()) <= SHOWN else whole.strip()[: SHOWN - 3] + "..."
        note(f"ignored in the emotion '{asked}'{only}: {named}{more}.")
    return found.terms
