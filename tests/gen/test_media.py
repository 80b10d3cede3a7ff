"""Files read by other software: WAV by the standard library, MIDI by pretty_midi and mido, MP4 by its boxes."""

import json
import struct
import wave

import mido
import numpy as np
import pretty_midi
import pytest
import symusic
from PIL import Image

from gen import media
from gen.errors import InputError
from gen.provenance import sidecar

MANIFEST = {"ai_generated": True, "task": {"emotion": "happy @ 1.4", "note": "é"}, "long": "x" * 300}
RATE = 16_000


def tone(seconds=1.0, rate=RATE, hertz=440.0):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def pictures(count, height=48, width=64):
    for i in range(count):
        frame = np.full((height, width, 3), (5 * i, 60, 200), np.uint8)
        frame[: height // 2, : width // 2] = 255  # bright top left corner
        yield frame


def song():
    score = symusic.Score(480)
    score.tempos.append(symusic.Tempo(0, qpm=120))
    track = symusic.Track(program=0)
    track.notes.append(symusic.Note(time=480, duration=240, pitch=60, velocity=90))
    track.notes.append(symusic.Note(time=960, duration=480, pitch=67, velocity=70))
    score.tracks.append(track)
    return score


def only(folder):
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------- sound


def test_wav_is_read_by_the_standard_library(tmp_path):
    stereo = np.stack([tone(), tone(hertz=220.0)])
    media.write_audio(tmp_path / "a.wav", stereo, RATE)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, RATE, RATE)
        samples = np.frombuffer(file.readframes(RATE), "<i2").reshape(-1, 2).T / 32768
    np.testing.assert_allclose(samples, stereo, atol=1e-4)
    assert only(tmp_path) == ["a.wav"]


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_sound_round_trip_keeps_shape_and_clips(tmp_path, name):
    loud = np.stack([tone() * 3, tone()])
    media.write_audio(tmp_path / name, loud, RATE)
    both, rate = media.read_audio(tmp_path / name, mono=False)
    assert (both.dtype, both.shape, rate) == (np.float32, (2, RATE), RATE)
    np.testing.assert_allclose(both, loud.clip(-1, 1), atol=1e-4)
    mono, _ = media.read_audio(tmp_path / name)
    np.testing.assert_allclose(mono, both.mean(0), atol=1e-6)


def test_resampling_keeps_the_tone(tmp_path):
    media.write_audio(tmp_path / "a.wav", tone(1.0), RATE)
    samples, rate = media.read_audio(tmp_path / "a.wav", rate=22_050)
    assert (len(samples), rate) == (22_050, 22_050)
    np.testing.assert_allclose(samples[2000:-2000], tone(1.0, 22_050)[2000:-2000], atol=2e-3)


def test_wav_carries_the_manifest_in_its_info_chunk(tmp_path):
    media.write_audio(tmp_path / "a.wav", tone(0.1), RATE, MANIFEST)
    data = (tmp_path / "a.wav").read_bytes()
    at = data.index(b"ICMT")
    size = struct.unpack("<I", data[at + 4 : at + 8])[0]
    assert json.loads(data[at + 8 : at + 8 + size].rstrip(b"\0")) == MANIFEST
    assert json.loads(sidecar(tmp_path / "a.wav").read_text()) == MANIFEST


def test_silence_is_valid(tmp_path):
    media.write_audio(tmp_path / "a.wav", np.zeros(100, np.float32), RATE)
    assert not media.read_audio(tmp_path / "a.wav")[0].any()


@pytest.mark.parametrize(("codec", "name"), [("aac", "a.m4a"), ("libmp3lame", "a.mp3"), ("libopus", "a.opus")])
def test_compressed_sound_is_read(tmp_path, codec, name):
    import av

    with av.open(str(tmp_path / name), "w") as out:
        stream = out.add_stream(codec, rate=48_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.stack([tone(1, 48_000)] * 2), format="fltp", layout="stereo")
        frame.rate, frame.pts = 48_000, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    samples, rate = media.read_audio(tmp_path / name, rate=RATE)
    assert rate == RATE
    assert len(samples) == pytest.approx(RATE, abs=0.1 * RATE)
    peak = np.abs(np.fft.rfft(samples[4000:12_000])).argmax() * RATE / 8000
    assert peak == pytest.approx(440, abs=4)


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize(("name", "tolerance"), [("a.png", 0), ("a.jpg", 12)])
def test_picture_round_trip(tmp_path, name, tolerance):
    pixels = next(pictures(1))
    media.write_image(tmp_path / name, pixels, MANIFEST)
    with Image.open(tmp_path / name) as image:
        note = image.info["Comment"] if name == "a.png" else image.info["comment"]
        assert json.loads(note) == MANIFEST
        np.testing.assert_allclose(np.asarray(image.convert("RGB"), int), pixels, atol=tolerance + 30 * (tolerance > 0))
    back = media.read_image(tmp_path / name)
    assert back.dtype == np.uint8
    assert np.abs(back.astype(int) - pixels).mean() <= tolerance


def test_picture_is_upright_and_on_white(tmp_path):
    camera = Image.fromarray(next(pictures(1)))
    exif = camera.getexif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    camera.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    upright = media.read_image(tmp_path / "turned.jpg")
    assert upright.shape == (64, 48, 3)
    assert upright[:20, -20:].mean() > 240
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (media.read_image(tmp_path / "clear.png") == 255).all()


# ---------------------------------------------------------------- video


def boxes(data, inside=(b"moov", b"trak", b"mdia", b"minf", b"stbl")):
    """(name, payload) of all boxes of an MP4, depth first, in file order."""
    at = 0
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        payload = data[at + 8 : at + size]
        yield name, payload
        if name in inside:
            yield from boxes(payload)
        at += size


@pytest.mark.parametrize(("count", "seconds", "expected"), [(10, 1.0, 25), (60, 1.0, 25), (25, 0.99, 25), (3, 0.01, 1)])
def test_frame_count_follows_the_sound(tmp_path, count, seconds, expected):
    media.write_video(tmp_path / "a.mp4", pictures(count), 25, tone(seconds), RATE)
    found = list(boxes((tmp_path / "a.mp4").read_bytes()))
    names = [name for name, _ in found]
    assert names.index(b"moov") < names.index(b"mdat")  # faststart
    picture = next(payload for name, payload in found if name == b"stsz")
    assert struct.unpack(">I", picture[8:12])[0] == expected
    frames, fps = media.read_video(tmp_path / "a.mp4")
    frames = list(frames)
    assert (len(frames), fps) == (expected, 25.0)
    assert frames[-1][-5:, -5:, 0].mean() == pytest.approx(5 * (min(count, expected) - 1), abs=6)  # held


def test_video_tracks_have_the_right_sizes_and_lengths(tmp_path):
    media.write_video(tmp_path / "a.mp4", pictures(30, 47, 65), 29.97, tone(1.0), RATE, MANIFEST)
    data = (tmp_path / "a.mp4").read_bytes()
    found = list(boxes(data))
    heads = [payload for name, payload in found if name == b"tkhd"]
    assert struct.unpack(">II", heads[0][-8:]) == (66 << 16, 48 << 16)
    entry = next(payload for name, payload in found if name == b"stsd")
    assert b"avc1" in entry
    assert json.dumps(MANIFEST, sort_keys=True).encode() in data
    scale = struct.unpack(">I", next(payload for name, payload in found if name == b"mvhd")[12:16])[0]
    seconds = [struct.unpack(">I", head[20:24])[0] / scale for head in heads]
    assert seconds == pytest.approx([30 / 29.97, 1.0], abs=2e-3)


def test_sound_and_picture_of_a_video_stay_in_sync(tmp_path):
    """A click and a flash at 0.6 s come back within one frame of each other."""
    samples, flash = np.zeros(RATE, np.float32), round(0.6 * 25)
    samples[round(0.6 * RATE) : round(0.6 * RATE) + 40] = 0.9
    frames = [np.full((32, 32, 3), 255 * (i >= flash), np.uint8) for i in range(25)]
    media.write_video(tmp_path / "a.mp4", frames, 25, samples, RATE)
    seen = [frame.mean() > 128 for frame in media.read_video(tmp_path / "a.mp4")[0]].index(True) / 25
    heard = np.abs(media.read_audio(tmp_path / "a.mp4")[0]).argmax() / RATE
    assert seen == pytest.approx(0.6, abs=1e-6)
    assert heard == pytest.approx(0.6, abs=0.01)


def test_video_without_sound(tmp_path):
    media.write_video(tmp_path / "a.mp4", pictures(7), 25)
    assert len(list(media.read_video(tmp_path / "a.mp4")[0])) == 7
    with pytest.raises(InputError, match="no sound"):
        media.read_audio(tmp_path / "a.mp4")


def test_video_is_read_at_another_rate(tmp_path):
    media.write_video(tmp_path / "a.mp4", pictures(50), 25)
    native = [frame[-5:, -5:, 0].mean() for frame in media.read_video(tmp_path / "a.mp4")[0]]
    frames, fps = media.read_video(tmp_path / "a.mp4", fps=10)
    slow = [frame[-5:, -5:, 0].mean() for frame in frames]
    assert (len(slow), fps) == (20, 10)
    assert slow == [native[i * 25 // 10] for i in range(20)]
    assert len(list(media.read_video(tmp_path / "a.mp4", fps=60)[0])) == 120


def test_a_turned_phone_video_is_upright(tmp_path):
    media.write_video(tmp_path / "a.mp4", pictures(3), 25)
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)  # clockwise
    (tmp_path / "a.mp4").write_bytes(data)
    frame = next(media.read_video(tmp_path / "a.mp4")[0])
    assert frame.shape == (64, 48, 3)
    assert frame[:20, -20:].mean() > 240


# ---------------------------------------------------------------- MIDI


def test_midi_is_read_by_other_libraries(tmp_path):
    media.write_midi(tmp_path / "a.mid", song(), MANIFEST)
    theirs = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    notes = [(n.start, n.end, n.pitch, n.velocity) for n in theirs.instruments[0].notes]
    assert notes == [(0.5, 0.75, 60, 90), (1.0, 1.5, 67, 70)]
    first = mido.MidiFile(tmp_path / "a.mid").tracks[0][0]
    assert (first.type, first.time, first.data[0]) == ("sequencer_specific", 0, 0x7D)
    assert json.loads(bytes(first.data[1:])) == MANIFEST
    ours = media.read_midi(tmp_path / "a.mid")
    assert [n.pitch for n in ours.tracks[-1].notes] == [60, 67]
    assert ours.to("second").tracks[-1].notes[0].time == pytest.approx(0.5)


def test_midi_in_seconds_can_be_written(tmp_path):
    media.write_midi(tmp_path / "a.mid", song().to("second"))
    assert media.read_midi(tmp_path / "a.mid").note_num() == 2


# ---------------------------------------------------------------- all kinds


def write(path, manifest=MANIFEST):
    if path.suffix in media.SOUND:
        media.write_audio(path, tone(0.2), RATE, manifest)
    elif path.suffix in media.PICTURE:
        media.write_image(path, next(pictures(1)), manifest)
    elif path.suffix in media.VIDEO:
        media.write_video(path, pictures(5), 25, tone(0.2), RATE, manifest)
    else:
        media.write_midi(path, song(), manifest)


ALL = ["a.wav", "a.flac", "a.png", "a.jpg", "a.mp4", "a.mid"]


@pytest.mark.parametrize("name", ALL)
def test_the_same_content_gives_the_same_bytes(tmp_path, name):
    write(tmp_path / "one" / name)
    write(tmp_path / "two" / name)
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert only(tmp_path / "one") == [name, f"{name}.json"]
    media.check(tmp_path / "one" / name)
    media.check(tmp_path / "one" / f"{name}.json")


@pytest.mark.parametrize("name", ALL)
def test_a_cut_or_empty_file_does_not_pass_the_check(tmp_path, name):
    write(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    for size in (0, 10, len(data) // 3, len(data) * 9 // 10):
        (tmp_path / name).write_bytes(data[:size])
        with pytest.raises(InputError):
            media.check(tmp_path / name)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write(tmp_path / "a.mp4")
    before = (tmp_path / "a.mp4").read_bytes()

    def broken():
        yield from pictures(2)
        raise RuntimeError("the renderer stopped")

    with pytest.raises(RuntimeError, match="the renderer stopped"):
        media.write_video(tmp_path / "a.mp4", broken(), 25, manifest={"other": 1})
    assert (tmp_path / "a.mp4").read_bytes() == before
    assert json.loads(sidecar(tmp_path / "a.mp4").read_text()) == MANIFEST
    assert only(tmp_path) == ["a.mp4", "a.mp4.json"]


@pytest.mark.parametrize("read", [media.read_audio, media.read_image, media.read_video, media.read_midi, media.check])
def test_missing_and_empty_files_are_named(tmp_path, read):
    with pytest.raises(InputError, match=r"gone\.wav not found"):
        read(tmp_path / "gone.wav")
    (tmp_path / "none.wav").touch()
    with pytest.raises(InputError, match=r"none\.wav is empty"):
        read(tmp_path / "none.wav")


@pytest.mark.parametrize("read", [media.read_audio, media.read_image, media.read_video, media.read_midi])
def test_a_text_file_is_refused(tmp_path, read):
    (tmp_path / "letter.wav").write_text("Dear friend, " * 100)
    with pytest.raises(InputError, match=r"letter\.wav is not"):
        read(tmp_path / "letter.wav")


def test_midi_without_notes_and_sound_without_length_are_refused(tmp_path):
    media.write_midi(tmp_path / "a.mid", symusic.Score(480))
    with pytest.raises(InputError, match="no notes"):
        media.read_midi(tmp_path / "a.mid")
    media.write_audio(tmp_path / "a.wav", np.zeros(0, np.float32), RATE)
    with pytest.raises(InputError, match="length is zero"):
        media.read_audio(tmp_path / "a.wav")


def test_wrong_extensions_are_refused_before_writing(tmp_path):
    with pytest.raises(InputError, match=r"use the extension \.wav or \.flac"):
        media.write_audio(tmp_path / "a.xyz", tone(0.1), RATE)
    assert only(tmp_path) == []


@pytest.mark.parametrize("end", [".mp4", ".wav", ".ts"])
@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile other.mp4\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    ],
)
def test_a_playlist_opens_no_other_file(tmp_path, playlist, end):
    media.write_video(tmp_path / "other.mp4", pictures(5), 25, tone(0.2), RATE)
    (tmp_path / f"list{end}").write_text(playlist)
    for read in (media.read_audio, media.read_video):
        with pytest.raises(InputError, match="is not a readable"):
            read(tmp_path / f"list{end}")
