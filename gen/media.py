"""The only reader and writer of sound, pictures, video and MIDI.

A file appears under its name only when it is whole, and the same content gives the same bytes. A manifest
goes into the file's own metadata as JSON and next to the file (:func:`gen.provenance.sidecar`). What a user
can mend is an InputError.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np

from gen import channels, marks
from gen.errors import InputError
from gen.notes import note
from gen.provenance import sidecar

DEPTHS = {"PCM_16": "int16", "PCM_24": "int32", "PCM_32": "int32", "FLOAT": "float32", "DOUBLE": "float64"}
SOUND, PICTURE, VIDEO, MIDI = (".wav", ".flac"), (".png", ".jpg", ".jpeg"), (".mp4",), (".mid", ".midi")
# FFmpeg's containers that hold their own data; a playlist (hls, concat, sdp) would open other files and addresses
CONTAINERS = "aac,ac3,aiff,amr,asf,au,avi,caf,flac,flv,gif,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav,webm"


AAC = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # Hz that MP4 holds and every player plays
CLIPPED = 0.9999  # of full scale


@contextmanager
def _atomic(path: Path | str, manifest: dict | None, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yields a hidden name beside ``path`` to write to; moves it, after its manifest, into place if all is well."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path} cannot be written: its name must end in {' or '.join(suffixes)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden, beside = (path.with_name(f".{os.getpid()}-{path.stem}{end}") for end in (path.suffix, ".json"))
    try:
        yield hidden
        marks.seal(hidden, manifest)
        if manifest is not None:
            beside.write_text(json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
            os.replace(beside, sidecar(path))
        os.replace(hidden, path)
    finally:
        hidden.unlink(missing_ok=True)
        beside.unlink(missing_ok=True)


def _given(path: Path | str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not there: check the name")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty: give a file with something in it")
    return path


def opened(path: Path):
    """A container of PyAV; a file of a user's may name no other file and no address."""
    import av

    return av.open(str(path), options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"})


def _text(manifest: dict) -> str:
    return json.dumps(manifest, sort_keys=True)


# ---------------------------------------------------------------- sound


def read_audio(path: Path | str, rate: int | None = None, mono: bool = True) -> tuple[np.ndarray, int]:
    """Samples in [-1, 1], float32 (n,) if ``mono`` else (c, n), and their rate in Hz; resampled if ``rate``
    is given. What is lost on the way is noted.

    Opens what soundfile opens and, through PyAV, any other sound, also that of a video. Silence is fine.
    """
    import soundfile
    import soxr

    path = _given(path)
    try:
        with path.open("rb") as file:
            samples, found = soundfile.read(file, dtype="float32", always_2d=True)  # (n, c)
    except soundfile.LibsndfileError:
        samples, found = _decode_sound(path)
    if not len(samples):
        raise InputError(f"{path} holds no sound: its length is zero")
    if not np.isfinite(samples).all():
        raise InputError(f"{path} is damaged: some samples are not numbers")
    if (places := _clipped(samples)) > 5:
        note(f"{path.name} is clipped in {places:,} places, where it stays distorted: record it more quietly.")
    samples = channels.mono(samples.T, found, path.name) if mono else samples.T
    if rate and rate != found:
        if rate < found:
            note(f"{path.name}: {found:,} Hz were resampled to {rate:,} Hz.")
        samples = soxr.resample(samples.T, found, rate).T
    return np.ascontiguousarray(samples, dtype=np.float32), rate or found


def _clipped(samples: np.ndarray) -> int:
    """How often three samples or more of (n, c) in a row are at full scale."""
    full = np.abs(samples) >= CLIPPED
    runs = full[2:] & full[1:-1] & full[:-2]
    return int((runs[1:] & ~runs[:-1]).sum() + runs[:1].sum())


def _decode_sound(path: Path) -> tuple[np.ndarray, int]:
    import av

    try:
        with opened(path) as container:
            if not container.streams.audio:
                raise InputError(f"{path} has no sound: give a file with a sound track")
            convert = av.AudioResampler(format="fltp")
            frames = [part for frame in container.decode(audio=0) for part in convert.resample(frame)]
            found = container.streams.audio[0].rate
    except av.FFmpegError as error:
        raise InputError(f"{path} is not a sound that can be read: give WAV, FLAC, MP3, M4A or Opus") from error
    parts = [frame.to_ndarray().T for frame in frames]
    return (np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)), found


def write_audio(path: Path | str, samples: np.ndarray, rate: int, manifest: dict | None = None,
                subtype: str = "PCM_16") -> None:  # fmt: skip
    """Write samples (n,) or (c, n), clipped to [-1, 1], as WAV or FLAC of 16 bits, or of another ``subtype`` of
    soundfile's; with a manifest, also a watermark."""
    import soundfile

    samples, manifest = marks.sound(_within(samples, Path(path).name), rate, manifest)
    with _atomic(path, manifest, SOUND) as hidden:
        channels = 1 if samples.ndim == 1 else len(samples)
        with soundfile.SoundFile(hidden, "w", rate, channels, subtype) as file:
            if manifest is not None:
                file.comment = _text(manifest)
            file.write(samples.T)


def subtype(path: Path | str) -> str:
    """The name of a sound's bit depth among :data:`DEPTHS`; 16 bits where it has none, as in MP3 or Opus."""
    import soundfile

    try:
        found = soundfile.info(_given(path)).subtype
    except soundfile.LibsndfileError:
        found = ""
    return found if found in DEPTHS else "PCM_16"


def copy_audio(source: Path | str, path: Path | str, manifest: dict | None = None) -> None:
    """Write the sound of a file as a WAV of its own rate, channels and bit depth: every sample as it was decoded, and
    no watermark, since nothing was made."""
    import soundfile

    depth = subtype(source)
    try:
        samples, rate = soundfile.read(_given(source), dtype=DEPTHS[depth], always_2d=True)
    except soundfile.LibsndfileError:
        samples, rate = read_audio(source, mono=False)
        samples = np.rint(samples.T * 32768).clip(-32768, 32767).astype(np.int16)
    with (
        _atomic(path, manifest, SOUND) as hidden,
        soundfile.SoundFile(hidden, "w", rate, samples.shape[1], depth) as file,
    ):
        if manifest is not None:
            file.comment = _text(manifest)
        file.write(samples)


def _within(samples: np.ndarray, name: str) -> np.ndarray:
    loud = np.abs(samples) > 1.0
    if loud.any():
        note(f"{name}: {loud.sum():,} samples were louder than full scale and are clipped.")
        samples = samples.clip(-1.0, 1.0)
    return samples


# ---------------------------------------------------------------- pictures


def read_image(path: Path | str) -> np.ndarray:
    """Pixels (height, width, 3) uint8, upright as the camera held it; what is transparent becomes white."""
    from gen import raster

    return raster.read(_given(path))


def write_image(path: Path | str, pixels: np.ndarray, manifest: dict | None = None) -> None:
    """Write pixels (height, width, 3) or (height, width) uint8 as PNG or JPEG."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    with _atomic(path, manifest, PICTURE) as hidden:
        image = Image.fromarray(pixels)
        if hidden.suffix.lower() == ".png":
            info = PngInfo()
            if manifest is not None:
                info.add_text("Comment", _text(manifest))
            image.save(hidden, pnginfo=info)
        else:
            image.save(hidden, quality=95, comment=_text(manifest) if manifest is not None else "")


# ---------------------------------------------------------------- video


def read_video(path: Path | str, fps: float | None = None) -> tuple[Iterator[np.ndarray], float]:
    """Frames (height, width, 3) uint8, upright, one by one, and frames per second.

    With ``fps``, frame i is the one on screen at i / fps seconds, whatever rate the file has; frames that are left
    out are noted.
    """
    import av

    path = _given(path)
    try:
        with opened(path) as container:
            found = container.streams.video[0].average_rate if container.streams.video else None
    except av.FFmpegError as error:
        raise InputError(f"{path} is not a video that can be read: give MP4") from error
    if not found:
        raise InputError(f"{path} has no picture: give a video")
    if fps and found > 1.01 * fps:
        note(f"{path.name}: {float(found):.4g} frames a second were reduced to {fps:g}.")
    return (_frames(path) if fps is None else _held(_timed(path), fps)), float(fps or found)


def _timed(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds since the first frame, pixels); the last one comes twice, the second time when it ends."""
    import av

    try:
        with opened(path) as container:
            start, time, pixels = None, 0.0, None
            for frame in container.decode(video=0):
                start = frame.time if start is None else start
                time, pixels = frame.time - start, np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                yield time, pixels
            if pixels is None:
                raise InputError(f"{path} has no picture: give a video")
            yield time + 1 / float(container.streams.video[0].average_rate), pixels
    except av.FFmpegError as error:
        raise InputError(f"{path} is damaged: its pictures cannot be read to the end") from error


def _frames(path: Path) -> Iterator[np.ndarray]:
    last = None
    for _, pixels in _timed(path):
        if last is not None:
            yield last
        last = pixels


def _held(timed: Iterator[tuple[float, np.ndarray]], fps: float) -> Iterator[np.ndarray]:
    last, count = None, 0
    for time, pixels in timed:
        while count / fps < time - 1e-6:
            yield last
            count += 1
        last = pixels


def write_video(path: Path | str, frames: Iterable[np.ndarray], fps: float, samples: np.ndarray | None = None,
                rate: int | None = None, manifest: dict | None = None) -> None:  # fmt: skip
    """Write an MP4 (H.264, AAC, index first) of frames (height, width, 3) uint8 and samples (n,) or (c, n) at
    ``rate``.

    With sound there are exactly round(seconds * fps) frames: the last one is held, or surplus ones are left
    out. Odd sizes grow by one row or column, since H.264 halves the colour planes. Sound of a rate that AAC does not
    know is resampled. The manifest is written as it is when the last frame is drawn; until then the compressed film
    waits in memory, about 8 MB a minute.
    """
    import av

    rhythm = Fraction(fps).limit_denominator(1001)
    frames = (np.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2), (0, 0)), mode="edge") for x in frames)
    first = next(frames, None)
    if first is None:
        raise ValueError("a video needs at least one frame")
    frames = marks.pictures(chain([first], frames), manifest)
    if samples is not None:
        samples, rate = _for_film(np.atleast_2d(samples), rate, Path(path).name)
        samples, manifest = marks.sound(samples, rate, manifest)
        samples = samples.astype(np.float32)
        frames = exactly(frames, max(1, round(samples.shape[1] / rate * fps)))
    with _atomic(path, manifest, VIDEO) as hidden, av.open(str(hidden), "w", options={"movflags": "+faststart"}) as out:
        picture = out.add_stream("libx264", rate=rhythm, options={"crf": "18", "preset": "fast", "threads": "4"})
        picture.pix_fmt, picture.height, picture.width = "yuv420p", *first.shape[:2]
        sound, packets = None if samples is None else out.add_stream("aac", rate=rate, layout=_layout(samples)), []
        for i, pixels in enumerate(frames):
            packets += picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24"))
            if sound:
                packets += _encoded(sound, samples, round(i * rate / fps), round((i + 1) * rate / fps))
        packets += picture.encode()
        if sound:
            packets += _encoded(sound, samples, round((i + 1) * rate / fps), samples.shape[1]) + sound.encode()
        if manifest is not None:
            out.metadata["comment"] = _text(manifest)
        out.mux(packets)


def _for_film(samples: np.ndarray, rate: int, name: str) -> tuple[np.ndarray, int]:
    """Samples (c, n) and a rate that AAC in MP4 can hold and players play."""
    import soxr

    samples = channels.stereo(samples, rate, name)
    if rate not in AAC:
        wanted = min((r for r in AAC if r >= rate), default=AAC[-1])
        note(f"{name}: its sound has {wanted:,} Hz, since films cannot hold {rate:,} Hz.")
        samples, rate = soxr.resample(samples.T, rate, wanted).T, wanted
    return _within(samples, name), rate


def exactly(frames: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """The first ``count`` frames, the last one held where there are fewer."""
    last = None
    for last in islice(frames, count):
        count -= 1
        yield last
    yield from repeat(last, count)


def _layout(samples: np.ndarray) -> str:
    return "mono" if len(samples) == 1 else "stereo"


def _encoded(stream, samples: np.ndarray, start: int, stop: int) -> list:
    """Packets of the samples of one frame; AAC keeps what does not fill its own."""
    import av

    part = np.ascontiguousarray(samples[:, start:stop])
    if not part.shape[1]:
        return []
    frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=_layout(samples))
    frame.rate, frame.pts = stream.rate, start
    return stream.encode(frame)


# ---------------------------------------------------------------- MIDI


def read_midi(path: Path | str):
    """``symusic.Score`` in ticks; ``.to("second")`` gives seconds."""
    import symusic

    path = _given(path)
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
        text = _text(manifest).encode()
        event = b"\x00\xff\x01" + _varlen(len(text)) + text
        head, size = 22, int.from_bytes(data[18:22])  # MThd is 14 bytes, then "MTrk" and the track's size
        data = data[:18] + (size + len(event)).to_bytes(4) + event + data[head:]
    with _atomic(path, manifest, MIDI) as hidden:
        hidden.write_bytes(data)


def _varlen(number: int) -> bytes:
    """A MIDI variable-length quantity: seven bits a byte, the high bit set on all but the last."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))


# ---------------------------------------------------------------- any


def check(path: Path | str) -> None:
    """Read a rendered file back to its end, by its extension; InputError if it is missing, empty or not whole."""
    path = _given(path)
    end = path.suffix.lower()
    if end in SOUND:
        read_audio(path, mono=False)
    elif end in PICTURE:
        read_image(path)
    elif end in VIDEO:
        for _ in read_video(path)[0]:
            pass
    elif end in MIDI:
        read_midi(path)
    elif end == ".json":
        try:
            json.loads(path.read_text())
        except ValueError as error:
            raise InputError(f"{path} is not JSON: make it again") from error
    if end in (".wav", *VIDEO) and _promised_size(path) != path.stat().st_size:
        raise InputError(f"{path} is cut off: make it again")


def _promised_size(path: Path) -> int:
    """Bytes that the chunks of a WAV, or the boxes of an MP4, say the file has; readers overlook a missing end."""
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] == b"RIFF":
            return 8 + int.from_bytes(head[4:], "little")
        at = 0
        while len(head) == 8:
            size = int.from_bytes(head[:4])
            if size == 0:  # up to the end
                return path.stat().st_size
            at += size if size != 1 else int.from_bytes(file.read(8))  # 1: the size follows in 64 bits
            file.seek(at)
            head = file.read(8)
        return at
