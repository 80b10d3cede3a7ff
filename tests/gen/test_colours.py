"""Films keep the drawn colours at every size, in PyAV, FFmpeg and a browser.

FFmpeg and Chromium (Debian's packages) are tested if installed; PyAV always.
"""

import base64
import json
import os
import shutil
import subprocess
from importlib.util import find_spec

import numpy as np
import pytest

from gen import media

PATCHES = np.array([(200, 40, 40), (40, 180, 60), (50, 70, 200), (220, 190, 160)])
NEAR = 3  # of 255
# as with a GPU: in software, Chromium on x86 uses 7-bit coefficients, and blues lose 6 of 255
GPU = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
FILMS = [("a.mp4", "auto"), ("a.mp4", "hevc"), ("a.mp4", "av1"), ("a.mov", "auto"), ("a.webm", "auto")]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
SEEK = """async address => {
    const film = document.createElement('video');
    document.body.style.margin = 0; document.body.replaceChildren(film);
    film.src = address; film.muted = true;
    await new Promise((done, fail) => { film.onloadeddata = done; film.onerror = () => fail(film.error.message); });
    film.currentTime = 0.1; await new Promise(done => film.onseeked = done);
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


def patches(side: int, count: int = 8):
    """Frames of four flat colours."""
    half = side // 2
    frame = np.repeat(np.repeat(PATCHES.reshape(2, 2, 3), half, 0), half, 1).astype(np.uint8)
    return [frame] * count


def middles(frame: np.ndarray) -> np.ndarray:
    side = len(frame)
    return np.array([frame[y * side // 4, x * side // 4] for y in (1, 3) for x in (1, 3)], int)


@pytest.mark.parametrize("side", [512, 720, 1080])
def test_four_patches_are_read_back(tmp_path, side):
    media.write_video(tmp_path / "a.mp4", patches(side), 25)
    frames = list(media.read_video(tmp_path / "a.mp4")[0])
    assert np.abs(middles(frames[3]) - PATCHES).max() <= NEAR


@pytest.mark.parametrize(("name", "codec"), FILMS)
def test_every_film_is_tagged_with_its_colours(tmp_path, name, codec):
    import av
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    media.write_video(tmp_path / name, patches(128), 25, codec=codec)
    with av.open(str(tmp_path / name)) as film:
        one = film.streams.video[0].codec_context
        assert (one.colorspace, one.color_range) == (Colorspace.ITU709, ColorRange.MPEG)
        assert (one.color_primaries, one.color_trc) == (ColorPrimaries.BT709, ColorTrc.BT709)
        assert film.streams.video[0].sample_aspect_ratio == 1
    frames = list(media.read_video(tmp_path / name)[0])
    assert len(frames) == 8 and np.abs(middles(frames[3]) - PATCHES).max() <= NEAR


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("ffmpeg") or not shutil.which("ffprobe"), reason="no FFmpeg is installed")
@pytest.mark.parametrize("side", [512, 720, 1080])
def test_ffmpeg_reads_the_colours(tmp_path, side):
    media.write_video(tmp_path / "a.mp4", patches(side), 25)
    output = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-of", "json", tmp_path / "a.mp4"], capture_output=True, check=True
    )
    [stream] = json.loads(output.stdout)["streams"]
    assert {stream[f"color_{tag}"] for tag in ("space", "transfer", "primaries")} == {"bt709"}
    assert stream["color_range"] == "tv" and stream["sample_aspect_ratio"] == "1:1"
    read = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        tmp_path / "a.mp4",
        "-frames:v",
        "1",
        "-sws_flags",
        "accurate_rnd",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    raw = subprocess.run(read, capture_output=True, check=True).stdout
    assert np.abs(middles(np.frombuffer(raw, np.uint8).reshape(side, side, 3)) - PATCHES).max() <= NEAR


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None or find_spec("playwright") is None, reason="no Chromium is installed")
@pytest.mark.parametrize("side", [512, 720, 1080])
def test_a_browser_shows_the_colours(tmp_path, side):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=GPU)
        page = browser.new_page(viewport={"width": side, "height": side})
        for name, codec, kind in (("a.mp4", "auto", "mp4"), ("a.mp4", "av1", "mp4"), ("a.webm", "auto", "webm")):
            media.write_video(tmp_path / name, patches(side), 25, codec=codec)
            address = f"data:video/{kind};base64,{base64.b64encode((tmp_path / name).read_bytes()).decode()}"
            page.evaluate(SEEK, address)
            page.screenshot(path=tmp_path / "seen.png")  # the composited page: a canvas converts less precisely
            seen = middles(media.read_image(tmp_path / "seen.png"))
            assert np.abs(seen - PATCHES).max() <= NEAR, (name, codec, seen)
        browser.close()
