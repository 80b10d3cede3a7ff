"""Face motion by diffusion at a tiny size: windows, seeds, guidance, training."""

import json

import numpy as np
import pytest
import torch

from gen import media
from gen.emotion.spec import EmotionCurve
from gen.errors import CheckpointError, InputError
from talking_head.dice.motion import data, generate
from talking_head.dice.motion.evaluate import evaluate
from talking_head.dice.motion.generate import PREFIX, WINDOW, DiceMotion, How, sound, turns
from talking_head.dice.motion.model import MotionDenoiser
from talking_head.dice.motion.sizes import sizes
from talking_head.dice.motion.train import Settings, Training, settle
from talking_head.dice.train import train

CURVE = EmotionCurve.parse("0: sad, 3: happy @ 1.3")


@pytest.fixture(scope="module")
def motion():
    torch.manual_seed(0)
    model = MotionDenoiser(**sizes("tiny"))
    torch.nn.init.normal_(model.leave.weight, std=0.3)
    for layer in model.stack:
        for norm in layer.norms:
            torch.nn.init.normal_(norm.modulate.weight, std=0.1)
    return DiceMotion(model)


def noise(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=int(seconds * 16000))).astype(np.float32)


def test_compact_is_small_enough_to_ship():
    with torch.device("meta"):
        model = MotionDenoiser(**sizes("compact") | {"conditioner": {"name": "vad"}})
    assert 2 * sum(p.numel() for p in model.parameters()) < 4e6


@pytest.mark.parametrize("seconds", [0.03, 1.0, 7.3])
def test_as_many_frames_as_the_sound_takes(motion, seconds):
    made = motion.generate(noise(seconds), CURVE, np.zeros(58), how=How(steps=2))
    assert made.shape == (max(1, round(seconds * 25)), 58)
    assert np.isfinite(made).all() and turns(made).shape == (len(made), 3)


def test_a_stream_is_the_whole_however_it_is_cut(motion):
    rows, how = sound(noise(12)), How(steps=2)
    whole = np.concatenate(list(motion.stream([rows], CURVE, None, 3, how)))
    parts = list(motion.stream(rows.split(37), CURVE, None, 3, how))
    assert len(whole) == 300 and len(parts) > 1
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_piece_comes_as_soon_as_its_window_was_heard(motion):
    read = []

    def microphone():
        for piece in sound(noise(12)).split(10):
            read.append(piece)
            yield piece

    first = next(motion.stream(microphone(), CURVE, None, 0, How(steps=1)))
    assert len(first) == WINDOW and 10 * len(read) < WINDOW + generate.AHEAD + 10


def test_the_future_beyond_what_is_heard_ahead_changes_nothing(motion):
    rows, how = sound(noise(12)), How(steps=2)
    other = rows.clone()
    other[WINDOW + generate.AHEAD :] += 1
    here, there = (np.concatenate(list(motion.stream([r], CURVE, None, 3, how))) for r in (rows, other))
    np.testing.assert_array_equal(here[:WINDOW], there[:WINDOW])
    assert np.abs(here[WINDOW:] - there[WINDOW:]).max() > 1e-3


def test_a_window_is_told_the_end_of_the_one_before(motion):
    rows, how = sound(noise(6)), How(steps=2)
    run = lambda past: motion._window(rows[:60], 60, 112, past, CURVE, None, 3, how)[1]
    one, other = run(torch.zeros(PREFIX, 58)), run(torch.ones(PREFIX, 58))
    assert one.shape == (60 - PREFIX, 58) and np.abs(one - other).max() > 1e-3


def test_a_renderer_gets_movements_from_the_face_at_rest(motion):
    rest, how = np.full(58, 0.25, np.float32), How(steps=2)
    made = motion.generate(noise(1), CURVE, rest, 4, how)
    coefs, head = motion.speak(noise(1), CURVE, rest, seed=4, head_motion=0.5, how=how)
    np.testing.assert_allclose(coefs, made[:, :52] - 0.25, atol=1e-6)
    np.testing.assert_allclose(head, made[:, 52:55] / 4, atol=1e-6)


def test_seeds_differ_and_repeat(motion):
    one, again, other = (motion.generate(noise(1), CURVE, None, seed, How(steps=2)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize("name", ["reference", "audio", "emotion"])
def test_each_condition_has_a_scale_of_its_own(motion, name):
    calm = {"reference": 1.0, "audio": 1.0, "emotion": 1.0}
    rest = np.full(58, 0.5)
    run = lambda scales: motion.generate(noise(1), CURVE, rest, 1, How(2, scales))
    assert np.abs(run(calm) - run(calm | {name: 3.0})).max() > 1e-3


def test_without_emotion_scale_the_emotion_is_not_heard(motion):
    scales = {"reference": 1.0, "audio": 1.0, "emotion": 0.0}
    run = lambda text: motion.generate(noise(1), EmotionCurve.parse(text), None, 1, How(2, scales))
    np.testing.assert_array_equal(run("happy"), run("anger @ 1.5"))


def test_missing_weights_say_how_to_train_them():
    with pytest.raises(CheckpointError, match="affekt train dice"):
        DiceMotion.load("dice-compact")


# ---------------------------------------------------------------- training


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus in small whose jaw follows the loudness of its sound."""
    place = tmp_path_factory.mktemp("data")
    at = place / "face" / "motion"
    at.mkdir(parents=True)
    random = np.random.default_rng(0)
    for source, count in (("grid_s1", 15), ("facegood", 1), ("mead_silent", 8), ("neurosync", 1)):
        coefs = 0.1 * random.random((count * 75, 52))
        table = {"clip_names": np.array([f"c{i}" for i in range(count)]), "offsets": np.arange(count + 1) * 75}
        if source in ("grid_s1", "facegood"):
            (at / f"{source}_audio").mkdir()
            for i in range(count):
                loud = (np.sin(np.arange(75) * 0.5 + i) > 0).astype(float)
                coefs[i * 75 : (i + 1) * 75, 17] = loud
                sound_ = np.repeat(loud, 640) * 0.3 * random.normal(size=48000)
                media.write_audio(at / f"{source}_audio" / f"c{i}.wav", sound_.astype(np.float32), 16000)
                (at / f"{source}_audio" / f"c{i}.wav").rename(at / f"{source}_audio" / f"c{i}.opus")
        if source == "mead_silent":
            table |= {
                "emotion": np.array(["neutral", "angry", "neutral", "happy"] * 2),
                "level": np.full(8, 3),
                "pose": np.zeros((600, 6)),
            }
        if source == "neurosync":
            table["valid"] = np.arange(52) < 10
        np.savez(at / f"{source}.npz", coefs=coefs.astype(np.float16), **table)
    return place


def test_clips_are_read_with_what_is_known_of_them(folder, tmp_path):
    clips = data.prepared(folder, tmp_path, data.SOURCES)
    by = {clip.source: clip for clip in clips}
    assert len(clips) == 25
    assert by["grid_s1"].rows.shape == (75, 320) and by["grid_s1"].emotion == 0
    assert by["mead_silent"].emotion == 1 and by["mead_silent"].level == 1.5 and len(by["mead_silent"].rows) == 0
    assert by["facegood"].emotion == -1 and not by["facegood"].measured[52:].any()
    assert by["neurosync"].measured.sum() == 10 and by["mead_silent"].measured.all()
    again = data.prepared(folder / "gone", tmp_path, data.SOURCES)
    np.testing.assert_array_equal(again[3].motion, clips[3].motion)
    batch = data.Windows(clips, data.SOURCES, 0)()
    assert batch.motion.shape == (16, 64, 58) and batch.heard.sum() == 11
    assert {0, 1, 6} <= set(batch.emotion.tolist())  # the last two also over speech
    with pytest.raises(InputError, match="face/motion"):
        data.clips(tmp_path, "grid_s1")


def test_speech_is_shown_with_expressions_of_other_people(folder, tmp_path):
    clips = data.prepared(folder, tmp_path, data.SOURCES)
    random = np.random.default_rng(0)
    expressions = data.expressions(clips)
    assert set(expressions) == {1, 6}
    clip = next(c for c in clips if c.source == "grid_s1")
    motion, emotion, level = data.painted(clip.motion[:20], expressions, random)
    assert emotion in (1, 6) and 0 < level <= 1.6
    wanted = level * expressions[emotion] * data.OVER_SPEECH
    np.testing.assert_allclose(motion[:, :52], (clip.motion[:20] + wanted)[:, :52].clip(0, 1.2), atol=1e-6)


@pytest.mark.slow
def test_motion_is_learnt(folder, tmp_path):
    clips = data.prepared(folder, tmp_path, data.SOURCES)
    torch.manual_seed(0)
    model = MotionDenoiser(**sizes("tiny", "label"))
    settle(model, clips)
    training, windows = Training(model, Settings(size="tiny")), data.Windows(clips, data.SOURCES, 0)
    optimiser = torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(150):
        training(windows())[0].backward()
        optimiser.step()
        optimiser.zero_grad()
    clip = clips[1]
    rows = torch.from_numpy(clip.rows)
    made = np.concatenate(list(DiceMotion(model).stream([rows], EmotionCurve.parse("neutral"), clip.motion[0])))
    assert np.corrcoef(made[:, 17], clip.motion[:, 17])[0, 1] > 0.7


def test_training_goes_on_and_its_checkpoint_speaks(folder, tmp_path):
    settings = {"size": "tiny", "conditioner": "label", "device": "cpu"}
    train(folder, tmp_path, 1e-4, settings)
    spent = torch.load(tmp_path / "motion.pt", weights_only=True)
    train(folder, tmp_path, spent["elapsed"] / 60 + 1e-4, settings)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] > spent["step"] >= 1
    evaluate(tmp_path, {"clips": "1", "seeds": "2", "steps": "1"})
    report = json.loads((tmp_path / "report.json").read_text())
    assert [section["title"] for section in report["sections"]] == ["Speech", "Emotion"]
    motion = DiceMotion.load(str(tmp_path / "checkpoint"))
    assert motion.generate(noise(0.5), CURVE, how=How(steps=1)).shape == (12, 58)
    assert motion.model.scale.min() > 0.01


def test_unknown_sizes_are_named(tmp_path):
    with pytest.raises(InputError, match="tiny, compact, tiny-video, full"):
        train(tmp_path, tmp_path, 1.0, {"size": "huge"})
