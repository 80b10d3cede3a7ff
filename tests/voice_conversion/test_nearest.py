"""Points and clips: the emotion that performs them, its strength, and that the voice follows."""

import numpy as np
import pytest
from speech import bank, median_of

from gen.emotion.embedding.priors import shared
from gen.emotion.spec import Embedding, Emotion, EmotionCurve, Keyframe
from gen.emotion.track import unit_prior
from gen.notes import collect
from voice_conversion.features import RATE
from voice_conversion.performance.nearest import nearest, performed


def test_words_and_mixes_are_performed_as_they_are():
    curve = EmotionCurve.parse("0: calm, 1: happy 0.5 + sad 0.5, 2: -anger @ 0.5")
    assert performed(curve, bank()) == curve


@pytest.mark.parametrize("name", ["happy", "sad", "anger"])
def test_a_point_is_performed_by_the_emotion_whose_line_passes_nearest(name):
    mean, aside = Emotion.parse(name).point(), np.array([0.05, -0.05, 0.2])
    for intensity in (0.3, 1.0, 1.6):
        assert nearest(intensity * mean, bank()) == (name, pytest.approx(intensity))
        assert nearest(intensity * mean + aside, bank())[0] == name
    assert nearest(9 * mean, bank()) == (name, 2.0)
    near = performed(EmotionCurve.parse("v=0.01 a=0"), bank())
    assert near == EmotionCurve.parse("neutral")


def test_the_voice_follows_a_point_steadily_through_neutral(speaks, recording):
    sad, happy = (Emotion.parse(name).point() for name in ("sad", "happy"))
    points = [share * sad for share in (1, 0.5, 0)] + [share * happy for share in (0.5, 1)]
    made = [speaks.convert(recording, RATE, EmotionCurve.parse({"vad": point.tolist()})) for point in points]
    assert made[2] is recording
    pitch = [median_of(one) for one in made]
    np.testing.assert_allclose(np.diff(pitch), [0.1, 0.1, 0.2, 0.2], atol=0.08)
    words = [speaks.convert(recording, RATE, EmotionCurve.parse(name)) for name in ("sad", "happy")]
    assert np.array_equal(made[0], words[0]) and np.array_equal(made[-1], words[1])


def test_calm_has_no_performances_and_is_said(speaks, recording):
    with collect() as notes:
        assert speaks.convert(recording, RATE, EmotionCurve.parse("v=0.45 a=-0.8")) is recording
        speaks.convert(recording, RATE, EmotionCurve.parse("v=0.1 a=-0.1"))
    assert [one for one in notes if "performances" in one] == [
        "no performances are near v=0.45 a=-0.80: the speech stays neutral there"
    ]


def clip(heard, point, own=0.0):
    """A keyframe in whose clip the words ``heard`` and a point (3,) at intensity 1 are perceived."""
    place = unit_prior(heard) + (point - heard.point()) @ shared().slope.numpy() + own
    return Keyframe(at=0.0, emotion=heard, embedding=Embedding(mean=place.tolist(), variance=[1.0] * len(place)))


def test_a_clip_is_performed_at_its_point_in_its_own_manner():
    slope, sad = shared().slope.numpy(), Emotion.parse("sad @ 0.7")
    own = np.random.default_rng(0).normal(size=slope.shape[1])
    own -= own @ np.linalg.pinv(slope) @ slope
    curve = EmotionCurve(keyframes=(clip(sad, Emotion.parse("happy").point(), own),))
    key = performed(curve, bank()).keyframes[0]
    assert key.emotion == Emotion.parse("happy @ 0.7")
    np.testing.assert_allclose(np.array(key.embedding.mean) - unit_prior(key.emotion), own, atol=1e-3)


def test_words_perceived_in_a_clip_count_and_quadrants_do_not():
    between = 0.55 * Emotion.parse("sad").point() + 0.45 * Emotion.parse("anger").point()
    of = lambda text: performed(EmotionCurve(keyframes=(clip(Emotion.parse(text), between),)), bank()).keyframes[0]
    assert of("anger 0.8 + neutral 0.2 @ 0.9").emotion == Emotion.parse("anger @ 0.72")
    assert of("sad 0.8 + neutral 0.2 @ 0.9").emotion == Emotion.parse("sad @ 0.72")
    assert of("Q2 @ 0.9").emotion.mix == of("Q3 @ 0.9").emotion.mix
