"""Films as moviepy clips, and clips written as films with marks."""

import numpy as np
import pytest

from gen import media
from gen.errors import InputError
from gen.marks.digest import NONE
from gen.marks.verify import embedded, verify

moviepy = pytest.importorskip("moviepy")
RATE, FPS = 16_000, 25


def frames(count: int, depth: int = 3):
    """Frames (32, 48, depth), each in a grey that encodes its number."""
    return (np.full((32, 48, depth), 2 * i, np.uint8) for i in range(count))


def sound(seconds: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def test_frames_are_drawn_on_demand():
    drawn = []

    def draw():
        for i, frame in enumerate(frames(50)):
            drawn.append(i)
            yield frame

    clip = media.as_clip(draw, 50, FPS, sound(2), RATE)
    assert drawn[-1] == 0 and clip.duration == 2 and clip.size == (48, 32)
    assert clip.get_frame(0.4).mean() == 20 and drawn[-1] == 10
    assert clip.get_frame(0.2).mean() == 10  # a seek backwards restarts the iterator
    assert drawn.count(0) == 2


def test_a_film_survives_moviepy(tmp_path):
    facts = {"ai_generated": True, "affekt": "1", "task": {"kind": "talk"}, "digest": NONE}
    media.write_video(tmp_path / "a.mp4", frames(25), FPS, sound(1), RATE, facts)
    clip = media.clip(tmp_path / "a.mp4")
    still = moviepy.ColorClip((48, 32), (0, 0, 0), duration=0.4)
    film = moviepy.concatenate_videoclips([still, clip.subclipped(0, 0.8)], method="compose").with_fps(FPS)
    media.write_clip(tmp_path / "b.mp4", film)
    read, fps = media.read_video(tmp_path / "b.mp4")
    greys = [frame.mean() for frame in read]
    assert fps == FPS and len(greys) == 30
    assert max(greys[:10]) < 2 and np.allclose(greys[10:], 2 * np.arange(20), atol=3)
    samples, rate = media.read_audio(tmp_path / "b.mp4")
    assert np.abs(samples[: round(0.35 * rate)]).max() < 0.01 < 0.2 < np.abs(samples[round(0.5 * rate) :]).max()
    assert embedded(tmp_path / "b.mp4")["edited_from"][0]["task"] == {"kind": "talk"}
    assert not verify(tmp_path / "b.mp4")["altered"]


def test_transparency_becomes_a_mask_and_back(tmp_path):
    alpha = lambda i: np.full((32, 48), 255 * (i % 2), np.uint8)
    clear = lambda: (np.dstack((frame, alpha(i))) for i, frame in enumerate(frames(4)))
    clip = media.as_clip(clear, 4, FPS)
    assert clip.mask.get_frame(0).max() == 0 and clip.mask.get_frame(1 / FPS).min() == 1
    paths = media.write_clip(tmp_path / "x.png", clip)
    assert len(paths) == 4
    assert embedded(paths[0]) is None  # no source was generated


def test_a_file_that_is_no_film_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no film")
    with pytest.raises(InputError, match=r"a\.mp4"):
        media.clip(tmp_path / "a.mp4")
