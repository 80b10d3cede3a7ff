"""Words in valence-arousal-dominance, and their conversion to mixes and quadrants."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.emotion import lexicon
from gen.emotion.spec import CANONICAL, QUADRANTS, Emotion

coordinates = st.tuples(*[st.floats(-1, 1)] * 3)


def test_every_word_is_a_proper_term():
    assert len(lexicon.terms()) >= 400
    for name, term in lexicon.terms().items():
        assert np.abs(term.mean).max() <= 1, name
        assert (term.sd > 0).all(), name
        assert term.weights.sum() == pytest.approx(1), name
        assert term.weights.min() >= 0, name
        assert term.quadrants.sum() == pytest.approx(1), name


def test_states_have_their_measured_points():
    states = {
        "anger": (-0.51, 0.59, 0.25),
        "happy": (0.81, 0.51, 0.46),
        "sad": (-0.63, -0.27, -0.33),
        "neutral": (0, 0, 0),
    }
    for name, point in states.items():
        np.testing.assert_allclose(lexicon.terms()[name].mean, point)


def test_words_are_mapped_to_the_scale_of_the_states():
    """Arousal is low in word ratings; on the scale of the states, excitement and calm are far apart."""
    rows = lexicon._rows("vad_terms.csv")
    words = {row["term"]: lexicon._numbers(row) for row in rows if row["source"] == "warriner2013"}
    moved = lexicon.measured()
    states = {row["term"]: lexicon._numbers(row) for row in rows if row["source"] == "russell_mehrabian1977"}
    gaps = [abs(words[term][1] - states[term][1]) for term in states if term in words]
    assert np.mean(gaps) > 0.3
    assert moved["excited"][0][1] > 0.7
    assert moved["calm"][0][1] < -0.7


@pytest.mark.parametrize("name", CANONICAL)
def test_a_canonical_point_is_read_as_its_emotion(name):
    assert CANONICAL[lexicon.posterior(lexicon.terms()[name].mean).argmax()] == name


@pytest.mark.parametrize(
    ("words", "label", "quadrant"),
    [
        ("excited cheerful playful triumphant jubilant", "happy", "Q1"),
        ("furious enraged irritated hostile menacing sinister", "anger", "Q2"),
        ("terrified anxious panic horrified eerie", "fear", "Q2"),
        ("lonely melancholy gloomy depressed mournful grieving", "sad", "Q3"),
        ("amazed astonished", "surprise", "Q1"),
        ("scornful disdainful sneering", "contempt", "Q2"),
        ("revolted nauseated", "disgust", "Q2"),
        ("tender peaceful gentle relaxed cozy", "happy", "Q4"),
        ("wistful bored weary", "sad", "Q3"),
        ("solemn sleepy", "neutral", "Q3"),
    ],
)
def test_words_beyond_the_eight_are_read_sensibly(words, label, quadrant):
    for word in words.split():
        emotion = Emotion.parse(word)
        assert CANONICAL[emotion.weights().argmax()] == label, word
        assert QUADRANTS[emotion.quadrants().argmax()] == quadrant, word


def test_mixed_feelings_stay_mixed():
    weights = Emotion.parse("bittersweet longing").weights()
    assert weights[1] > 0.3  # happy
    assert weights[2] > 0.3  # sad
    calm = Emotion.parse("calm")
    assert calm.weights()[[0, 1]].sum() > 0.9


def test_resolve():
    assert lexicon.resolve("ANGRY") == "anger"
    assert lexicon.resolve("happily") == "happy"
    assert lexicon.resolve("gloominess") == "gloomy"
    assert lexicon.resolve("q3") == "Q3"
    assert lexicon.resolve("table") is None
    assert lexicon.nearest(["suprise"])[0] == "surprise"


@settings(max_examples=100)
@given(coordinates, coordinates)
def test_conversions_are_continuous(point, way):
    step = 1e-4 * np.array(way)
    for convert in (lexicon.posterior, lexicon.quadrants):
        here, there = convert(np.array(point)), convert(np.array(point) + step)
        assert here.sum() == pytest.approx(1)
        assert np.abs(here - there).max() < 5e-3


def test_conversions_take_any_shape():
    points = np.random.default_rng(0).uniform(-1, 1, (2, 5, 3))
    assert lexicon.posterior(points).shape == (2, 5, 8)
    assert lexicon.quadrants(points).shape == (2, 5, 4)
    np.testing.assert_allclose(lexicon.posterior(points)[1, 3], lexicon.posterior(points[1, 3]))


def test_quadrants():
    for name, (v, a) in zip(QUADRANTS, lexicon.QUADRANT_SIGN, strict=True):
        assert QUADRANTS[lexicon.quadrants(np.array([0.5 * v, 0.5 * a, 0])).argmax()] == name
        np.testing.assert_array_equal(Emotion.parse(name).quadrants(), np.eye(4)[QUADRANTS.index(name)])
    np.testing.assert_allclose(lexicon.quadrants(np.zeros(3)), 0.25)
    np.testing.assert_allclose(Emotion.parse("-Q2").quadrants(), [0, 0, 0, 1])
    assert Emotion.parse("-sad").quadrants()[0] > 0.5
