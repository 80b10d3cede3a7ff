"""Films as moviepy clips, for titles, cuts and layouts; written by this package's writer.

A clip keeps the manifests of its sources (``made_from``), so that an edited film includes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import gen
from gen.channels import stereo
from gen.errors import InputError
from gen.marks.digest import NONE
from gen.media.film import read_video, write_video
from gen.media.sound import length, read_audio

if TYPE_CHECKING:
    from moviepy import VideoClip

RATE = 48_000  # Hz, assumed if a sound has no rate


class Frames:
    """Frames of a film by index, drawn in order from an iterator that restarts for an earlier frame."""

    def __init__(self, draw: Callable[[], Iterator[np.ndarray]], count: int):
        self._draw, self._count, self._at, self._frame = draw, count, count, np.zeros(0)
        self._frames: Iterator[np.ndarray] = iter(())

    def __getitem__(self, at: int) -> np.ndarray:
        at = max(0, min(at, self._count - 1))
        if at < self._at:
            self._frames, self._at = self._draw(), -1
        while self._at < at:
            self._frame, self._at = next(self._frames, self._frame), self._at + 1
        return self._frame


def as_clip(
    draw: Callable[[], Iterator[np.ndarray]],
    count: int,
    fps: float,
    samples: np.ndarray | None = None,
    rate: int = RATE,
    made_from: tuple[dict, ...] = (),
) -> VideoClip:
    """A clip of ``count`` frames (h, w, 3 or 4) uint8 from the iterator ``draw()`` and samples (n,) or (c, n). Frames
    are drawn on demand; a fourth channel becomes the clip's mask.

    Raises InputError if moviepy is not installed.
    """
    try:
        from moviepy import VideoClip
        from moviepy.audio.AudioClip import AudioArrayClip
    except ImportError:
        raise InputError('this needs the extra moviepy: run `pip install "affekt[moviepy]"`') from None
    frames = Frames(draw, count)
    at = lambda seconds: frames[int(seconds * fps + 1e-6)]
    clip: Any = VideoClip(lambda seconds: at(seconds)[..., :3], duration=count / fps).with_fps(fps)
    if at(0).shape[2] == 4:
        clip = clip.with_mask(VideoClip(lambda seconds: at(seconds)[..., 3] / 255, is_mask=True, duration=count / fps))
    if samples is not None:
        sound = np.broadcast_to(stereo(np.atleast_2d(samples), rate, "the sound"), (2, np.shape(samples)[-1])).T
        clip = clip.with_audio(AudioArrayClip(sound.astype(float), fps=rate).with_duration(len(sound) / rate))
    clip.made_from = made_from
    return clip


def clip(path: Path | str) -> VideoClip:
    """Opens a film as a clip with sound; frames are read on demand. Raises InputError."""
    from gen.marks.verify import embedded

    path = Path(path)
    fps = read_video(path)[1]
    try:
        samples, rate = read_audio(path, mono=False)
        count = round(samples.shape[1] / rate * fps)
    except InputError:  # a film without an audio track
        samples, rate, count = None, RATE, round(length(path) * fps)
    facts = embedded(path)
    return as_clip(lambda: read_video(path)[0], count, fps, samples, rate, (facts,) if facts else ())


def write_clip(path: Path | str, clip: Any, **options: Any) -> list[Path]:
    """Writes a clip as a film, with sound and the manifests of its sources; ``options`` are those of
    :func:`gen.media.write_video`. A mask becomes transparency if the format supports it."""
    fps = clip.fps or 25
    samples, rate = None, None
    if clip.audio is not None:
        rate = int(getattr(clip.audio, "fps", None) or RATE)
        times = np.arange(round(clip.duration * rate)) / rate
        parts = [clip.audio.get_frame(part) for part in np.split(times, range(rate, len(times), rate))]
        samples = np.concatenate(parts).T.astype(np.float32)
    frames = clip.iter_frames(fps=fps, dtype="uint8")
    if clip.mask is not None and Path(path).suffix.lower() not in (".mp4", ""):
        clear = clip.mask.iter_frames(fps=fps)
        frames = (np.dstack((x, np.round(255 * m).astype(np.uint8))) for x, m in zip(frames, clear))
    own = ({name: fact for name, fact in facts.items() if name != "digest"} for facts in _sources(clip))
    made_from = list({str(facts): facts for facts in own}.values())
    manifest = {"ai_generated": True, "affekt": gen.__version__, "edited_from": made_from, "digest": NONE} | (
        {"label": True} if any(facts.get("label") for facts in made_from) else {}
    )
    return write_video(path, frames, fps, samples, rate, manifest if made_from else None, **options)


def _sources(clip: Any) -> tuple[dict, ...]:
    """The manifests of all parts of a clip."""
    parts = [*getattr(clip, "clips", ()), *([clip.audio] if getattr(clip, "audio", None) is not None else [])]
    return (*getattr(clip, "made_from", ()), *chain.from_iterable(map(_sources, parts)))
