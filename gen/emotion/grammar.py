"""The written form of an emotion and of a curve: text -> the fields of :mod:`gen.emotion.spec`.

    emotion   := (mix | point) ["@" intensity]
    mix       := ["-"] part {("+" | "-") part}        a minus before a part means "away from"
    part      := words [weight]                       a term, or free text that contains terms
    point     := "v=" number "a=" number ["d=" number]
    curve     := emotion | key {"," key} | ("from" | "follow") ":" path ["against" path {"," path}]
    key       := ["bar"] time [ease] ":" emotion      without "bar" the time is in seconds

Every mistake is a ``ValueError`` whose message says what to write instead.
"""

import re

from gen.emotion import lexicon

NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
POINT = re.compile(rf"\s*([vad])\s*=\s*([+-]?{NUMBER})\s*(?:,|;|(?=\s|$))", re.IGNORECASE)
OPERATOR = re.compile(r"\s*(\+|(?:^|(?<=\s))[-−])\s*")
PART = re.compile(rf"(Q[1-4]|[^\d@=+]+?)(?:\s*({NUMBER}))?", re.IGNORECASE)
KEY = re.compile(
    rf"(?:^|[,;\n])\s*(?P<bar>bar\s*)?(?P<at>{NUMBER})\s*s?\s*(?P<ease>hold|linear|smooth)?\s*:", re.IGNORECASE
)
FILE = re.compile(r"\s*(?P<how>from|follow)\s*:\s*(?P<path>\S.*?)(?:\s+against\s+(?P<others>\S.*?))?\s*", re.IGNORECASE)
WORD = re.compile(r"Q[1-4]\b|[^\W\d_]+(?:['’-][^\W\d_]+)*", re.IGNORECASE)

NEGATIONS = frozenset(("not", "no", "never", "without", "nor", "isn't", "aren't", "don't", "doesn't", "wasn't"))
DEGREES = {
    "barely": 0.3, "slightly": 0.5, "bit": 0.5, "little": 0.5, "mildly": 0.5, "faintly": 0.4, "somewhat": 0.6,
    "rather": 0.8, "fairly": 0.8, "moderately": 0.8, "quite": 1.1, "so": 1.3, "really": 1.3, "very": 1.4,
    "deeply": 1.5, "intensely": 1.6, "extremely": 1.7, "utterly": 1.8, "overwhelmingly": 1.9, "less": 0.6,
}  # fmt: skip
REACH = 3  # a negation or degree word waits this many words for its term


def emotion_fields(text: str) -> dict:
    """The fields of an Emotion written as ``text``."""
    body, at, intensity = text.strip().strip("\"'“”").partition("@")
    fields = _point(body) if "=" in body else _mix(body)
    if at:
        factor = fields.get("intensity", 1.0)
        fields["intensity"] = factor * _number(intensity, "an intensity after '@', such as 'happy @ 1.3'")
    return fields


def curve_fields(text: str) -> dict:
    """The fields of an EmotionCurve written as ``text``; an emotion alone is a constant curve."""
    if source := FILE.fullmatch(text):
        others = [other.strip() for other in (source["others"] or "").split(",")]
        return {
            "source": source["path"],
            "follow": source["how"].lower() == "follow",
            "reference": [other for other in others if other],
        }
    keys = list(KEY.finditer(text))
    if not keys or keys[0].start() > 0:
        return {"keyframes": [{"at": 0.0, "emotion": text}]}
    ends = [key.start() for key in keys[1:]] + [len(text)]
    units = {"bars" if key["bar"] else "seconds" for key in keys}
    if len(units) > 1:
        raise ValueError("A curve is in bars or in seconds: write 'bar' before every time or before none.")
    frames = [
        {"at": float(key["at"]), "emotion": text[key.end() : end], "ease": (key["ease"] or "linear").lower()}
        for key, end in zip(keys, ends)
    ]
    return {"keyframes": frames, "unit": units.pop()}


def _number(text: str, expected: str) -> float:
    if not re.fullmatch(rf"\s*{NUMBER}\s*", text, re.IGNORECASE):
        raise ValueError(f"Expected {expected}, not {text.strip()!r}.")
    return float(text)


def _point(body: str) -> dict:
    found = {axis.lower(): float(value) for axis, value in POINT.findall(body)}
    if POINT.sub("", body).strip() or len(found) != len(POINT.findall(body)):
        raise ValueError(f"Write a point as 'v=0.6 a=-0.3' or 'v=0.6 a=-0.3 d=0.1', not {body.strip()!r}.")
    return {"vad": found}


def _mix(body: str) -> dict:
    pieces = OPERATOR.split(body.strip())
    signs = ["", *pieces[1::2]]
    parts = pieces[0::2]
    if parts[0] == "" and len(parts) > 1:
        signs, parts = signs[1:], parts[1:]
    total, degrees, shares = {}, 0.0, 0.0
    for sign, part in zip(signs, parts):
        match = PART.fullmatch(part.strip())
        if not match:
            raise ValueError(f"Write an emotion as 'happy', 'happy 0.7 + surprise 0.3' or 'sad @ 1.4', not {body!r}.")
        share = float(match[2] or 1.0) * (1 if sign in ("", "+") else -1)
        found = _phrase(match[1])
        for term, degree in found:
            total[term] = total.get(term, 0.0) + share * degree / len(found)
            degrees += abs(share * degree) / len(found)
        shares += abs(share)
    intensity = degrees / shares if shares else 1.0
    return {"mix": total, "intensity": min(intensity, 2.0)}


def _phrase(text: str) -> list[tuple[str, float]]:
    """Terms in free text with signed degrees: ``not happy`` -1, ``slightly sad`` 0.5, ``not very happy`` -0.5."""
    words = []
    for word in WORD.findall(text):
        words += [word] if lexicon.resolve(word) else word.split("-")
    found, sign, degree, waiting = [], 1.0, 1.0, 0
    for word in words:
        low = word.lower().replace("’", "'")
        waiting -= 1
        if waiting < 0:
            sign, degree = 1.0, 1.0
        if low in NEGATIONS:
            sign, waiting = -sign, REACH
        elif low in DEGREES:
            degree, waiting = degree * (0.5 if sign < 0 and DEGREES[low] > 1 else DEGREES[low]), REACH
        elif term := lexicon.resolve(low):
            found.append((term, sign * degree))
            waiting = 0
    if not found:
        near = ", ".join(lexicon.nearest(words or [text.strip()]))
        raise ValueError(f"No emotion is called {text.strip()!r}; the nearest terms are {near}.")
    return found
