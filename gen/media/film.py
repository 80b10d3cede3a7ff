"""Videos: frames (height, width, 3) uint8, or 4 channels with alpha, and sound.

All output is tagged as BT.709, limited range, square pixels: players assume BT.601 for small untagged pictures and
BT.709 for large ones.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from html import escape
from itertools import chain, islice, repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen import channels, marks
from gen.errors import InputError
from gen.media.files import VIDEO, as_text, atomic, given, opened
from gen.media.picture import write_image
from gen.media.sound import AAC, OPUS, at_rate, within, write_audio
from gen.notes import note

GIF_RATE = 25  # frames per second: GIF delays are in 1/100 s, and browsers slow down rates of 50 and more
LARGE = 720  # rows from which players assume BT.709 for untagged videos


class Coder(NamedTuple):
    """An FFmpeg encoder, its pixel formats without and with transparency, its options, and the tag that players
    need."""

    name: str
    pixels: str
    clear: str
    options: dict[str, str]
    tag: str = ""


# Thread counts are fixed, since some encoders' results depend on them. x264's mbtree and x265's cutree are disabled:
# with them, equal frames gave different bytes in a tenth of the runs on a busy machine.
CODERS = {
    "h264": Coder("libx264", "yuv420p", "", {"crf": "18", "preset": "fast", "threads": "4", "x264-params": "mbtree=0"}),
    "hevc": Coder(
        "libx265",
        "yuv420p",
        "",
        {"crf": "20", "preset": "fast", "x265-params": "log-level=none:frame-threads=2:pools=2:cutree=0"},
        "hvc1",
    ),
    "av1": Coder("libsvtav1", "yuv420p", "", {"crf": "25", "preset": "8"}),
    "vp9": Coder(
        "libvpx-vp9",
        "yuv420p",
        "yuva420p",
        {
            "crf": "22",
            "b": "0",
            "deadline": "good",
            "cpu-used": "4",
            "row-mt": "1",
            "threads": "4",
            "auto-alt-ref": "0",
        },
    ),
    "prores": Coder("prores_ks", "yuv444p10le", "yuva444p10le", {"profile": "4444", "threads": "4"}),
}
HOLDS = {".mp4": ("h264", "hevc", "av1"), ".mov": ("h264", "hevc", "prores"), ".webm": ("vp9", "av1")}  # default first


def read_video(path: Path | str, fps: float | None = None) -> tuple[Iterator[np.ndarray], float]:
    """Frames (height, width, 3) uint8, upright, as an iterator, and the frame rate.

    With ``fps``, frame i is the one shown at i / fps seconds, whatever the file's rate; dropped frames are noted.
    """
    import av

    path = given(path)
    try:
        with opened(path) as container:
            found = container.streams.video[0].average_rate if container.streams.video else None
    except av.FFmpegError as error:
        raise InputError(f"{path} is not a readable video: give MP4") from error
    if not found:
        raise InputError(f"{path} has no video track: give a video")
    if fps and found > 1.01 * fps:
        note(f"{path.name}: reduced from {float(found):.4g} to {fps:g} frames per second.")
    return (_frames(path) if fps is None else _held(_timed(path), fps)), float(fps or found)


def _timed(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds since the first frame, pixels); the last frame is repeated with its end time."""
    import av

    try:
        with opened(path) as container:
            start, time, pixels = None, 0.0, None
            for frame in container.decode(video=0):
                start = frame.time if start is None else start
                time, pixels = frame.time - start, np.rot90(_rgb(frame), frame.rotation // 90)
                yield time, pixels
            if pixels is None:
                raise InputError(f"{path} has no video track: give a video")
            yield time + 1 / float(container.streams.video[0].average_rate), pixels
    except av.FFmpegError as error:
        raise InputError(f"{path} is damaged: its frames cannot be read to the end") from error


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


def write_video(
    path: Path | str,
    frames: Iterable[np.ndarray],
    fps: float,
    samples: np.ndarray | None = None,
    rate: int | None = None,
    manifest: dict | None = None,
    *,
    codec: str = "auto",
    chapters: Sequence[tuple[float, str]] = (),
    subtitles: Sequence[tuple[float, float, str]] = (),
) -> list[Path]:
    """Writes frames (height, width, 3 or 4) uint8 and samples (n,) or (c, n) at ``rate`` as MP4, MOV, WebM or GIF. If
    ``path`` is x.png, writes pictures x-00001.png, x-00002.png, ... and x.wav. Returns the files written.

    ``codec`` is one of :data:`HOLDS`; "auto" is H.264 with AAC, VP9 with Opus in WebM, ProRes 4444 in MOV with
    transparency. Transparency (alpha below 255) needs WebM, such a MOV, GIF or PNG.
    With sound there are exactly round(seconds * fps) frames: the last frame is repeated, or surplus frames are dropped.
    Odd sizes grow by one row or column, since chroma is subsampled by 2. Sound is resampled if the format does not
    support its rate; a GIF has no sound. ``chapters`` (seconds, title) and ``subtitles`` (from, to, text) are stored in
    MP4, MOV and WebM. The manifest is read after the last frame is drawn; until then the compressed video stays in
    memory, about 8 MB per minute.
    """
    path = Path(path)
    first, frames = _first(frames)
    coder = pick(path.suffix.lower(), codec, clear=first.shape[2] == 4) if path.suffix.lower() in HOLDS else None
    frames = marks.pictures(frames, manifest)
    if path.suffix.lower() == ".png":
        return _sequence(path, frames, fps, samples, rate, manifest)
    if samples is not None:
        samples, rate = _for_film(np.atleast_2d(samples), rate, path)
        frames = exactly(frames, max(1, round(samples.shape[1] / rate * fps)))
        if coder is None:
            note(f"{path.name}: a GIF has no sound: the sound was dropped")
            samples = None
        else:
            samples, manifest = marks.sound(samples, rate, manifest)
            samples = samples.astype(np.float32)
    with atomic(path, manifest, VIDEO) as hidden:
        if coder is None:
            _gif(hidden, frames, fps, manifest)
        else:
            _film(hidden, coder, frames, fps, samples, rate, manifest, chapters, subtitles)
    return [path]


def pick(ending: str, codec: str, clear: bool) -> Coder:
    """The encoder for a format. Raises ``InputError`` if format, codec and transparency cannot be combined."""
    fit = HOLDS[ending]
    named = codec if codec != "auto" else "prores" if clear and ending == ".mov" else fit[0]
    if named not in fit:
        raise InputError(f"{ending[1:]} cannot hold {named}: choose {' or '.join(fit)}, or another format")
    if clear and not CODERS[named].clear:
        raise InputError(f"{ending[1:]} with {named} cannot hold transparency: choose webm or mov, and no codec")
    return CODERS[named]


def _sequence(
    path: Path,
    frames: Iterator[np.ndarray],
    fps: float,
    samples: np.ndarray | None,
    rate: int | None,
    manifest: dict | None,
) -> list[Path]:
    if samples is not None:
        frames = exactly(frames, max(1, round(np.atleast_2d(samples).shape[1] / rate * fps)))
    written = []
    for number, pixels in enumerate(frames, start=1):
        written.append(path.with_name(f"{path.stem}-{number:05}{path.suffix}"))
        write_image(written[-1], pixels, manifest)
    if samples is not None:
        written.append(path.with_suffix(".wav"))
        write_audio(written[-1], samples, rate, manifest)
    return written


def _first(frames: Iterable[np.ndarray]) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """The first frame, and all frames padded to even sizes."""
    frames = (np.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2), (0, 0)), mode="edge") for x in frames)
    first = next(frames, None)
    if first is None:
        raise ValueError("a video needs at least one frame")
    return first, chain([first], frames)


def _film(
    hidden: Path,
    coder: Coder,
    frames: Iterator[np.ndarray],
    fps: float,
    samples: np.ndarray | None,
    rate: int | None,
    manifest: dict | None,
    chapters: Sequence[tuple[float, str]],
    subtitles: Sequence[tuple[float, float, str]],
) -> None:
    import av

    first, frames = _first(frames)
    options = {"movflags": "+faststart"} if hidden.suffix != ".webm" else {"fflags": "+bitexact", "write_crc32": "0"}
    with av.open(str(hidden), "w", options=options) as out:
        picture = _picture(out, coder, first, Fraction(fps).limit_denominator(1001))
        codec, sound, packets = "libopus" if hidden.suffix == ".webm" else "aac", None, []
        if samples is not None:
            sound = out.add_stream(codec, rate=rate, layout=_layout(samples))
        packets += _titles(out, subtitles)
        for i, pixels in enumerate(frames):
            packets += picture.encode(_frame(pixels, picture.pix_fmt))
            if sound:
                packets += _encoded(sound, samples, round(i * rate / fps), round((i + 1) * rate / fps))
        packets += picture.encode()
        if sound:
            packets += _encoded(sound, samples, round((i + 1) * rate / fps), samples.shape[1]) + sound.encode()
        if manifest is not None:
            out.metadata["comment"] = as_text(manifest)
        _mark(out, chapters, (i + 1) / fps)
        out.mux(packets)


def _titles(out, subtitles: Sequence[tuple[float, float, str]]) -> list:
    """Packets of an optional subtitle stream."""
    import av

    if not subtitles:
        return []
    plain = out.format.name != "webm"
    stream, packets = out.add_stream("mov_text" if plain else "webvtt"), []
    stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
    stream.codec_context.subtitle_header = b"[Script Info]\n"
    for start, end, text in subtitles:
        data = text.encode() if plain else escape(text, quote=False).encode()
        packet = av.Packet(len(data).to_bytes(2) + data if plain else data)  # ISO 14496-17: the length, then UTF-8
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = round(1000 * start)
        packet.duration = round(1000 * (end - start))
        packets.append(packet)
    return packets


def _mark(out, chapters: Sequence[tuple[float, str]], length: float) -> None:
    ends = [*(at for at, _ in chapters[1:]), length]
    rows = [
        (round(1000 * at), round(1000 * min(end, length)), title)
        for (at, title), end in zip(chapters, ends)
        if at < length
    ]
    out.set_chapters(
        [
            {"id": number, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
            for number, (start, end, title) in enumerate(rows)
        ]
    )


def _picture(out, coder: Coder, first: np.ndarray, rhythm: Fraction):
    """Adds a tagged video stream."""
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    stream = out.add_stream(coder.name, rate=rhythm, options=coder.options)
    stream.pix_fmt = coder.clear if first.shape[2] == 4 else coder.pixels
    stream.height, stream.width = first.shape[:2]
    context = stream.codec_context
    if coder.name == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # log errors only
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    context.sample_aspect_ratio = Fraction(1)
    if coder.tag:
        context.codec_tag = coder.tag
    if coder.name == "libsvtav1":
        context.open()
        _no_real_time()
    return stream


def _no_real_time() -> None:
    """Gives the threads of this process their usual priority: run by root, SVT-AV1 makes them real-time threads, and
    nothing else runs on the machine then."""
    for thread in map(int, os.listdir("/proc/self/task") if hasattr(os, "sched_getscheduler") else ()):
        with suppress(ProcessLookupError):
            if os.sched_getscheduler(thread) == os.SCHED_FIFO:
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _frame(pixels: np.ndarray, form: str):
    """Pixels (h, w, 3 or 4) as a BT.709 frame in an encoder's pixel format."""
    import av
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation

    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24" if pixels.shape[2] == 3 else "rgba")
    return frame.reformat(
        format=form,
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        dst_color_primaries=ColorPrimaries.BT709,
        dst_color_trc=ColorTrc.BT709,
        interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
    )


def _rgb(frame) -> np.ndarray:
    """Pixels (h, w, 3) of a decoded frame; an untagged frame gets the colour space that players assume."""
    from av.video.reformatter import Colorspace

    unsaid = frame.colorspace not in (Colorspace.ITU709, Colorspace.ITU601, Colorspace.BT2020, Colorspace.SMPTE240M)
    spoken = {"src_colorspace": Colorspace.ITU709} if unsaid and frame.height >= LARGE else {}
    return frame.reformat(format="rgb24", **spoken).to_ndarray()


def _gif(hidden: Path, frames: Iterator[np.ndarray], fps: float, manifest: dict | None) -> None:
    """Writes frames with a palette each, looping forever."""
    from PIL import Image

    if fps > GIF_RATE:
        note(f"reduced to {GIF_RATE} frames per second: a GIF cannot hold {fps:g}")
        frames = _held(chain(((i / fps, pixels) for i, pixels in enumerate(frames))), GIF_RATE)
    first, *rest = (Image.fromarray(pixels) for pixels in frames)
    note_of = {} if manifest is None else {"comment": as_text(manifest)}
    first.save(
        hidden,
        save_all=True,
        append_images=rest,
        duration=round(1000 / min(fps, GIF_RATE)),
        loop=0,
        disposal=2 if first.mode == "RGBA" else 0,
        optimize=False,
        **note_of,
    )


def _for_film(samples: np.ndarray, rate: int, path: Path) -> tuple[np.ndarray, int]:
    """Samples (c, n) at a rate that the format supports."""
    rates = OPUS if path.suffix.lower() == ".webm" else AAC
    made, found = at_rate(channels.stereo(samples, rate, path.name), rate, rates)
    if found != rate and path.suffix.lower() != ".gif":
        note(f"{path.name}: sound resampled to {found:,} Hz, since the format cannot hold {rate:,} Hz.")
    return within(made, path.name), found


def exactly(frames: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """The first ``count`` frames; the last one is repeated if there are fewer."""
    last = None
    for last in islice(frames, count):
        count -= 1
        yield last
    yield from repeat(last, count)


def _layout(samples: np.ndarray) -> str:
    return "mono" if len(samples) == 1 else "stereo"


def _encoded(stream, samples: np.ndarray, start: int, stop: int) -> list:
    """Encodes the samples of one frame; AAC buffers an incomplete frame of its own."""
    import av

    part = np.ascontiguousarray(samples[:, start:stop])
    if not part.shape[1]:
        return []
    frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=_layout(samples))
    frame.rate, frame.pts = stream.rate, start
    return stream.encode(frame)
