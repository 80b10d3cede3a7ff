"""The task of the piano."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from gen.emotion import lexicon
from gen.emotion.spec import EmotionCurve
from gen.errors import InputError
from gen.jobs.formats import OF_SOUND, Sound
from gen.jobs.schema import Task
from gen.notes import note
from music import names

GUIDANCE, TEMPERATURE, CANDIDATES = 1.0, 1.0, 4  # sampling defaults
LOUDNESS = {"ppp": 20, "pp": 33, "p": 49, "mp": 62, "mf": 76, "f": 90, "ff": 104, "fff": 118}  # MIDI velocities
TOUCH = {"staccato": 0.35, "portato": 0.65, "legato": 1.0, "tenuto": 1.2}  # note length relative to the next onset
TAKEN = ("rhythm", "pitch", "duration", "velocity", "tempo", "chord")  # elements that can be transferred
STREAMED = {
    "kind",
    "emotion",
    "bars",
    "seed",
    "consent",
    "stream",
    "guidance",
    "temperature",
    "candidates",
    "model",
    "format",
}  # fields that a stream supports or ignores (candidates)
SAID = (  # pattern in an emotion's text -> control, and its value
    (r"\bin (?:the key of )?([A-G](?:[#b♯♭]|[ -](?:sharp|flat))?[ -](?:major|minor))\b", "key", str),
    (r"\b(?:at )?(\d{2,3}) ?(?:bpm|BPM)\b", "tempo", float),
    (r"\bin (\d+/\d+)(?: time)?\b", "meter", str),
    (r"\b(staccato|portato|legato|tenuto)\b", "articulation", str),
    (r"\b(low|high)(?:[ -]| note )density\b", "density", {"low": 0.8, "high": 3.0}.get),
    (r"\b(low|high) register\b", "register", {"low": 52.0, "high": 72.0}.get),
    (r"\b(?:over|on) the chords? ((?:[A-G][#b]?[a-z0-9]*[ ,-]*)+)", "chords", str),
)


def _in_bars(curve: EmotionCurve) -> EmotionCurve:
    points = [frame.emotion.vad for frame in curve.keyframes if frame.emotion.vad]
    if any(abs(d - lexicon.expected_dominance(v, a)) > 0.01 for v, a, d in points):
        note("The piano uses valence and arousal: the dominance of a point is ignored.")
    return curve.model_copy(update={"unit": "bars"})


def amount(text: str, words: dict[str, float], low: float, high: float) -> float:
    """Parses a number from ``low`` to ``high`` or a word for one. Raises ValueError with the allowed values."""
    found = words.get(text.strip().lower())
    try:
        found = float(text) if found is None else found
    except ValueError:
        raise ValueError(f"give {', '.join(words)} or a number from {low:g} to {high:g}, not {text!r}") from None
    if not low <= found <= high:
        raise ValueError(f"give a number from {low:g} to {high:g}, not {text}")
    return found


class MusicTask(Task):
    """Generates piano pieces in an emotion: a MIDI file, and a WAV if ``audio``, for each of ``count`` seeds."""

    kind: Literal["music"] = "music"
    emotion: Annotated[EmotionCurve, AfterValidator(_in_bars)] = Field(
        description='an emotion, or a curve whose times are bars: "0: sad, 8: happy @ 1.3"'
    )
    bars: int = Field(16, ge=1, le=512, description="length in 4/4 bars")
    seconds: float | None = Field(None, ge=2, le=1800, description="length in seconds, instead of bars")
    film: Path | None = Field(None, description="a film or a sound whose length the piece gets")
    count: int = Field(1, ge=1, le=64, description="number of pieces, with seed, seed + 1, ...")
    audio: bool = Field(True, description="also render a WAV")
    format: Sound = Field("wav", description=OF_SOUND)
    stream: bool = Field(False, description="write only the sound, while it is generated (with --out -, to a player)")
    score: bool = Field(False, description="also write the score as MusicXML, pictures and PDF (extra `score`)")
    tokens: Literal["remi", "tsd", "structured", "cpword", "midilike"] | None = Field(
        None, description="also write a token file of this MidiTok tokenizer"
    )
    stems: bool = Field(False, description="also write each hand as a separate file")
    instrument: str | None = Field(
        None,
        description="instead of the piano: strings, guitar, celesta or another "
        "General MIDI instrument, or its number from 1 (extra `font`)",
    )
    font: Path | None = Field(None, description="a SoundFont (SF2 or SF3) for the instrument")
    continue_from: Path | None = Field(None, alias="continue", description="a MIDI file to continue")
    replace: str | None = Field(None, description="bars of the continued file to regenerate, such as 5-8")
    melody: Path | None = Field(None, description="a MIDI file with a melody to accompany")
    theme: Path | None = Field(None, description="a MIDI file to repeat and vary by the emotion")
    take_rhythm: Path | None = Field(None, description="a MIDI file whose rhythm is transferred to the piece (MusER)")
    take_pitch: Path | None = Field(None, description="a MIDI file whose pitches are transferred")
    take_duration: Path | None = Field(None, description="a MIDI file whose note lengths are transferred")
    take_velocity: Path | None = Field(None, description="a MIDI file whose velocities are transferred")
    take_tempo: Path | None = Field(None, description="a MIDI file whose tempo is transferred")
    take_chord: Path | None = Field(None, description="a MIDI file whose chord symbols are transferred")
    key: str | None = Field(None, description="such as D minor or Bb")
    mode: Literal["major", "minor"] | None = Field(None, description="major or minor; default: by the emotion")
    tempo: float | None = Field(None, ge=30, le=240, description="mean tempo in beats per minute")
    meter: str = Field("4/4", description="metre; only 4/4 is supported")
    chords: str | None = Field(None, description='one chord per bar, repeated from the start: "C Am F G"')
    density: float | None = Field(None, ge=0.25, le=4, description="onsets per beat")
    voices: float | None = Field(None, ge=0.5, le=10, description="mean number of simultaneous notes")
    height: float | None = Field(None, alias="register", ge=36, le=84, description="mean pitch; 60 is middle C")
    dynamics: str | None = Field(None, description="ppp to fff, or a mean MIDI velocity")
    articulation: str | None = Field(None, description="staccato, portato, legato, tenuto, or relative note length")
    loop: bool = Field(False, description="make a seamless loop, also of the sound")
    guidance: float = Field(GUIDANCE, ge=0, le=10, description="classifier-free guidance scale; 1: none")
    temperature: float = Field(TEMPERATURE, gt=0, le=2, description="sampling temperature")
    candidates: int = Field(CANDIDATES, ge=1, le=16, description="pieces sampled for each one kept (the best match)")
    model: str = Field("muser-compact", description="checkpoint")

    @model_validator(mode="before")
    @classmethod
    def _said_in_words(cls, data):
        """Moves musical terms in the emotion's text to their controls."""
        if not isinstance(data, dict) or not isinstance(data.get("emotion"), str):
            return data
        text, found = data["emotion"], {}
        for pattern, control, value in SAID:
            for match in re.finditer(pattern, text):
                found[control] = value(match[1].strip())
                note(f"{match[0].strip()!r} was read as the control {control}.")
            text = re.sub(pattern, " ", text)
        if twice := [name for name in found if data.get(name) not in (None, found[name])]:
            raise ValueError(f"{twice[0]} is given in the emotion and as a control: give it once")
        return data | found | {"emotion": text.strip(" ,") or "neutral"}

    @field_validator("key")
    @classmethod
    def _a_key(cls, text: str | None) -> str | None:
        return None if text is None else str(_read(names.key, text))

    @field_validator("chords")
    @classmethod
    def _some_chords(cls, text: str | None) -> str | None:
        if text is None:
            return None
        parts = [part for part in re.split(r"[\s,|]+", text) if part]
        if not parts:
            raise ValueError("give chords such as C Am F G")
        for part in parts:
            _read(names.chord, part)
        return " ".join(parts)

    @field_validator("dynamics")
    @classmethod
    def _a_loudness(cls, text: str | None) -> str | None:
        return None if text is None else f"{amount(text, LOUDNESS, 10, 120):g}"

    @field_validator("articulation")
    @classmethod
    def _a_touch(cls, text: str | None) -> str | None:
        return None if text is None else f"{amount(text, TOUCH, 0.2, 1.5):g}"

    @field_validator("instrument")
    @classmethod
    def _of_general_midi(cls, text: str | None) -> str | None:
        if text is not None:
            from music.instruments import program

            program(text)
        return text

    @field_validator("replace")
    @classmethod
    def _some_bars(cls, text: str | None) -> str | None:
        found = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+))?\s*", text) if text is not None else None
        if text is None:
            return None
        if not found or not 1 <= int(found[1]) <= int(found[2] or found[1]):
            raise ValueError(f"give bars such as 5-8, counted from 1, not {text}")
        if int(found[2] or found[1]) - int(found[1]) >= 12:
            raise ValueError("at most 12 bars can be regenerated at once")
        return f"{found[1]}-{found[2] or found[1]}"

    @field_validator("meter")
    @classmethod
    def _learnt(cls, text: str) -> str:
        if text.strip() != "4/4":
            raise ValueError(f"{text} is not supported: give 4/4, the metre of all training music")
        return text.strip()

    @property
    def taken(self) -> dict[str, Path]:
        """The source file of each transferred element."""
        found = {part: getattr(self, f"take_{part}") for part in TAKEN}
        return {part: path for part, path in found.items() if path is not None}

    @property
    def program(self) -> int:
        """The General MIDI program, from 0."""
        from music.instruments import program

        return program(self.instrument) if self.instrument else 0

    @model_validator(mode="after")
    def _together(self):
        """Checks controls that exclude each other."""
        lengths = [name for name in ("seconds", "film") if getattr(self, name) is not None]
        lengths += ["bars"] if self.bars != type(self).model_fields["bars"].default else []
        if len(lengths) > 1:
            raise ValueError(f"{lengths[0]} and {lengths[1]} both set the length: give one")
        if self.key and self.mode and not self.key.endswith(self.mode):
            raise ValueError(f"the key is {self.key}, but the mode {self.mode}: give one")
        if self.chords and (self.key or self.mode):
            raise ValueError("chords determine the key: give chords or a key")
        if self.replace and not self.continue_from:
            raise ValueError("replace needs a file: give it as continue")
        if self.font and not self.instrument:
            raise ValueError("a font needs an instrument: give one")
        of_file = [name for name in ("melody", "theme", "replace", "taken") if getattr(self, name)]
        if len(of_file) > 1 or (self.continue_from and {"melody", "theme", "taken"} & {*of_file}):
            raise ValueError("melody, theme, continue and transferred elements exclude each other: give one of them")
        written = {"score", "stems", "tokens"}
        fits = {
            "melody": {"chords"} | written,
            "replace": set(),
            "theme": {"bars", "tempo", "seconds", "film"} | written,
        }
        fits["taken"] = fits["theme"] - ({"tempo"} if self.take_tempo else set())
        for name in of_file:
            asked = (
                {
                    "bars",
                    "key",
                    "mode",
                    "chords",
                    "density",
                    "voices",
                    "height",
                    "dynamics",
                    "articulation",
                    "tempo",
                    "seconds",
                    "film",
                    "loop",
                }
                | written
            ) - fits[name]
            fields = type(self).model_fields
            if wrong := sorted(control for control in asked if getattr(self, control) != fields[control].default):
                wrong = [fields[control].alias or control for control in wrong]
                raise ValueError(f"{', '.join(wrong)} cannot be combined with {name.replace('taken', 'take')}")
        if self.stream:
            fields = type(self).model_fields
            wrong = [
                fields[name].alias or name
                for name in fields.keys() - STREAMED
                if getattr(self, name) != fields[name].default
            ]
            if wrong:
                raise ValueError(f"{', '.join(sorted(wrong))} cannot be combined with stream")
        if self.loop and self.continue_from:
            raise ValueError("a loop cannot continue a file: give only one of them")
        return self


def _read(reader, text: str):
    try:
        return reader(text)
    except InputError as error:
        raise ValueError(str(error)) from None
