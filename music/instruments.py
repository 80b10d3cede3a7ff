"""Other instruments than the piano: General MIDI programs rendered from a SoundFont (extra ``font``)."""

import io
import struct
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from gen.errors import InputError
from gen.loudness import limit

ALSO = {"strings": 48, "piano": 0, "organ": 19, "bass": 32, "synth": 80, "choir": 52}  # words in several names
RATE = 48_000  # Hz, the renderer's
GAIN = 10.0  # dB, fixed: a quiet piece stays quieter than a loud one
RING = 2.0  # s for the release of the last note
COMPRESSED = 0x10  # flag in the type of a sample of an SF3: its data are Ogg Vorbis
QUIET = 46  # samples of silence after each one, as SoundFont 2.04 (7.10) asks for


def program(text: str) -> int:
    """The General MIDI program (0 to 127) for a number from 1 to 128, a name or a part of one: "celesta", "guitar",
    "string ensemble". Raises ValueError."""
    from pretty_midi.constants import INSTRUMENT_MAP as names

    wanted = text.strip().lower()
    if wanted.isdecimal():
        if not 1 <= int(wanted) <= len(names):
            raise ValueError(f"give a program from 1 to {len(names)}, not {text}")
        return int(wanted) - 1
    if wanted in ALSO:
        return ALSO[wanted]
    plain = [name.lower().replace("(", "").replace(")", "") for name in names]
    for fits in (lambda name: wanted == name, lambda name: wanted in name.split(), lambda name: wanted in name):
        if wanted and (found := [i for i, name in enumerate(plain) if fits(name)]):
            return found[0]
    raise ValueError(f"{text!r} is no instrument of General MIDI: give strings, guitar, celesta or another name of it")


def default_font() -> Path:
    """The small General MIDI font TimGM6mb (GPL 2) inside the package pretty_midi."""
    return Path(find_spec("pretty_midi").origin).parent / "TimGM6mb.sf2"


def render(score, font: Path | None = None) -> tuple[np.ndarray, int]:
    """Renders a symusic.Score with the programs of its tracks: sound float32 (2, n) in [-1, 1], and its rate in Hz.

    Raises InputError if the extra is missing or the font cannot be used.
    """
    try:
        from midirenderer import render_wave_from
    except ImportError:
        raise InputError('instruments need midirenderer: run `pip install -e ".[font]"` in the checkout') from None
    import soundfile
    import symusic

    score = score.copy()
    last = score.end() + int(RING * score.tpq * max((t.qpm for t in score.tempos), default=120.0) / 60)
    if score.tracks:
        score.tracks[0].controls.append(symusic.ControlChange(last, 119, 0))  # the renderer stops at the last event
    data = loaded(font or default_font())
    try:
        wave = render_wave_from(data, score.dumps_midi())
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{font} cannot be used: give a SoundFont (SF2 or SF3)") from error
    sound, rate = soundfile.read(io.BytesIO(wave), dtype="float32", always_2d=True)
    return np.ascontiguousarray(limit(sound.T * 10 ** (GAIN / 20), rate), dtype=np.float32), rate


@cache
def loaded(font: Path) -> bytes:
    """The bytes of a SoundFont as SF2; samples of an SF3 are decoded. Raises InputError."""
    try:
        data = font.read_bytes()
    except OSError as error:
        raise InputError(f"{font} is not there: check the name") from error
    if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
        raise InputError(f"{font} is no SoundFont: give an SF2 or SF3")
    chunks = {name: (at, size) for name, at, size in _chunks(data)}
    headers = [*struct.iter_unpack("<20s5IBbHH", data[slice(*_span(chunks[b"shdr"]))])]
    return _decoded(data, chunks, headers) if any(header[9] & COMPRESSED for header in headers) else data


def _chunks(data: bytes):
    """(name, begin, size) of every chunk inside the lists of a SoundFont."""
    at = 12
    while at + 12 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"LIST":
            at += 12
            continue
        yield name, at + 8, size
        at += 8 + size + size % 2


def _span(chunk: tuple[int, int]) -> tuple[int, int]:
    return chunk[0], chunk[0] + chunk[1]


def _decoded(data: bytes, chunks: dict, headers: list[tuple]) -> bytes:
    """An SF3 as SF2: each sample decoded, its header's offsets counted in samples of the whole."""
    import soundfile

    base, parts, at, written = chunks[b"smpl"][0], [], 0, []
    for name, start, end, loop, loop_end, rate, pitch, cents, link, kind in headers:
        if kind & COMPRESSED:
            sound, _ = soundfile.read(io.BytesIO(data[base + start : base + end]), dtype="int16")
            parts += [sound, np.zeros(QUIET, np.int16)]
            start, end, loop, loop_end = at, at + len(sound), at + loop, at + loop_end
            at += len(sound) + QUIET
        written.append(
            struct.pack("<20s5IBbHH", name, start, end, loop, loop_end, rate, pitch, cents, link, kind & ~COMPRESSED)
        )
    pcm = np.concatenate(parts).tobytes()
    chunk = lambda name, body: name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)
    first = data.index(b"INFO") - 8
    info = data[first : first + 8 + int.from_bytes(data[first + 4 : first + 8], "little")]
    presets = b"".join(
        chunk(name, b"".join(written) if name == b"shdr" else data[slice(*_span(chunks[name]))])
        for name in chunks
        if chunks[name][0] > base
    )
    body = info + chunk(b"LIST", b"sdta" + chunk(b"smpl", pcm)) + chunk(b"LIST", b"pdta" + presets)
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"sfbk" + body
