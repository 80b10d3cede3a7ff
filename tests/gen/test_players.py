"""Every format opens in other software: FFmpeg decodes it without warnings, Chromium plays supported formats."""

import base64
import os
import shutil
import subprocess
from importlib.util import find_spec

import numpy as np
import pytest

from gen import media

pytestmark = pytest.mark.slow
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
RATE = 16_000
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
FILMS = [
    ("a.mp4", "auto"),
    ("b.mp4", "hevc"),
    ("c.mp4", "av1"),
    ("d.mov", "auto"),
    ("e.webm", "auto"),
    ("f.webm", "av1"),
    ("g.gif", "auto"),
]
CLEAR = ["h.webm", "i.mov", "j.gif"]
SOUNDS = ["k.wav", "l.flac", "m.mp3", "n.opus"]
NOT_HERE = {"b.mp4", "d.mov", "i.mov"}  # HEVC needs hardware; QuickTime support depends on its codec
KINDS = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".gif": "image/gif",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".opus": "audio/ogg",
}
PLAY = """async ([kind, address]) => {
    const one = document.createElement(kind);
    document.body.style = 'margin: 0; background: #00ff00'; document.body.replaceChildren(one);
    one.muted = true; one.src = address;
    await new Promise((done, fail) => {
        one.onloadeddata = one.onload = done; one.onerror = () => fail(one.error?.message ?? 'no picture');
    });
    if (one.play) await one.play();
    await new Promise(done => setTimeout(done, 200));
    return one.duration ?? 1;
}"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    opaque = [np.full((64, 64, 3), (4 * i, 60, 200), np.uint8) for i in range(25)]
    clear = [
        np.concatenate([frame, np.full((64, 64, 1), 255 * (i > 100), np.uint8)], -1) for i, frame in enumerate(opaque)
    ]
    for name, codec in FILMS:
        media.write_video(place / name, opaque, 25, None if "gif" in name else TONE, RATE, codec=codec)
    for name in CLEAR:
        media.write_video(place / name, clear, 25)
    for name in SOUNDS:
        media.write_audio(place / name, TONE, RATE)
    return place


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no FFmpeg is installed")
def test_ffmpeg_decodes_all(files):
    for path in sorted(files.iterdir()):
        done = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "null", "-"], capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, (path.name, done.stderr)


@pytest.mark.skipif(CHROMIUM is None or find_spec("playwright") is None, reason="no Chromium is installed")
def test_chromium_plays_what_it_can(files, tmp_path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 100, "height": 100})
        for path in sorted(path for path in files.iterdir() if path.name not in NOT_HERE):
            kind = KINDS[path.suffix]
            address = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
            lasts = page.evaluate(PLAY, [{"image": "img"}.get(kind[:5], kind[:5]), address])
            assert lasts == pytest.approx(1.0, abs=0.1), path.name
            if path.name in CLEAR:
                page.screenshot(path=tmp_path / "seen.png")
                assert (media.read_image(tmp_path / "seen.png")[32, 32] == (0, 255, 0)).all(), path.name
        browser.close()
