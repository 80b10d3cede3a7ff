"""Face motion by diffusion at a tiny size: ears, windows, seeds, training, the place of EMOTE."""

import json

import numpy as np
import pytest
import torch
from devices import Homeless
from tiny_whisper import whisper

from gen import media
from gen.ablate import ablate
from gen.emotion.spec import EmotionCurve
from gen.errors import CheckpointError, InputError
from gen.evaluate.run import evaluate
from talking_head.face.basis import FaceBasis
from talking_head.face.points import ARKIT
from talking_head.motion.dice import generate
from talking_head.motion.dice.generate import PREFIX, WINDOW, DiceMotion
from talking_head.motion.dice.hearing import AFTER, BLOCK, hear, whole
from talking_head.motion.dice.model import MotionDenoiser
from talking_head.motion.dice.sizes import sizes
from talking_head.motion.dice.speaker import DiceSpeaker
from talking_head.motion.emote.model import Emote
from talking_head.motion.emote.sizes import sizes as emote_sizes
from talking_head.motion.expression import JAW
from talking_head.motion.layer import Expression
from talking_head.motion.speech import SpeechEncoder, log_mel, spectrum
from talking_head.training import dice_data as data
from talking_head.training import lips
from talking_head.training.dice import train
from talking_head.training.dice_motion import Settings, Training, set_scale
from talking_head.training.expression import fit

CURVE = EmotionCurve.parse("0: sad, 3: happy @ 1.3")
HEARS = 24  # features of the tiny speech encoder


@pytest.fixture(scope="module")
def motion():
    torch.manual_seed(0)
    model = MotionDenoiser(**sizes("tiny", speech=HEARS))
    torch.nn.init.normal_(model.leave.weight, std=0.3)
    for layer in model.stack:
        torch.nn.init.normal_(layer.norm2.modulate.weight, std=0.1)
    return DiceMotion(model, SpeechEncoder(**emote_sizes("tiny")["speech"]))


@pytest.fixture(scope="module")
def speaker(motion):
    layer = Expression(16, conditioner={"name": "label"})
    fit(layer, steps=60, batch=64, rate=1e-2)
    return DiceSpeaker(motion, layer, FaceBasis.load())


def noise(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=int(seconds * 16000))).astype(np.float32)


def features(seconds, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(int(seconds * 25), HEARS)).astype(np.float32))


def test_compact_is_small_enough_to_ship():
    with torch.device("meta"):
        models = MotionDenoiser(**sizes("compact")), SpeechEncoder()
    assert 2 * sum(p.numel() for model in models for p in model.parameters()) < 4e6


# ---------------------------------------------------------------- ears


def test_features_do_not_depend_on_how_sound_comes(motion):
    rows = log_mel(noise(5))
    one, other = (torch.cat([h.features for h in hear(motion.speech, rows.split(n))]) for n in (20, 300))
    assert len(one) == 125 and (one[-BLOCK:] - other[-BLOCK:]).abs().max() < 1e-5
    known = spectrum(rows)
    one, other = (torch.cat([h.features for h in hear(motion.speech, rows.split(n), known)]) for n in (20, 500))
    torch.testing.assert_close(one, other)


def test_a_block_is_heard_as_soon_as_what_it_needs(motion):
    read = []

    def microphone():
        for piece in log_mel(noise(5)).split(20):
            read.append(piece)
            yield piece

    first = next(hear(motion.speech, microphone()))
    assert len(first.features) == BLOCK and 5 * len(read) < BLOCK + AFTER + 5


# ---------------------------------------------------------------- motion


@pytest.mark.parametrize("seconds", [0.03, 1.0, 7.3])
def test_as_many_frames_as_the_sound_takes(speaker, seconds):
    made = speaker.speak(noise(seconds), CURVE, steps=2)
    count = max(1, round(seconds * 25))
    assert made.coefs.shape == (count, 52) and made.turns.shape == (count, 3) and made.closed.shape == (count,)
    assert all(np.isfinite(part).all() for part in made) and made.coefs.max() <= 1.8


def test_a_stream_is_the_whole_however_it_is_cut(motion):
    rows = features(12)
    whole_ = motion.whole(rows, 3, 2)
    parts = list(motion.stream(rows.split(37), 3, 2))
    assert len(whole_) == 300 and len(parts) > 1
    np.testing.assert_allclose(np.concatenate(parts), whole_, atol=1e-4)


def test_a_piece_comes_as_soon_as_its_window_was_heard(motion):
    read = []

    def microphone():
        for piece in features(12).split(10):
            read.append(piece)
            yield piece

    first = next(motion.stream(microphone(), 0, 1))
    assert len(first) == WINDOW and 10 * len(read) < WINDOW + generate.AHEAD + 10


def test_the_future_beyond_what_is_heard_ahead_changes_nothing(motion):
    rows = features(12)
    other = rows.clone()
    other[WINDOW + generate.AHEAD :] += torch.randn(len(rows) - WINDOW - generate.AHEAD, HEARS)
    here, there = (motion.whole(r, 3, 2) for r in (rows, other))
    np.testing.assert_allclose(here[:WINDOW], there[:WINDOW], atol=1e-4)
    assert np.abs(here[WINDOW:] - there[WINDOW:]).max() > 1e-3


def test_a_window_is_told_the_end_of_the_one_before(motion):
    rows = features(6)
    run = lambda past: motion._window(rows[:60], 60, 112, past, 3, 2)[1]
    one, other = run(torch.zeros(1, PREFIX, 55)), run(torch.ones(1, PREFIX, 55))
    assert one.shape == (60 - PREFIX, 55) and np.abs(one - other).max() > 1e-3


def test_seeds_differ_and_repeat(speaker):
    one, again, other = (speaker.speak(noise(1), CURVE, seed=seed, steps=2, blinks=False) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.coefs, again.coefs)
    assert np.abs(one.coefs - other.coefs).max() > 0.05


def test_options_mean_what_they_mean_for_emote(speaker):
    still = speaker.speak(noise(3), CURVE, head_motion=0.0, steps=1)
    assert not still.turns.any()
    calm, awake = (speaker.speak(noise(8), CURVE, blinks=b, steps=1, seed=2).coefs for b in (False, True))
    lids = [i for i, name in enumerate(ARKIT) if name.startswith("eyeBlink")]
    assert awake[:, lids].max() > 0.8 and np.abs(calm - awake)[:, JAW].max() == 0


def test_speech_is_guided_away_from_silence(motion, monkeypatch):
    def run(scale, seed=0):
        monkeypatch.setattr(generate, "GUIDANCE", scale)
        return motion.whole(features(1, seed), 1, 2)

    np.testing.assert_array_equal(run(0.0), run(0.0, seed=5))
    assert np.abs(run(1.0) - run(1.0, seed=5)).max() > 1e-3 and np.abs(run(2.0) - run(1.0)).max() > 1e-3


def test_missing_weights_say_how_to_train_them():
    with pytest.raises(CheckpointError, match="affekt train dice"):
        DiceMotion.load("dice-nowhere")


# ---------------------------------------------------------------- training


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A tiny EMOTE, as ``affekt train talk`` leaves it."""
    torch.manual_seed(0)
    place, size = tmp_path_factory.mktemp("teacher"), emote_sizes("tiny")
    SpeechEncoder(**size["speech"]).save_pretrained(place / "speech")
    Emote(**size["emote"]).save_pretrained(place / "emote")
    return place


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus in small whose jaw follows the loudness of its sound."""
    place = tmp_path_factory.mktemp("data")
    at, random = place / "face" / "motion", np.random.default_rng(0)
    at.mkdir(parents=True)

    def speak(path, loud):
        path.parent.mkdir(exist_ok=True, parents=True)
        samples = np.repeat(loud, 640) * 0.3 * random.normal(size=len(loud) * 640) + 1e-3
        media.write_audio(path.with_suffix(".wav"), samples.astype(np.float32), 16000)
        path.with_suffix(".wav").rename(path.with_suffix(".opus"))

    for source, sounds, count in (
        ("grid_s1", "grid_s1_audio", 40),
        ("facegood", "facegood_audio", 2),
        ("other_clips", "other_audio", 1),
        ("mead_silent", "", 16),
        ("neurosync", "", 1),
    ):
        coefs = 0.02 * random.random((count * 75, 52))
        names = ["1114_3_15", "1_1_1"] if source == "facegood" else [f"c{i}" for i in range(count)]
        table = {"clip_names": np.array(names), "offsets": np.arange(count + 1) * 75}
        for i, name in enumerate(names if sounds else []):
            loud = (np.sin(np.arange(75) * 0.5 + i) > 0).astype(float)
            coefs[i * 75 : (i + 1) * 75, JAW] = 0.4 * loud
            speak(at / sounds / name, loud)
        if source == "grid_s1":
            table["pose"] = 0.05 * random.normal(size=(count * 75, 6))
        if source == "facegood":
            table["valid"] = np.arange(52) >= 14
        if source == "mead_silent":
            emotions = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"]
            table |= {"emotion": np.array(emotions * 2), "actor": np.repeat(["A", "B"], 8)}
            coefs += np.repeat(np.tile(0.3 * random.random((8, 52)), (2, 1)), 75, 0)
        np.savez(at / f"{source}.npz", coefs=coefs.astype(np.float16), **table)
    lines = place / "speech" / "aligned"
    rows = [
        {
            "file": f"l{i}.opus",
            "voice": "af_nova" if i == 4 else "x",
            "phones": ["p", "ɑ", " "] * 5,
            "frames": [40] * 15,
            "frame_s": 0.025,
        }
        for i in range(5)
    ]
    for row in rows:
        speak(lines / row["file"], np.ones(75))
    (lines / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return place


@pytest.fixture(scope="module")
def ears(tmp_path_factory):
    place = tmp_path_factory.mktemp("ears")
    whisper(place / "model.bin")
    return str(place)


@pytest.fixture(scope="module")
def clips(folder, teacher, ears, tmp_path_factory):
    return data.prepared(folder, tmp_path_factory.mktemp("out"), str(teacher), ears)


def test_clips_are_read_with_what_is_known_of_them(folder, clips):
    by = {clip.source: clip for clip in clips}
    assert by.keys() == {"grid", "aligned"}
    grid = [c for c in clips if c.source == "grid"]
    assert len(grid) == 40 and {c.part for c in grid} == {"train", "test"}
    assert {c.features.shape for c in grid} == {(75, 1, HEARS), (75, 2, HEARS)}  # held-out ones as they are
    assert np.abs(grid[0].motion[:, 52:].mean(0)).max() < 1e-3 and grid[0].motion[:, 52:].std() > 0.02
    known = data.measured()
    assert known["grid"].all() and not known["aligned"][52:].any()
    batch = data.Windows(clips, known, 0)()
    assert batch.motion.shape == (16, 64, 55) and batch.features.shape == (16, 64, HEARS)
    assert batch.measured.shape == (16, 1, 55) and batch.rest.shape == (16, 55)


@pytest.mark.slow
def test_motion_is_learnt(folder, clips):
    torch.manual_seed(0)
    model = MotionDenoiser(**sizes("tiny", HEARS))
    windows = data.Windows(clips, data.measured(), 0)
    set_scale(model, windows, 10)
    training = Training(model, Settings(size="tiny"))
    optimiser = torch.optim.AdamW(training.parameters(), 5e-3)
    first = None
    for _ in range(200):
        loss, values = training(windows())
        first = first or values
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    assert values["diffusion"] < 0.8 * first["diffusion"]
    clip = next(c for c in clips if c.source == "grid" and c.part == "test")
    motion = DiceMotion(model, SpeechEncoder(**emote_sizes("tiny")["speech"]))
    made = motion.whole(torch.from_numpy(clip.features[:, 0]))
    assert lips.correlation(made[:, JAW], clip.motion[:, JAW]) > 0.6


@pytest.mark.slow
def test_training_goes_on_and_its_checkpoint_speaks(folder, teacher, ears, tmp_path):
    settings = {"size": "tiny", "conditioner": "label", "device": "cpu", "teacher": str(teacher), "ears": ears}
    train(folder, tmp_path, 1e-4, settings)
    spent = torch.load(tmp_path / "motion.pt", weights_only=True)
    train(folder, tmp_path, spent["elapsed"] / 60 + 1e-4, settings)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] > spent["step"] >= 1
    bars = evaluate(
        "dice",
        tmp_path,
        {
            "data": str(folder),
            "emote": str(teacher),
            "clips": "1",
            "seeds": "2",
            "steps": "1",
            "lines": "1",
            "portraits": "0",
        },
    )
    assert {bar.bar for bar in bars} >= {">= 0.75", ">= 0.85", ">= 10"}
    report = json.loads((tmp_path / "report.json").read_text())
    assert [section["title"] for section in report["sections"]] == ["Speech", "Seeds", "Speed", "Expressions"]
    motion = DiceMotion.load(str(tmp_path / "checkpoint"))
    heard = whole(motion.speech, log_mel(noise(0.5)))
    assert motion.whole(heard.features, steps=1).shape == (12, 55)
    assert motion.model.scale.min() > 0.01


@pytest.mark.slow
def test_conditioners_are_compared_in_one_table(folder, teacher, ears, tmp_path):
    training = {"size": "tiny", "device": "cpu", "teacher": str(teacher), "ears": ears}
    measuring = {"emote": str(teacher), "clips": "1", "seeds": "2", "steps": "1", "lines": "1", "portraits": "0"}
    table = ablate(["dice"], ["none", "vad"], folder, tmp_path, 1e-4, training, measuring).read_text()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert lines[0] == ["", "none", "vad", "bar"] and len(lines) == 6
    assert all(cell for line in lines[2:] for cell in line[:3])


def test_unknown_sizes_are_named(tmp_path):
    with pytest.raises(InputError, match="tiny, compact, tiny-video, full"):
        train(tmp_path, tmp_path, 1.0, {"size": "huge"})


def test_the_sampling_loop_leaves_no_tensor_behind(motion):
    with Homeless() as watch:
        motion.whole(features(3), steps=2)
    assert not watch.places
