"""Checks whether a file is complete."""

import json
import zlib
from functools import cache
from pathlib import Path

from gen.errors import InputError
from gen.media.files import MIDI, MUSICXML, PDF, PICTURE, SOUND, VIDEO, given
from gen.media.film import read_video
from gen.media.midi import parse_musicxml, read_midi
from gen.media.picture import pdf_subject, read_image
from gen.media.sound import read_audio
from gen.notes import collect


def check(path: Path | str) -> None:
    """Reads a rendered file to its end, by its extension; ``InputError`` if it is missing, empty or incomplete."""
    path = given(path)
    end = path.suffix.lower()
    if end in SOUND:
        read_audio(path, mono=False)
    elif end in PICTURE:
        with collect():  # its transparency is intended
            read_image(path)
    elif end in VIDEO:
        for _ in read_video(path)[0]:
            pass
    elif end in MIDI:
        read_midi(path)
    elif end in MUSICXML:
        parse_musicxml(path)
    elif end in PDF:
        pdf_subject(path)
    elif end == ".json":
        try:
            json.loads(path.read_text())
        except ValueError as error:
            raise InputError(f"{path} is not valid JSON: render it again") from error
    size = path.stat().st_size
    if end == ".gif":
        with path.open("rb") as file:
            file.seek(-1, 2)
            whole = file.read() == b";"  # the trailer
    elif end in SIZES:
        whole = SIZES[end](path) == size
    else:
        whole = True
    if not whole:
        raise InputError(f"{path} is truncated or damaged: render it again")


def _promised_size(path: Path) -> int:
    """The size in bytes declared by the chunks of a WAV or the boxes of an MP4; readers ignore a missing end."""
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] == b"RIFF":
            return 8 + int.from_bytes(head[4:], "little")
        at = 0
        while len(head) == 8:
            size = int.from_bytes(head[:4])
            if size == 0:  # until the end of the file
                return path.stat().st_size
            at += size if size != 1 else int.from_bytes(file.read(8))  # 1: the size follows in 64 bits
            file.seek(at)
            head = file.read(8)
        return at


def _matroska(path: Path) -> int:
    """The size in bytes declared by the two top-level elements of a WebM, header and segment."""
    with path.open("rb") as file:
        for _ in range(2):
            head = file.read(12)
            if len(head) < 12:
                return -1
            size = 9 - head[4].bit_length()  # bytes of the size field after the four-byte id
            end = file.tell() - 12 + 4 + size + (int.from_bytes(head[4 : 4 + size]) & ((1 << 7 * size) - 1))
            file.seek(end)
    return end


def _mp3(path: Path) -> int:
    """The size in bytes declared by the tags and first frame of an MP3 (LAME's "Xing" or "Info")."""
    data = path.read_bytes()
    tags = 10 + sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(data[6:10])))
    begin = tags if data[:3] == b"ID3" else 0
    at = max(data.find(b"Xing", begin, begin + 200), data.find(b"Info", begin, begin + 200))
    return begin + int.from_bytes(data[at + 12 : at + 16]) if at > 0 and data[at + 7] & 2 else len(data)


def _png(path: Path) -> int:
    """The number of bytes up to the end of the last chunk if all checksums are right."""
    data, at = path.read_bytes(), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4]):
            return -1
        at = end + 4
        if data[end - 4 : end] == b"IEND":
            return at
    return -1


def _ogg(path: Path) -> int:
    """The number of bytes up to the end of the page marked as last if all page checksums are right."""
    data, at, last = path.read_bytes(), 0, False
    while data[at : at + 4] == b"OggS" and not last and at + 27 <= len(data):
        table = data[at + 27 : at + 27 + data[at + 26]]
        last, end = bool(data[at + 5] & 4), at + 27 + len(table) + sum(table)
        page = data[at : at + 22] + bytes(4) + data[at + 26 : end]
        if _ogg_checksum(page) != int.from_bytes(data[at + 22 : at + 26], "little"):
            return -1
        at = end
    return at if last else -1


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 with the polynomial 04C11DB7, no reflection, from 0 (RFC 3533, appendix A)."""
    value, table = 0, _table()
    for byte in page:
        value = (value << 8) & 0xFFFFFFFF ^ table[value >> 24 ^ byte]
    return value


@cache
def _table() -> list[int]:
    rows = []
    for value in range(256):
        value <<= 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
            value &= 0xFFFFFFFF
        rows.append(value)
    return rows


SIZES = {
    ".png": _png,
    ".wav": _promised_size,
    ".mp3": _mp3,
    ".opus": _ogg,
    ".webm": _matroska,
    ".mp4": _promised_size,
    ".mov": _promised_size,
}
