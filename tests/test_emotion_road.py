"""All generators use one path for emotions: a third-party conditioner, clips and user-defined emotions work in each."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from gen import media, registry
from gen.emotion import own
from gen.emotion.calibration import Calibration
from gen.emotion.conditioner import Condition, EmotionConditioner, check_conditioner
from gen.emotion.embedding.priors import shared
from gen.emotion.resolve import resolve
from gen.emotion.spec import CANONICAL, Embedding, Emotion, EmotionCurve, Keyframe
from gen.emotion.track import plain, track, unit_prior
from gen.network import register_to_config

for room in ("music", "talking_head", "voice_conversion"):
    sys.path.append(str(Path(__file__).parent / room))

ROOT = Path(__file__).parents[1]
SECONDS = 0.6


class Outside(EmotionConditioner):
    """Shares nothing with the built-in conditioners: own ``prepare`` and ``forward``, uses only the embedding."""

    @register_to_config
    def __init__(self, dim: int):
        super().__init__(dim)
        self.map = nn.Linear(256, dim)

    def prepare(self, tracks):
        return {"path": torch.from_numpy(np.stack([np.array(track.embedding) for track in tracks]))}

    def forward(self, path, drop=None, mask=None):
        tokens = self.map(path.to(self.map.weight.dtype))
        if drop is not None:
            tokens = torch.where(drop[:, None, None], self.null, tokens)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool) if mask is None else mask
        tokens = tokens * mask[..., None]
        return Condition(tokens, mask, tokens.sum(1) / mask.sum(1, keepdim=True).clamp(min=1), tokens.new_zeros(()))


@pytest.fixture
def outside():
    registry.register("conditioner", "outside")(Outside)
    yield
    del registry._registered["conditioner"]["outside"]


def music(conditioner):
    from test_generate import generator

    made = generator(conditioner=conditioner, sharp=3.0)
    return lambda curve: made.compose([curve], 2, [0], guidance=1.5)[0].tokens.astype(float)


def emote(conditioner):
    from faces import networks

    from talking_head.face.basis import FaceBasis
    from talking_head.motion.emote.speaker import EmoteSpeaker
    from talking_head.motion.layer import Expression

    made = EmoteSpeaker(*networks(), Expression(16, conditioner=conditioner), FaceBasis.load(), Calibration.linear())
    return lambda curve: made.speak(sound(16_000), curve).coefs


def dice(conditioner):
    from talking_head.face.basis import FaceBasis
    from talking_head.motion.dice.generate import DiceMotion
    from talking_head.motion.dice.model import MotionDenoiser
    from talking_head.motion.dice.sizes import sizes
    from talking_head.motion.dice.speaker import DiceSpeaker
    from talking_head.motion.emote.sizes import sizes as ears
    from talking_head.motion.layer import Expression
    from talking_head.motion.speech import SpeechEncoder

    model = MotionDenoiser(**sizes("tiny", speech=24))
    motion = DiceMotion(model, SpeechEncoder(**ears("tiny")["speech"]))
    expression = Expression(16, conditioner=conditioner)
    made = DiceSpeaker(motion, expression, FaceBasis.load(), Calibration.linear())
    return lambda curve: made.speak(sound(16_000), curve, steps=2).coefs


def sound(rate):
    from speech import voice as buzz

    return np.interp(np.arange(int(SECONDS * rate)) / rate, np.arange(int(SECONDS * 22_050)) / 22_050, buzz(SECONDS))


GENERATORS = {"music": music, "emote": emote, "dice": dice}


def placed(push: float) -> EmotionCurve:
    """Sad from clips, offset from the word's prior to one side or the other."""
    way = np.cos(np.arange(256)) * float(shared().mean.std())
    mean = track(EmotionCurve.parse("sad"), [0.0]).embedding[0] + push * way
    embedding = Embedding(mean=mean.tolist(), variance=(0.1,) * 256)
    return EmotionCurve(keyframes=(Keyframe(at=0.0, emotion=Emotion.parse("sad"), embedding=embedding),))


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_a_third_party_conditioner_works_in_every_generator(name, outside):
    torch.manual_seed(0)
    make = GENERATORS[name]({"name": "outside"} if name != "music" else "outside")
    sad, happy, changing, clips = (
        make(c) for c in (*map(EmotionCurve.parse, ("sad", "happy", "0: sad, 1: fear")), placed(2.0))
    )
    assert np.isfinite(changing).all()
    assert sad.shape != happy.shape or not np.array_equal(sad, happy)
    assert sad.shape != clips.shape or not np.array_equal(sad, clips)


@pytest.mark.usefixtures("outside")
def test_the_third_party_conditioner_keeps_the_contract():
    check_conditioner(Outside, embeds=True)


@pytest.mark.parametrize("conditioner", ["bank", "direction", "gaussian"])
@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_clips_of_equal_numbers_give_different_results(name, conditioner):
    torch.manual_seed(0)
    make = GENERATORS[name]({"name": conditioner} if name != "music" else conditioner)
    one, other = make(placed(2.0)), make(placed(-2.0))
    assert one.shape != other.shape or not np.array_equal(one, other)


# ---------------------------------------------------------------- tracks


def test_words_mixes_and_points_have_their_priors():
    for text in ("happy", "sad 0.6 + fear 0.4 @ 1.4", "v=-0.4 a=0.7", "0: sad, 2 smooth: happy @ 1.3, 4: neutral"):
        found = track(EmotionCurve.parse(text), np.linspace(0, 4, 9))
        prior = shared()(*(torch.from_numpy(np.array(x)) for x in found[:3])).numpy()
        np.testing.assert_allclose(found.embedding, prior, atol=1e-5)
        assert not found.known.any() and not found.beyond().any()


def test_a_track_passes_through_clip_embeddings_and_back_to_words():
    keys = (*placed(1.0).keyframes, Keyframe(at=2.0, emotion=Emotion.parse("happy")))
    found = track(EmotionCurve(keyframes=keys), [0.0, 1.0, 2.0])
    np.testing.assert_allclose(found.embedding[0], keys[0].embedding.mean, atol=1e-4)
    np.testing.assert_allclose(found.known, [1, 0.5, 0])
    np.testing.assert_allclose(found.embedding[2], track(EmotionCurve.parse("happy"), [0.0]).embedding[0], atol=1e-5)
    middle = (found.embedding[0] + found.embedding[2]) / 2
    np.testing.assert_allclose(found.embedding[1], middle, atol=1e-4)


def test_intensity_moves_along_the_line_from_neutral():
    curve = placed(1.0)
    strong = curve.keyframes[0].model_copy(update={"emotion": Emotion.parse("sad @ 1.5")})
    one, more = track(curve, [0.0]), track(curve.model_copy(update={"keyframes": (strong,)}), [0.0])
    np.testing.assert_allclose(one.at_intensity(np.array([1.5])).embedding, more.embedding, atol=1e-4)
    still = one.at_intensity(np.zeros(1))
    np.testing.assert_allclose(still.embedding[0], shared().mean[0], atol=1e-5)
    np.testing.assert_allclose(Calibration.linear(1.5)(one).embedding, more.embedding, atol=1e-4)


def test_the_opposite_is_the_mirror_image():
    for curve in (EmotionCurve.parse("happy @ 1.2"), placed(1.0)):
        asked = track(curve, [0.0])
        away = asked.opposite()
        np.testing.assert_allclose(away.vad * away.intensity[:, None], -asked.vad * asked.intensity[:, None], atol=1e-6)
        np.testing.assert_allclose(away.beyond(), -asked.beyond(), atol=1e-4)
    neutral = track(EmotionCurve.parse("neutral"), [0.0])
    np.testing.assert_allclose(neutral.opposite().vad, 0, atol=1e-6)


def test_plain_tracks_have_the_points_of_their_weights():
    found = plain(np.eye(8), np.full(8, 0.7))
    for index, name in enumerate(CANONICAL):
        want = track(EmotionCurve.parse(f"{name} @ 0.7"), [0.0])
        for one, other in zip(found.part(slice(index, index + 1)), want):
            np.testing.assert_allclose(one, other, atol=1e-5)


# ---------------------------------------------------------------- files


def test_a_file_is_read_once_and_negative_guidance_uses_its_opposite(tmp_path):
    """Regression: the mirrored curve of a file was the curve itself, and the file was read again at every sample."""
    path = tmp_path / "letter.txt"
    path.write_text("How happy we are!")
    made = music("vad")
    curve = EmotionCurve.parse({"from": str(path)})
    read = resolve(curve)
    said = made(read)
    assert np.array_equal(made(curve), said)
    path.write_text("How sad we are.")
    assert np.array_equal(made(read), said) and resolve(read) is read
    asked = track(read, [0.0])
    assert asked.opposite().vad[0, 0] < 0 < asked.vad[0, 0]
    with pytest.raises(ValueError, match="resolve the curve"):
        track(curve, [0.0])


def test_emotions_made_from_clips_are_resolved(tmp_path, monkeypatch):
    from gen.emotion.embedding.perceive import perceive

    monkeypatch.setenv("AFFEKT_EMOTIONS", str(tmp_path / "emotions"))
    clips = []
    for name, seed in (("one", 0), ("two", 1)):
        draw = np.random.default_rng(seed)
        np.savez(tmp_path / f"{name}.npz", coefs=draw.uniform(0, 0.4, (60, 52)) * (draw.random(52) < 0.4), fps=25.0)
        clips.append(tmp_path / f"{name}.npz")
    try:
        own.make("tidewise", clips)
        key = resolve(EmotionCurve.parse("tidewise")).keyframes[0]
        places = np.array([perceive(clip).place.mean for clip in clips])
        np.testing.assert_allclose(key.embedding.mean, places.mean(0), atol=1e-3)
        assert key.embedding.known == 1 and min(key.embedding.variance) > 0
        half = resolve(EmotionCurve.parse("tidewise 0.5 + sad 0.5 @ 0.5"))
        found = track(half, [0.0])
        assert found.known[0] == pytest.approx(0.5)
        gap = np.array(key.embedding.mean) - track(EmotionCurve.parse("tidewise"), [0.0]).embedding[0]
        np.testing.assert_allclose(found.beyond()[0], 0.25 * gap, atol=1e-3)
        assert resolve(half) is half
    finally:
        monkeypatch.undo()
        own.load()


def test_a_track_comes_nearer_to_its_words():
    numbers = np.eye(8, dtype=np.float32)[[1, 2]], np.array([1.0, 0.5])
    words = plain(*numbers)
    placed = words._replace(embedding=words.embedding + 1, known=np.ones(2, np.float32))
    near = placed.nearer(np.array([0.0, 0.5]))
    np.testing.assert_allclose(near.embedding - words.embedding, [[0.0] * 256, [0.5] * 256], atol=1e-5)
    assert np.array_equal(words.nearer(0.3).embedding, words.embedding)


# ---------------------------------------------------------------- shipped checkpoints


@pytest.fixture
def two_of_equal_numbers(tmp_path, monkeypatch):
    """Two user-defined emotions with one mix and one point; their clips are at fear and at happiness."""
    monkeypatch.setenv("AFFEKT_EMOTIONS", str(tmp_path))
    sad = Emotion.parse("sad")
    facts = {
        "vad": sad.point().tolist(),
        "sd": [0.2] * 3,
        "weights": sad.weights().tolist(),
        "quadrants": sad.quadrants().tolist(),
    }
    for name, like in (("ebbwise", "fear"), ("tidewise", "happy")):
        (tmp_path / f"{name}.json").write_text(json.dumps(facts))
        save_file(
            {"mean": unit_prior(Emotion.parse(like)), "var": np.ones(256, np.float32)}, tmp_path / f"{name}.safetensors"
        )
    own.load()
    yield [resolve(EmotionCurve.parse(name)) for name in ("ebbwise", "tidewise")]
    monkeypatch.undo()
    own.load()


def shipped_face(name):
    from talking_head.pipeline import TalkGenerator

    made = TalkGenerator.from_pretrained(name)
    return lambda curve: made.speak(sound(16_000), 16_000, curve).coefs


def shipped_voice():
    from voice_conversion.pipeline import VoiceGenerator

    made, (samples, rate) = VoiceGenerator.from_pretrained(), media.read_audio(ROOT / "examples/line.opus")
    return lambda curve: made.convert(samples, rate, curve)


def shipped_music():
    from music.pipeline import MusicGenerator

    made = MusicGenerator.from_pretrained()
    return lambda curve: made.compose([curve], 2, [0], candidates=1)[0].tokens


SHIPPED = {
    "emote": lambda: shipped_face("emote-compact"),
    "dice": lambda: shipped_face("dice-compact"),
    "music": shipped_music,
    "voice": shipped_voice,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_user_defined_emotions_of_equal_numbers_give_different_results(name, two_of_equal_numbers):
    one, other = two_of_equal_numbers
    for read in (lambda key: key.emotion.weights(), lambda key: key.emotion.point()):
        assert np.array_equal(read(one.keyframes[0]), read(other.keyframes[0]))
    make = SHIPPED[name]()
    first, second = make(one), make(other)
    assert first.shape != second.shape or not np.allclose(first, second, atol=1e-3)
