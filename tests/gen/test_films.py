"""Every film format and sound codec: read back, reproducible, truncation detected, manifest kept."""

import os

import av
import numpy as np
import pytest

from gen import media
from gen.errors import InputError
from gen.marks.digest import NONE
from gen.marks.verify import embedded, verify
from gen.notes import collect

RATE, FPS, COUNT = 16_000, 25, 25
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
MANIFEST = {"ai_generated": True, "label": True, "note": "é"}
FILMS = [
    ("a.mp4", "auto", "h264", "aac"),
    ("a.mp4", "hevc", "hevc", "aac"),
    ("a.mp4", "av1", "av1", "aac"),
    ("a.mov", "auto", "h264", "aac"),
    ("a.webm", "auto", "vp9", "opus"),
    ("a.webm", "av1", "av1", "opus"),
    ("a.gif", "auto", "gif", None),
]


def ball(clear: bool, count: int = COUNT):
    """A disc that moves over a gradient; transparent around it if ``clear``."""
    y, x = np.mgrid[:96, :128]
    for i in range(count):
        frame = np.stack([x * 2, y * 2, np.full_like(x, 5 * i)], -1).astype(np.uint8)
        inside = np.hypot(x - 40 - i, y - 48) < 30
        yield np.concatenate([frame, 255 * inside[..., None].astype(np.uint8)], -1) if clear else frame


@pytest.mark.parametrize(("name", "codec", "picture", "sound"), FILMS)
def test_a_film_has_its_format(tmp_path, name, codec, picture, sound):
    for place in ("one", "two"):
        with collect() as notes:
            media.write_video(tmp_path / place / name, ball(False), FPS, TONE, RATE, MANIFEST, codec=codec)
    if hasattr(os, "sched_getscheduler"):  # SVT-AV1, run by root, makes the process a real-time one
        assert os.sched_getscheduler(0) != os.SCHED_FIFO
    path = tmp_path / "one" / name
    assert path.read_bytes() == (tmp_path / "two" / name).read_bytes()
    with av.open(str(path)) as film:
        assert film.streams.video[0].codec_context.codec.canonical_name == picture
        assert [one.codec_context.codec.canonical_name for one in film.streams.audio] == ([sound] if sound else [])
        assert sum(1 for _ in film.decode(video=0)) == COUNT
    assert embedded(path)["note"] == "é"
    assert bool(notes) == (name in ("a.gif", "a.webm"))  # dropped sound; resampled sound
    if sound:
        assert len(media.read_audio(path, RATE)[0]) == pytest.approx(RATE, abs=1200)
    data = path.read_bytes()
    for size in (10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(InputError):
            media.check(path)


@pytest.mark.parametrize(("name", "decoder"), [("a.webm", "libvpx-vp9"), ("a.mov", "prores"), ("a.gif", "gif")])
def test_transparency_is_read_back(tmp_path, name, decoder):
    media.write_video(tmp_path / name, ball(True), FPS, manifest={"ai_generated": True})
    if name == "a.gif":
        with av.open(str(tmp_path / name)) as film:
            frame = [*film.decode(video=0)][10]
    else:
        reader = av.CodecContext.create(decoder, "r")
        with av.open(str(tmp_path / name)) as film:
            reader.extradata = film.streams.video[0].codec_context.extradata
            reader.codec_tag = film.streams.video[0].codec_context.codec_tag
            frames = [one for packet in film.demux(video=0) for one in reader.decode(packet)]
        assert len(frames) == COUNT
        frame = frames[10]
    seen = frame.reformat(format="rgba").to_ndarray()[..., 3]
    wanted = [*ball(True)][10][..., 3]
    assert np.abs(seen.astype(int) - wanted).mean() < 4
    assert seen[48, 50] > 250 and seen[5, 5] < 5


def test_the_label_is_never_transparent(tmp_path):
    from gen.marks.label import labelled

    clear = np.zeros((300, 300, 4), np.uint8)
    assert labelled(clear)[-5, 5, 3] == 255 and not labelled(clear)[:200].any()


@pytest.mark.parametrize(
    ("name", "codec", "clear", "said"),
    [
        ("a.mp4", "auto", True, "cannot hold transparency"),
        ("a.mp4", "vp9", False, "cannot hold vp9"),
        ("a.webm", "hevc", False, "cannot hold hevc"),
        ("a.webm", "av1", True, "cannot hold transparency"),
        ("a.avi", "auto", False, "use the extension"),
    ],
)
def test_unsupported_combinations_are_refused(tmp_path, name, codec, clear, said):
    with pytest.raises(InputError, match=said):
        media.write_video(tmp_path / name, ball(clear), FPS, codec=codec)
    assert not [*tmp_path.iterdir()]


def test_a_gif_has_its_rate(tmp_path):
    with collect() as notes:
        media.write_video(tmp_path / "a.gif", ball(False, 60), 60)
    assert "25 frames" in notes[0]
    with av.open(str(tmp_path / "a.gif")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 25
        assert float(film.streams.video[0].average_rate) == 25


def test_a_sequence_of_pictures(tmp_path):
    from PIL import Image

    made = media.write_video(tmp_path / "a.png", ball(True, 30), FPS, TONE, RATE, MANIFEST)
    assert [path.name for path in made[:2]] == ["a-00001.png", "a-00002.png"] and made[-1].name == "a.wav"
    assert len(made) == COUNT + 1 and all(embedded(path) for path in made)
    with Image.open(made[9]) as picture:
        alpha = np.asarray(picture)[..., 3]
    assert (alpha[:60] == [*ball(True, 30)][9][:60, :, 3]).all()  # the label is below


@pytest.mark.parametrize("name", ["a.mp3", "a.opus", "a.flac"])
@pytest.mark.parametrize(("rate", "count"), [(16_000, 1), (22_050, 1), (44_100, 2), (96_000, 2)])
def test_coded_sound(tmp_path, name, rate, count):
    samples = np.stack([0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate)] * count).astype(np.float32)
    for place in ("one", "two"):
        with collect() as notes:
            media.write_audio(tmp_path / place / name, samples, rate, MANIFEST)
    path = tmp_path / "one" / name
    data = path.read_bytes()
    assert data == (tmp_path / "two" / name).read_bytes() and embedded(path)["note"] == "é"
    back, found = media.read_audio(path, mono=False)
    assert back.shape == (count, 3 * found) and found == (
        48_000 if name == "a.opus" else rate if "f" in name else min(rate, 48_000)
    )
    peak = np.abs(np.fft.rfft(back[0, found : 2 * found])).argmax()
    assert peak == 440 and bool(notes) == (found < rate)
    media.check(path)
    for size in (10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(InputError):
            media.check(path)


@pytest.mark.parametrize(
    "name", ["a.wav", "a.flac", "a.mp3", "a.opus", "a.mp4", "a.mov", "a.webm", "a.gif", "a.jpg", "a.png", "a.mid"]
)
def test_a_changed_byte_is_detected_without_a_signature(tmp_path, name):
    """Detected by the hash; in PNG and Ogg by their checksums."""
    import symusic

    facts, path = MANIFEST | {"digest": NONE}, tmp_path / name
    if path.suffix in media.SOUND:
        media.write_audio(path, TONE, RATE, facts)
    elif path.suffix in media.VIDEO:
        media.write_video(path, ball(False), FPS, None if name == "a.gif" else TONE, RATE, facts)
    elif path.suffix in media.PICTURE:
        media.write_image(path, next(ball(False)), facts)
    else:
        score = symusic.Score(480)
        score.tracks.append(symusic.Track())
        score.tracks[0].notes.append(symusic.Note(time=0, duration=480, pitch=60, velocity=90))
        media.write_midi(path, score, facts)
    own = name in ("a.png", "a.opus")
    assert verify(path)["digest"] == (None if own else "fits") and not verify(path)["altered"]
    assert verify(path)["sidecar"] == "same"
    whole = path.read_bytes()
    for share in (0.55, 0.8, 0.97):
        data = bytearray(whole)
        data[int(share * len(data))] ^= 1
        path.write_bytes(data)
        try:
            assert verify(path)["altered"]
        except InputError:  # damage found by the reader
            continue


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.webm"])
def test_chapters_and_subtitles(tmp_path, name):
    chapters, said = [(0.0, "sad"), (0.4, "happy @ 1.3"), (9.0, "never")], [(0.1, 0.5, "a <b> & é"), (0.5, 0.9, "two")]
    for place in ("one", "two"):
        media.write_video(
            tmp_path / place / name, ball(False), FPS, TONE, RATE, MANIFEST, chapters=chapters, subtitles=said
        )
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with av.open(str(tmp_path / "one" / name)) as film:
        found = [(float(one["start"] * one["time_base"]), one["metadata"]["title"]) for one in film.chapters()]
        assert found == chapters[:2]
        [titles] = film.streams.subtitles
        shown = [bytes(packet)[2 * (name != "a.webm") :] for packet in film.demux(titles)]
        wanted = "a &lt;b&gt; &amp; é" if name == "a.webm" else "a <b> & é"
        assert [text.decode() for text in shown if text] == [wanted, "two"]
