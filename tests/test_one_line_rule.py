"""Anything dropped, reduced, resampled, mixed down or not understood is noted in one line and recorded."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageCms

from gen import channels, media
from gen.cli import main
from gen.errors import InputError
from gen.notes import collect
from gen.provenance import sidecar

EXAMPLES = Path(__file__).parent.parent / "examples"
RATE = 44_100


def tone(rate: int = RATE, seconds: float = 0.3, hertz: float = 440.0) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(*channels: float) -> np.ndarray:
    """(c, n): independent noise in each channel, at the given levels."""
    random = np.random.default_rng(0)
    return np.stack([level * random.standard_normal(RATE) for level in channels]).astype(np.float32)


def wav(name: str, samples: np.ndarray, rate: int = RATE, subtype: str = "FLOAT"):
    return name, lambda path: soundfile.write(path, np.atleast_2d(samples).T, rate, subtype=subtype)


def png(name: str, image: Image.Image, **how):
    return name, lambda path: image.save(path, **how)


def deep_colours(path: Path) -> None:
    """A PNG with 16 bits per channel, which Pillow cannot write."""
    import av

    with av.open(str(path), "w", format="image2") as out:
        stream = out.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16, 12, "rgb48be"
        frame = av.VideoFrame.from_ndarray(np.full((12, 16, 3), 30_000, np.uint16), format="rgb48be")
        for packet in (*stream.encode(frame), *stream.encode()):
            out.mux(packet)


def heic(path: Path) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    picture(2).save(path, save_all=True, append_images=[picture(3)])


def picture(seed: int = 0, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)).convert(mode)


def turned() -> dict:
    exif = picture().getexif()
    exif[0x0112] = 6
    return {"exif": exif}


def profile(name: str) -> dict:
    return {"icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()}


def swapped() -> dict:
    """A profile with another name in which red and green are swapped."""
    data = profile("sRGB")["icc_profile"].replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be"))
    return {"icc_profile": data.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")}


def film(path: Path, fps: int = 60) -> None:
    media.write_video(path, [np.zeros((16, 16, 3), np.uint8)] * 12, fps)


FIRST = {"save_all": True, "append_images": [picture(1)]}
READ = {
    "44.1 kHz for 22.05": (wav("a.wav", tone()), "a.wav: resampled from 44,100 to 22,050 Hz."),
    "192 kHz for 22.05": (wav("a.wav", tone(192_000), 192_000), "a.wav: resampled from 192,000 to 22,050 Hz."),
    "stereo": (wav("a.wav", noise(0.1, 0.1), 16_000), "a.wav: two channels mixed down to one."),
    "out of phase": (
        wav("a.wav", np.stack((tone(), -tone())), 16_000),
        "a.wav: only the left channel is used, since the two cancel each other.",
    ),
    "one side silent": (
        wav("a.wav", np.stack((0 * tone(), tone())), 16_000),
        "a.wav: only the right channel is used, since the other is silent.",
    ),
    "surround": (wav("a.wav", noise(*[0.05] * 6), 16_000), "a.wav: 6 channels mixed down to one."),
    "three channels": (wav("a.wav", noise(*[0.05] * 3), 16_000), "a.wav: 3 channels mixed down to one."),
    "clipped": (
        wav("a.wav", (5 * tone()).clip(-1, 1), 16_000),
        "a.wav is clipped (distorted) in 264 places: record at a lower level.",
    ),
    "turned by its EXIF": (png("a.jpg", picture(), **turned()), "a.jpg: rotated upright by its EXIF orientation."),
    "transparent": (png("a.png", Image.new("RGBA", (9, 9), (9, 9, 9, 9))), "a.png: transparent pixels became white."),
    "transparent gray": (png("a.png", Image.new("LA", (9, 9), (9, 9))), "a.png: transparent pixels became white."),
    "gray of 16 bits": (
        png("a.png", Image.fromarray(np.full((9, 9), 30_000, np.uint16))),
        "a.png: reduced to 8 bits per channel.",
    ),
    "colours of 16 bits": (("a.png", deep_colours), "a.png: reduced to 8 bits per channel."),
    "gray of numbers": (
        png("a.tiff", Image.fromarray(np.full((9, 9), 0.5, np.float32))),
        "a.tiff: reduced to 8 bits per channel.",
    ),
    "huge": (
        png("a.png", Image.new("L", (10_000, 6_000))),
        "a.png has 60 megapixels: read at 1/2 of its width and height.",
    ),
    "moving": (png("a.gif", picture(), **FIRST), "a.gif has 2 pictures: only the first is used."),
    "several pages": (png("a.tiff", picture(), **FIRST), "a.tiff has 2 pictures: only the first is used."),
    "a series of a phone": (("a.heic", heic), "a.heic has 2 pictures: only the first is used."),
    "for print": (png("a.jpg", picture(mode="CMYK")), "a.jpg: CMYK converted to sRGB without a profile."),
    "other colours": (png("a.png", picture(), **swapped()), "a.png: colours converted from wide built-in to sRGB."),
    "a profile of no colours": (
        png("a.png", picture(), **profile("XYZ")),
        "a.png: unreadable colour profile: sRGB assumed.",
    ),
    "a broken profile": (
        png("a.png", picture(), icc_profile=b"no profile"),
        "a.png: unreadable colour profile: sRGB assumed.",
    ),
    "60 frames a second": (("a.mp4", film), "a.mp4: reduced from 60 to 25 frames per second."),
}
READERS = {".wav": lambda path: media.read_audio(path, 22_050), ".mp4": lambda path: media.read_video(path, 25)}


def facts(path: Path) -> list[str]:
    return json.loads(sidecar(path).read_text())["notes"]


@pytest.mark.parametrize("case", READ)
def test_losses_in_reading_are_noted_and_recorded(case, tmp_path):
    (name, make), sentence = READ[case]
    make(tmp_path / name)
    with collect() as notes:
        READERS.get(Path(name).suffix, media.read_image)(tmp_path / name)
        media.write_audio(tmp_path / "out.wav", tone(), RATE, {"notes": notes})
    assert notes == [sentence] == facts(tmp_path / "out.wav")


PLAIN = {
    "a lower rate": wav("a.wav", tone(16_000), 16_000),
    "two equal channels": wav("a.wav", np.stack((tone(), tone())), 22_050),
    "as loud as can be": wav("a.wav", 2.4 * tone(), 22_050),
    "gray": png("a.png", picture(mode="L")),
    "opaque": png("a.png", picture(mode="RGBA")),
    "sRGB": png("a.png", picture(), **profile("sRGB")),
    "25 frames a second": ("a.mp4", lambda path: film(path, 25)),
}


@pytest.mark.parametrize("case", PLAIN)
def test_lossless_reading_has_no_notes(case, tmp_path):
    name, make = PLAIN[case]
    make(tmp_path / name)
    with collect() as notes:
        READERS.get(Path(name).suffix, media.read_image)(tmp_path / name)
    assert notes == []


def test_colours_follow_their_profile(tmp_path):
    Image.new("RGB", (9, 9), (255, 0, 0)).save(tmp_path / "a.png", **swapped())
    with collect():
        red, green, _ = media.read_image(tmp_path / "a.png")[4, 4]
    assert green > 200 > 60 > red


def test_gray_of_16_bits_keeps_its_tones(tmp_path):
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    with collect():
        np.testing.assert_array_equal(media.read_image(tmp_path / "a.png")[..., 0].ravel(), np.arange(256))


def test_heic_is_read_or_the_extra_is_named(tmp_path, monkeypatch):
    pytest.importorskip("pillow_heif").register_heif_opener()
    picture().resize((64, 64)).save(tmp_path / "a.heic", quality=95)
    found = media.read_image(tmp_path / "a.heic").astype(int)
    assert np.abs(found - np.asarray(picture().resize((64, 64)))).mean() < 12
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match=r"a\.heic is HEIC: run `pip install pillow-heif`, or save it as JPEG"):
        media.read_image(tmp_path / "a.heic")


def power(samples: np.ndarray) -> float:
    return 10 * np.log10(np.square(np.atleast_2d(samples)).mean(1).sum())


@pytest.mark.parametrize(
    "levels",
    [
        (0.01, 0.01, 0.1, 0.2, 0.01, 0.01),  # a film: speech in the centre, effects in the LFE channel
        (0.05,) * 6,
        (0.1, 0.05, 0.0, 0.0, 0.02, 0.02),
        (0.05,) * 8,
        (0.05,) * 4,
    ],
)
def test_surround_sound_stays_as_loud(tmp_path, levels):
    given = noise(*levels)
    soundfile.write(tmp_path / "a.wav", given.T, RATE, subtype="FLOAT")
    heard = np.delete(given, 3, 0) if len(given) >= 6 else given
    with collect():
        one, two = media.read_audio(tmp_path / "a.wav")[0], channels.stereo(given, RATE, "a.wav")
    assert power(one) == pytest.approx(power(heard), abs=0.1) and power(two) == pytest.approx(power(heard), abs=0.1)
    assert two.shape[0] == 2


def test_loud_surround_sound_is_limited_and_not_turned_down():
    line, rate = media.read_audio(EXAMPLES / "line.opus")
    line = line / np.abs(line).max()
    given = np.stack([level * np.roll(line, 37 * i) for i, level in enumerate((0.4, 0.4, 1, 0.4, 0.3, 0.3))])
    with collect():
        found = channels.mono(given, rate, "a.wav")
    wanted = power(np.delete(given, 3, 0))
    assert np.abs(found).max() < 1 and power(found) > wanted - 1.5
    turned_down = found * 0 + np.delete(given, 3, 0).sum(0)
    assert power(found) > power(turned_down / np.abs(turned_down).max()) + 1


def test_sound_out_of_phase_is_not_silent(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack((tone(), -tone())).T, RATE, subtype="FLOAT")
    with collect():
        np.testing.assert_allclose(media.read_audio(tmp_path / "a.wav")[0], tone(), atol=1e-6)


RATES = {192_000: 48_000, 176_400: 48_000, 96_000: 48_000, 50_000: 48_000, 32_768: 44_100, 6_000: 8_000}


@pytest.mark.parametrize("rate", RATES)
def test_a_film_has_sound_of_any_rate(rate, tmp_path):
    with collect() as notes:
        frames = [np.full((16, 16, 3), 99, np.uint8)] * 25
        media.write_video(tmp_path / "a.mp4", frames, 25, tone(rate, 1.0), rate, {"notes": notes})
    assert notes == [f"a.mp4: sound resampled to {RATES[rate]:,} Hz, since the format cannot hold {rate:,} Hz."]
    assert facts(tmp_path / "a.mp4") == notes
    samples, found = media.read_audio(tmp_path / "a.mp4")
    assert found == RATES[rate] and len(samples) / found == pytest.approx(1.0, abs=0.1)
    peak = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * found / len(samples)
    assert peak == pytest.approx(440, abs=2)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.wav", lambda path, samples, facts: media.write_audio(path, samples, RATE, facts)),
        (
            "a.mp4",
            lambda path, samples, facts: media.write_video(
                path, [np.zeros((16, 16, 3), np.uint8)] * 8, 25, samples, RATE, facts
            ),
        ),
    ],
)
def test_clipping_in_writing_is_noted(name, write, tmp_path):
    with collect() as notes:
        write(tmp_path / name, 4 * tone(), {"notes": notes})
    assert notes[0].startswith(f"{name}: ") and notes[0].endswith(" exceeded full scale and were clipped.")
    assert facts(tmp_path / name) == notes


def test_notes_of_a_film_end_with_its_last_frame(tmp_path):
    from gen.notes import note

    def frames():
        for i in range(5):
            note(f"frame {i}")
            yield np.zeros((16, 16, 3), np.uint8)

    with collect() as notes:
        media.write_video(tmp_path / "a.mp4", frames(), 25, manifest={"notes": notes})
    assert facts(tmp_path / "a.mp4") == [f"frame {i}" for i in range(5)]
    import av

    with av.open(str(tmp_path / "a.mp4")) as container:
        assert json.loads(container.metadata["comment"])["notes"] == facts(tmp_path / "a.mp4")


@pytest.mark.slow
def test_a_film_records_the_notes_of_its_inputs(tmp_path, monkeypatch, capsys):
    """A grey picture of 16 bits, and surround sound at 192 kHz."""
    monkeypatch.chdir(tmp_path)
    gray = np.asarray(Image.open(EXAMPLES / "grace_hopper.jpg").convert("L"), np.uint16) * 257
    Image.fromarray(gray).save("gray.png")
    soundfile.write("surround.wav", noise(*[0.02] * 6)[:, :60_000].T, 192_000, subtype="FLOAT")
    assert main(["talk", "gray.png", "surround.wav", "--size", "256", "--out", "a.mp4", "--device", "cpu"]) == 0
    notes = [
        "audio: 6 channels mixed down to one.",
        "portrait: reduced to 8 bits per channel.",
        "talk.mp4: sound resampled to 48,000 Hz, since the format cannot hold 192,000 Hz.",
    ]
    assert set(notes) <= set(facts(Path("a.mp4")))
    output = capsys.readouterr().err
    assert all(sentence in output for sentence in notes)
