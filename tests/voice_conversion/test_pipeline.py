"""A recording goes through: length, loudness, pitch, seeds, phrases, files; and what is said of bad ones."""

import json

import numpy as np
import pytest
from speech import generator, voice

from gen import media
from gen.emotion.spec import EmotionCurve
from gen.errors import InputError
from gen.jobs.schema import parse_task
from voice_conversion import features, pipeline
from voice_conversion.features import RATE
from voice_conversion.task import VoiceTask, scaled

HAPPY = EmotionCurve.parse("happy")


@pytest.fixture(scope="module")
def speaks():
    return generator()


@pytest.fixture(scope="module")
def recording():
    return voice(1.2)


def test_nothing_asked_for_gives_the_recording_back(speaks, recording):
    made = speaks.convert(recording, EmotionCurve.parse("neutral"), steps=2)
    assert len(made) == len(features.cut(recording))
    np.testing.assert_allclose(made, features.cut(recording), atol=2e-3)


def test_pitch_and_pace_follow_the_emotion_and_loudness_stays(speaks, recording):
    made = speaks.convert(recording, HAPPY, steps=2)
    before, after = (features.track(features.cut(x)) for x in (recording, made))
    moved = np.median(np.log2(after[after > 0])) - np.median(np.log2(before[before > 0]))
    assert moved == pytest.approx(0.4, abs=0.12)
    assert len(made) < 0.97 * len(recording)
    assert features.loudness(made) == pytest.approx(features.loudness(recording), rel=0.02)


def test_tempo_may_be_kept(speaks, recording):
    assert len(speaks.convert(recording, HAPPY, tempo="keep", steps=1)) == len(features.cut(recording))


def test_a_seed_repeats_and_another_differs(speaks, recording):
    one, again, other = (speaks.convert(recording, HAPPY, steps=1, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_a_curve_changes_one_end_alone(speaks, recording):
    curve = EmotionCurve.parse("0 hold: neutral, 0.6: happy @ 2")
    plan = speaks.plan(features.cut(recording), curve, EmotionCurve.parse("neutral"), "keep")
    change = plan.octave - features.filled(features.track(features.cut(recording)))
    assert np.abs(change[:40]).max() < 1e-3 and change[-30:].mean() > 0.5


def test_what_is_spoken_already_is_taken_off(speaks, recording):
    plan = speaks.plan(features.cut(recording), EmotionCurve.parse("neutral"), HAPPY, "auto")
    before = features.filled(features.track(features.cut(recording)))
    assert plan.octave.mean() - before.mean() < -0.3 and len(plan.octave) > len(recording) / features.HOP


def test_long_recordings_come_in_phrases_that_fit_together(speaks, monkeypatch):
    monkeypatch.setattr(pipeline, "PHRASE", 120)
    long = voice(6.0)
    parts = list(speaks.stream(long, HAPPY, tempo="keep", steps=1))
    assert len(parts) > 2 and sum(map(len, parts)) == len(features.cut(long))
    made = np.concatenate(parts)
    jumps = np.abs(np.diff(made))
    ends = np.cumsum([len(part) for part in parts])[:-1]
    assert max(jumps[end - 3 : end + 3].max() for end in ends) <= np.quantile(jumps, 0.9999)


@pytest.mark.slow
def test_a_long_recording_takes_little_more_than_its_samples(speaks):
    import tracemalloc

    peaks = []
    for seconds in (10.0, 20.0):
        samples = voice(seconds)
        tracemalloc.start()
        for _ in speaks.stream(samples, HAPPY, steps=1):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 48 * 10 * RATE  # bytes: a few arrays of the recording, nothing of the networks


def test_cuts_are_made_where_it_is_quiet():
    quiet = np.concatenate([np.full(500 * 256, 0.1), np.full(20 * 256, 0.001), np.full(900 * 256, 0.1)])
    cuts = pipeline.quiet_cuts(quiet.astype(np.float32))
    assert cuts[0] == 0 and cuts[-1] == 1420 and 500 <= cuts[1] <= 520
    assert max(np.diff(cuts)) <= 1.5 * pipeline.PHRASE


@pytest.mark.parametrize(
    ("samples", "says"), [(np.zeros(RATE, np.float32), "silent"), (np.ones(100, np.float32), "give at least")]
)
def test_what_cannot_be_converted_is_said(speaks, samples, says):
    with pytest.raises(InputError, match=says):
        speaks.convert(samples, HAPPY)


def test_a_task_writes_a_marked_file(speaks, recording, tmp_path):
    media.write_audio(tmp_path / "in.wav", recording, RATE)
    task = VoiceTask(source=tmp_path / "in.wav", emotion="happy @ 1.5", steps=1)
    shares = []
    paths = speaks.render(task, tmp_path / "out", {"ai_generated": True}, lambda share, _: shares.append(share))
    made, rate = media.read_audio(paths[0])
    assert rate == RATE and np.abs(made).max() > 0.01 and shares[-1] == 1.0
    assert json.loads((tmp_path / "out" / "voice.wav.json").read_text())["ai_generated"]


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
    from gen import registry

    if "voice" not in registry.names("task"):
        pytest.skip("the package is installed without the voice's entry points: install it again")
    assert isinstance(parse_task({"kind": "voice", "source": "a.wav", "emotion": "sad"}), VoiceTask)
