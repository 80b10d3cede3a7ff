"""Scores: standard MIDI files, as ``symusic.Score``."""

from pathlib import Path

from gen.errors import InputError
from gen.media.files import MIDI, as_text, atomic, given


def read_midi(path: Path | str):
    """``symusic.Score`` in ticks; ``.to("second")`` gives seconds."""
    import symusic

    path = given(path)
    try:
        score = symusic.Score.from_midi(path.read_bytes())  # by content: karaoke files end in .kar
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path} is not MIDI that can be read: give a standard MIDI file") from error
    if not score.note_num():
        raise InputError(f"{path} holds no notes: give MIDI with something to play")
    return score


def write_midi(path: Path | str, score, manifest: dict | None = None) -> None:
    """Write a ``symusic.Score``; the manifest becomes the first track's text event, at time 0."""
    data = score.to("tick").dumps_midi()
    if manifest is not None:
        text = as_text(manifest).encode()
        event = b"\x00\xff\x01" + _varlen(len(text)) + text
        head, size = 22, int.from_bytes(data[18:22])  # MThd is 14 bytes, then "MTrk" and the track's size
        data = data[:18] + (size + len(event)).to_bytes(4) + event + data[head:]
    with atomic(path, manifest, MIDI) as hidden:
        hidden.write_bytes(data)


def _varlen(number: int) -> bytes:
    """A MIDI variable-length quantity: seven bits a byte, the high bit set on all but the last."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))
