"""The marks: detected after processing, and not detected in unmarked files."""

import json

import numpy as np
import pytest
import soxr
import symusic

from gen import media
from gen.cli import main
from gen.errors import InputError
from gen.marks import label, watermark
from gen.marks.verify import embedded, marked, report, verify
from gen.provenance import sidecar

RATE = 22050
MANIFEST = {
    "ai_generated": True,
    "affekt": "0.1.0",
    "seed": 3,
    "checkpoints": {"piano": "ab" * 32},
    "task": {"kind": "music", "consent": "the speaker, in writing"},
}


def melody(seconds: float = 6.0, seed: int = 0) -> np.ndarray:
    """Plucked notes with overtones over a little noise: neither silent nor stationary."""
    dice, times = np.random.default_rng(seed), np.arange(int(seconds * RATE)) / RATE
    sound = 0.002 * dice.standard_normal(len(times))
    for start in np.arange(0, seconds, 0.23):
        pitch, after = 110 * 2 ** (dice.integers(0, 30) / 12), np.maximum(times - start, 0)
        for overtone in range(1, 12):
            decay = np.exp(-after * (1 + overtone / 2)) * (times >= start) / overtone
            sound += 0.06 * decay * np.sin(2 * np.pi * pitch * overtone * after)
    return sound.astype(np.float32)


# ---------------------------------------------------------------- watermark


def test_watermark_is_detected_in_a_crop_at_another_rate():
    marked_sound = watermark.embed(melody(), RATE)
    assert watermark.detect(marked_sound, RATE).found
    crop = soxr.resample(marked_sound[17_771 : 17_771 + 5 * RATE], RATE, 16000)
    assert watermark.detect(0.3 * crop, 16000).score > watermark.FOUND + 1


def test_watermark_is_not_detected_in_unmarked_sound():
    plain = melody()
    assert max(watermark.detect(plain, RATE, key).score for key in range(25)) < watermark.FOUND
    assert not watermark.detect(plain, RATE).found
    assert not watermark.detect(watermark.embed(plain, RATE), RATE, key=1).found
    for silence in (np.zeros(5 * RATE), np.full(5 * RATE, 0.5), np.zeros(10)):
        assert not watermark.detect(silence, RATE).found


def test_watermark_is_far_below_the_sound_and_reproducible():
    plain = melody()
    sound = watermark.embed(plain, RATE)
    assert 10 * np.log10(np.square(plain).sum() / np.square(sound - plain).sum()) > 17
    np.testing.assert_array_equal(sound, watermark.embed(plain, RATE))
    assert sound.shape == plain.shape and sound.dtype == np.float32


def test_channels_get_equal_gains():
    stereo = np.stack([melody(), 0.5 * melody()])
    sound = watermark.embed(stereo, RATE)
    np.testing.assert_allclose(sound[1], 0.5 * sound[0], atol=1e-5)
    assert watermark.detect(sound, RATE).found


def test_long_sounds_are_marked_in_blocks_without_seams(monkeypatch):
    plain = melody(6.0)
    whole = watermark._with_gains(plain, RATE, np.ones((watermark.BANDS, 100)))
    twice = watermark._with_gains(np.tile(plain, 8), RATE, np.ones((watermark.BANDS, 800)))
    np.testing.assert_allclose(twice[RATE : 5 * RATE], whole[RATE : 5 * RATE], atol=1e-4)
    seam = twice[39 * RATE : 45 * RATE]  # parts end there
    assert np.abs(np.diff(seam)).max() < 1.5 * np.abs(np.diff(twice[: 6 * RATE])).max()


# ---------------------------------------------------------------- label


@pytest.mark.parametrize("size", [(512, 512), (64, 48), (8, 8), (1080, 1920)])
def test_label_changes_only_its_corner(size):
    picture = np.full((*size, 3), 90, np.uint8)
    done = label.labelled(picture)
    changed = np.argwhere((done != picture).any(-1))
    assert len(changed) and changed[:, 0].min() >= 0.75 * size[0] - 12
    assert (picture == 90).all() and done.dtype == np.uint8
    if size[0] > 100:
        assert done.max() > 240


def test_video_has_the_label_only_on_request(tmp_path):
    frames = lambda: iter([np.full((128, 128, 3), 60, np.uint8)] * 4)
    for name, facts in (("plain", MANIFEST), ("marked", MANIFEST | {"label": True})):
        media.write_video(tmp_path / f"{name}.mp4", frames(), 10, manifest=facts)
    bright = {name: next(media.read_video(tmp_path / f"{name}.mp4")[0]).max() for name in ("plain", "marked")}
    assert bright["plain"] < 80 and bright["marked"] > 180


# ---------------------------------------------------------------- verify


def write(path):
    """A file of the format of its extension, with a manifest."""
    black = np.zeros((64, 64, 3), np.uint8)
    if path.suffix in media.SOUND:
        media.write_audio(path, melody(5.0), RATE, MANIFEST)
    elif path.suffix in media.PICTURE:
        media.write_image(path, black, MANIFEST)
    elif path.suffix in media.VIDEO:
        media.write_video(path, iter([black] * 50), 10, melody(5.0), RATE, MANIFEST)
    else:
        score, track = symusic.Score(480), symusic.Track()
        track.notes.append(symusic.Note(0, 480, 60, 90))
        score.tracks.append(track)
        media.write_midi(path, score, MANIFEST)
    return path


@pytest.mark.parametrize("end", ["wav", "flac", "png", "jpg", "mp4", "mid"])
def test_marks_of_every_format_are_read_back(tmp_path, end):
    path = write(tmp_path / f"a.{end}")
    found = verify(path)
    assert embedded(path).items() >= MANIFEST.items() and found["sidecar"] == "same" and marked(found)
    sounds = end in ("wav", "flac", "mp4")
    assert (found["watermark"] is not None) == sounds
    if sounds:
        assert found["watermark"]["found"] and found["manifest"]["watermark"] == watermark.NAME
    output = report(found)
    assert "seed 3" in output and "the speaker, in writing" in output
    sidecar(path).write_text(json.dumps(MANIFEST | {"seed": 4}))
    assert "DIFFERS" in report(verify(path)) and verify(path)["altered"] == ["the manifest beside it differs"]
    assert main(["verify", str(path)]) == 5


def test_unmarked_files_are_reported(tmp_path, capsys):
    media.write_audio(tmp_path / "b.wav", melody(), RATE)
    found = verify(tmp_path / "b.wav")
    assert not marked(found) and found["manifest"] is None
    assert main(["verify", str(tmp_path / "b.wav")]) == 0
    output = capsys.readouterr().out
    assert "not found" in output and "none" in output
    assert main(["verify", str(tmp_path / "b.wav"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["watermark"]["found"] is False


@pytest.mark.parametrize("name", ["gone.wav", "x.exe", "bad.wav", "bad.mp4"])
def test_unreadable_files_are_refused(tmp_path, name, capsys):
    if name.startswith("bad"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(InputError):
        verify(tmp_path / name)
    assert main(["verify", str(tmp_path / name)]) == 2


def test_every_file_of_a_folder_is_verified(tmp_path, capsys):
    for name in ("a.wav", "b/c.mid"):
        write(tmp_path / name)
    gltf = json.dumps({"asset": {"version": "2.0", "extras": MANIFEST}}).encode()
    head = b"glTF" + (2).to_bytes(4, "little") + (20 + len(gltf)).to_bytes(4, "little")
    (tmp_path / "d.glb").write_bytes(head + len(gltf).to_bytes(4, "little") + b"JSON" + gltf)
    (tmp_path / "e.motion.json").write_text(json.dumps({"manifest": MANIFEST, "frames": []}))
    (tmp_path / "f.arkit.csv").write_text("a,b")
    sidecar(tmp_path / "f.arkit.csv").write_text(json.dumps(MANIFEST))
    (tmp_path / "g.txt").write_text("a note of mine")
    assert main(["verify", str(tmp_path), "--json"]) == 0
    found = {row["file"]: row["where"] for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert found == {
        "a.wav": "in the file",
        "c.mid": "in the file",
        "d.glb": "in the file",
        "e.motion.json": "in the file",
        "f.arkit.csv": "beside the file",
        "g.txt": None,
    }
    sidecar(tmp_path / "a.wav").write_text(json.dumps(MANIFEST | {"seed": 4}))
    (tmp_path / "aa.wav").write_bytes(b"nothing of the kind")
    assert main(["verify", *map(str, sorted(tmp_path.iterdir()))]) == 5
    output = capsys.readouterr()
    assert output.out.count("file  ") == 7 and "g.txt" in output.out
    assert output.err == f"affekt: altered: {tmp_path / 'a.wav'}\n"


# ---------------------------------------------------------------- credentials


@pytest.fixture
def signing(tmp_path, monkeypatch):
    pytest.importorskip("c2pa")
    monkeypatch.setenv("AFFEKT_SIGNING", str(tmp_path / "keys"))
    from gen.marks import credentials

    credentials._signer.cache_clear()
    return credentials


@pytest.mark.parametrize("end", ["wav", "mp4"])
def test_credentials_are_valid_until_a_byte_changes(signing, tmp_path, end):
    path = write(tmp_path / f"a.{end}")
    found = signing.read(path)
    assert found.state == "Valid" and found.problems == () and found.manifest["seed"] == 3
    assert embedded(path)["seed"] == 3 and "valid, signed by Affekt development certificate" in report(verify(path))
    assert (tmp_path / "keys" / "key.pem").stat().st_mode & 0o077 == 0
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert signing.read(path).state == "Invalid"
    assert main(["verify", str(path)]) == 5 and verify(path)["altered"] == ["its signature is invalid"]


def test_signing_does_not_change_the_sound(signing, tmp_path, monkeypatch):
    media.write_audio(tmp_path / "signed.wav", melody(), RATE, MANIFEST)
    monkeypatch.setenv("AFFEKT_SIGNING", "off")
    media.write_audio(tmp_path / "plain.wav", melody(), RATE, MANIFEST)
    signed, plain = (media.read_audio(tmp_path / name)[0] for name in ("signed.wav", "plain.wav"))
    np.testing.assert_array_equal(signed, plain)
    assert signing.read(tmp_path / "plain.wav") is None


def test_no_manifest_no_marks(signing, tmp_path):
    media.write_audio(tmp_path / "mine.wav", melody(), RATE)
    assert signing.read(tmp_path / "mine.wav") is None
