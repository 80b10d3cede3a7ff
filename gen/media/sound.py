"""Sound: samples in [-1, 1], float32, (n,) or (c, n)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen import channels, marks
from gen.errors import InputError
from gen.media.files import SOUND, as_text, atomic, given, opened
from gen.notes import note

DEPTHS = {"PCM_16": "int16", "PCM_24": "int32", "PCM_32": "int32", "FLOAT": "float32", "DOUBLE": "float64"}
CLIPPED = 0.9999  # of full scale
AAC = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # Hz supported by MP4, MP3 and all players
OPUS = (48000,)  # Hz
CODECS = {".mp3": ("libmp3lame", AAC, 96_000), ".opus": ("libopus", OPUS, 64_000)}  # bits per second and channel


def read_audio(path: Path | str, rate: int | None = None, mono: bool = True) -> tuple[np.ndarray, int]:
    """Reads samples in [-1, 1], float32 (n,) if ``mono`` else (c, n), and their rate in Hz; resampled if ``rate``
    is given. Losses are noted.

    Reads the formats of soundfile and, through PyAV, other sounds and the sound of videos. Silence is valid.
    """
    import soundfile
    import soxr

    path = given(path)
    try:
        with path.open("rb") as file:
            samples, found = soundfile.read(file, dtype="float32", always_2d=True)  # (n, c)
    except soundfile.LibsndfileError:
        samples, found = _decode_sound(path)
    if not len(samples):
        raise InputError(f"{path} has no sound: its length is zero")
    if not np.isfinite(samples).all():
        raise InputError(f"{path} is damaged: some samples are not numbers")
    if (places := _clipped(samples)) > 5:
        note(f"{path.name} is clipped (distorted) in {places:,} places: record at a lower level.")
    samples = channels.mono(samples.T, found, path.name) if mono else samples.T
    if rate and rate != found:
        if rate < found:
            note(f"{path.name}: resampled from {found:,} to {rate:,} Hz.")
        samples = soxr.resample(samples.T, found, rate).T
    return np.ascontiguousarray(samples, dtype=np.float32), rate or found


def _clipped(samples: np.ndarray) -> int:
    """The number of runs of at least three full-scale samples in (n, c)."""
    full = np.abs(samples) >= CLIPPED
    runs = full[2:] & full[1:-1] & full[:-2]
    return int((runs[1:] & ~runs[:-1]).sum() + runs[:1].sum())


def _decode_sound(path: Path) -> tuple[np.ndarray, int]:
    import av.error

    try:
        with opened(path) as container:
            if not container.streams.audio:
                raise InputError(f"{path} has no sound: give a file with an audio track")
            convert = av.AudioResampler(format="fltp")
            frames = [part for frame in container.decode(audio=0) for part in convert.resample(frame)]
            found = container.streams.audio[0].rate
    except av.error.FFmpegError as error:
        raise InputError(f"{path} is not a readable sound: give WAV, FLAC, MP3, M4A or Opus") from error
    parts = [frame.to_ndarray().T for frame in frames]
    return (np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)), found


def write_audio(
    path: Path | str, samples: np.ndarray, rate: int, manifest: dict | None = None, subtype: str = "PCM_16"
) -> None:
    """Writes samples (n,) or (c, n), clipped to [-1, 1], as 16-bit WAV or FLAC (or another soundfile ``subtype``), MP3
    or Opus; with a manifest, also adds a watermark."""
    path = Path(path)
    samples, manifest = marks.sound(within(samples, path.name), rate, manifest)
    with atomic(path, manifest, SOUND) as hidden:
        if path.suffix.lower() in CODECS:
            _coded(hidden, samples, rate, manifest)
        else:
            _plain(hidden, samples.T, rate, manifest, subtype)


def _plain(hidden: Path, samples: np.ndarray, rate: int, manifest: dict | None, subtype: str) -> None:
    """Writes samples (n,) or (n, c) as WAV or FLAC; FLAC holds only integers."""
    import soundfile

    if hidden.suffix.lower() == ".flac" and subtype not in ("PCM_16", "PCM_24"):
        samples, subtype = (samples >> 8 << 8 if samples.dtype == np.int32 else samples), "PCM_24"
    with soundfile.SoundFile(hidden, "w", rate, 1 if samples.ndim == 1 else samples.shape[1], subtype) as file:
        if manifest is not None:
            file.comment = as_text(manifest)
        file.write(samples)


def _coded(hidden: Path, samples: np.ndarray, rate: int, manifest: dict | None) -> None:
    """Writes samples (n,) or (c, n) as MP3 or Opus."""
    import av

    codec, rates, bits = CODECS[hidden.suffix.lower()]
    if rate > max(rates):
        note(f"{hidden.suffix[1:]} cannot hold {rate:,} Hz: resampled to {max(rates):,} Hz.")
    samples, rate = at_rate(channels.stereo(np.atleast_2d(samples), rate, hidden.name), rate, rates)
    layout, packets = "mono" if len(samples) == 1 else "stereo", []
    with av.open(str(hidden), "w", format=hidden.suffix[1:].lower(), options={"fflags": "+bitexact"}) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = bits * len(samples) if rate >= 32_000 else min(64_000 * len(samples), bits)
        for start in range(0, samples.shape[1], rate):
            part = np.ascontiguousarray(samples[:, start : start + rate], np.float32)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.rate, frame.pts = rate, start
            packets += stream.encode(frame)
        packets += stream.encode()
        if manifest is not None:
            out.metadata["comment"] = as_text(manifest)
        out.mux(packets)


def at_rate(samples: np.ndarray, rate: int, rates: Sequence[int]) -> tuple[np.ndarray, int]:
    """Samples (c, n) at a supported rate: the next higher one, or the highest."""
    import soxr

    wanted = min((r for r in rates if r >= rate), default=max(rates))
    return (samples, rate) if wanted == rate else (soxr.resample(samples.T, rate, wanted).T, wanted)


def length(path: Path | str) -> float:
    """The duration of a sound or a video in seconds."""
    import av.error

    path = given(path)
    try:
        with opened(path) as container:
            if container.duration is None:
                raise InputError(f"{path} does not state its duration: give another file")
            return container.duration / av.time_base
    except av.error.FFmpegError as error:
        raise InputError(f"{path} is not a readable video or sound: give MP4 or WAV") from error


def subtype(path: Path | str) -> str:
    """The name of a sound's bit depth in :data:`DEPTHS`; 16 bits for formats without one, such as MP3 and Opus."""
    import soundfile

    try:
        found = soundfile.info(given(path)).subtype
    except soundfile.LibsndfileError:
        found = ""
    return found if found in DEPTHS else "PCM_16"


def copy_audio(source: Path | str, path: Path | str, manifest: dict | None = None) -> None:
    """Writes the sound of a file as WAV or FLAC of the same rate, channels and bit depth, bit-exact after decoding and
    without watermark, since nothing is generated. MP3 and Opus are encoded again."""
    import soundfile

    path, depth = Path(path), subtype(source)
    kind: Any = DEPTHS[depth]
    try:
        samples, rate = soundfile.read(given(source), dtype=kind, always_2d=True)
    except soundfile.LibsndfileError:
        samples, rate = read_audio(source, mono=False)
        samples = np.rint(samples.T * 32768).clip(-32768, 32767).astype(np.int16)
    with atomic(path, manifest, SOUND) as hidden:
        if path.suffix.lower() in CODECS:
            _coded(hidden, read_audio(source, mono=False)[0], rate, manifest)
        else:
            _plain(hidden, samples, rate, manifest, depth)


def within(samples: np.ndarray, name: str) -> np.ndarray:
    loud = np.abs(samples) > 1.0
    if loud.any():
        note(f"{name}: {loud.sum():,} samples exceeded full scale and were clipped.")
        samples = samples.clip(-1.0, 1.0)
    return samples


def wav_head(rate: int, count: int, manifest: dict[str, Any]) -> bytes:
    """The header of a 16-bit WAV of ``count`` channels and unknown length; samples follow."""
    comment = as_text(manifest).encode() + b"\0"
    comment += b"\0" * (len(comment) % 2)
    info = b"INFOICMT" + len(comment).to_bytes(4, "little") + comment
    sizes = ((16, 4), (1, 2), (count, 2), (rate, 4), (rate * count * 2, 4), (count * 2, 2), (16, 2))
    form = b"fmt " + b"".join(value.to_bytes(size, "little") for value, size in sizes)
    endless = b"\xff" * 4
    return b"RIFF" + endless + b"WAVE" + form + b"LIST" + len(info).to_bytes(4, "little") + info + b"data" + endless
