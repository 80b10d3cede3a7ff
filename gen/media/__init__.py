"""The only reader and writer of sound, pictures, video and MIDI.

A file appears under its final name only when complete, and equal content gives equal bytes. The manifest is stored as
JSON in the file's metadata and in a sidecar file (:func:`gen.provenance.sidecar`). Errors that a user can fix are
``InputError``.
"""

from gen.media.clips import as_clip, clip, write_clip
from gen.media.files import MIDI, MUSICXML, PDF, PICTURE, PLAYED, SOUND, VIDEO, opened
from gen.media.film import exactly, read_video, write_video
from gen.media.midi import COPYRIGHT, MISCELLANEOUS, read_midi, write_midi, write_musicxml
from gen.media.picture import pdf_subject, read_image, write_image, write_pdf
from gen.media.sound import copy_audio, length, read_audio, subtype, wav_head, write_audio
from gen.media.whole import check

__all__ = [
    "COPYRIGHT",
    "MIDI",
    "MISCELLANEOUS",
    "MUSICXML",
    "PDF",
    "PICTURE",
    "PLAYED",
    "SOUND",
    "VIDEO",
    "as_clip",
    "check",
    "clip",
    "copy_audio",
    "exactly",
    "length",
    "opened",
    "pdf_subject",
    "read_audio",
    "read_image",
    "read_midi",
    "read_video",
    "subtype",
    "wav_head",
    "write_audio",
    "write_clip",
    "write_image",
    "write_midi",
    "write_musicxml",
    "write_pdf",
    "write_video",
]
