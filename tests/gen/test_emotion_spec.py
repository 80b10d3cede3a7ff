"""The text forms of emotions and curves, their conversions, and error messages."""

import subprocess
import sys
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from gen.emotion import lexicon
from gen.emotion.spec import CANONICAL, Emotion, EmotionCurve, Keyframe
from gen.errors import InputError

quick = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = sorted(lexicon.terms())
weights = st.floats(-3, 3).filter(lambda value: abs(value) > 1e-3)
coordinates = st.tuples(*[st.floats(-1, 1)] * 3)
intensities = st.floats(0, 2)
mixes = st.builds(
    lambda mix, intensity: Emotion(mix=mix, intensity=intensity),
    st.dictionaries(st.sampled_from(WORDS), weights, min_size=1, max_size=6).filter(
        lambda mix: abs(sum(mix.values())) > 0.1
    ),
    intensities,
)
points = st.builds(lambda vad, intensity: Emotion(vad=vad, intensity=intensity), coordinates, intensities)
emotions = mixes | points
curves = st.builds(
    lambda keys, eases, unit: EmotionCurve(
        keyframes=tuple(
            Keyframe(at=at, emotion=e, ease=ease) for (at, e), ease in zip(sorted(keys.items()), eases, strict=False)
        ),
        unit=unit,
    ),
    st.dictionaries(st.floats(0, 1e6), emotions, min_size=1, max_size=4),
    st.lists(st.sampled_from(("hold", "linear", "smooth")), min_size=4, max_size=4),
    st.sampled_from(("seconds", "bars")),
)


@quick
@given(emotions)
def test_an_emotion_parses_its_own_text(emotion):
    assert Emotion.parse(str(emotion)) == emotion
    assert Emotion.model_validate_json(emotion.model_dump_json()) == emotion
    assert hash(Emotion.parse(str(emotion))) == hash(emotion)


@quick
@given(curves)
def test_a_curve_parses_its_own_text(curve):
    assert EmotionCurve.parse(str(curve)) == curve
    assert EmotionCurve.model_validate_json(curve.model_dump_json()) == curve


@quick
@given(st.text(max_size=60) | st.text(alphabet="hapysd +-@.:,=va0123e'\"", max_size=30))
def test_any_text_is_an_emotion_or_an_input_error(text):
    for cls in (Emotion, EmotionCurve):
        with suppress(InputError):
            cls.parse(text)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
nested = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3), max_leaves=6
)
keys = st.sampled_from(("mix", "vad", "intensity", "keyframes", "unit", "at"))


@quick
@given(nested | st.dictionaries(keys, nested | st.dictionaries(st.sampled_from(("happy", "v", "a", "x")), scalars)))
def test_any_yaml_is_an_emotion_or_an_input_error(value):
    for cls in (Emotion, EmotionCurve):
        with suppress(InputError):
            cls.parse(value)


@pytest.mark.parametrize(
    ("text", "mix", "intensity"),
    [
        ("happy", {"happy": 1}, 1),
        ("angry @ 1.4", {"anger": 1}, 1.4),
        ("happy 0.7 + surprise 0.3", {"happy": 0.7, "surprise": 0.3}, 1),
        ("happy 2 + joyful 1 + sad", {"happy": 0.75, "sad": 0.25}, 1),
        ("happy 0.7 - sad 0.3", {"happy": 0.7, "sad": -0.3}, 1),
        ("-sad @ 0.5", {"sad": -1}, 0.5),
        ("q2", {"Q2": 1}, 1),
        ('"bittersweet longing"', {"bittersweet": 0.5, "longing": 0.5}, 1),
        ("not happy", {"happy": -1}, 1),
        ("slightly sad", {"sad": 1}, 0.5),
        ("very happy", {"happy": 1}, 1.4),
        ("not very happy", {"happy": -1}, 0.5),
        ("very happy but not sad @ 0.5", {"happy": 1.4 / 2.4, "sad": -1 / 2.4}, 0.6),
        ("a sad and lonely evening", {"sad": 0.5, "lonely": 0.5}, 1),
        ("isn’t it joyful", {"happy": -1}, 1),
        ("sadly, happily", {"sad": 0.5, "happy": 0.5}, 1),
        ("laid-back", {"laid-back": 1}, 1),
        ("sweet-sad", {"sweet": 0.5, "sad": 0.5}, 1),
    ],
)
def test_mixes(text, mix, intensity):
    emotion = Emotion.parse(text)
    assert dict(emotion.mix) == pytest.approx(mix, abs=1e-6)
    assert emotion.intensity == pytest.approx(intensity)


def test_points():
    assert Emotion.parse("v=0.6 a=-.3 d=0.1 @ 1.5") == Emotion(vad=(0.6, -0.3, 0.1), intensity=1.5)
    assert Emotion.parse("a=-0.3, v=0.6").vad[:2] == (0.6, -0.3)
    assert Emotion.parse("v=0 a=0").vad == (0, 0, 0)
    assert Emotion.parse("v=0.8 a=0.5").vad[2] > 0.2  # default dominance of a glad state
    assert Emotion.parse({"vad": [0.6, -0.3]}) == Emotion.parse("v=0.6 a=-0.3")
    np.testing.assert_allclose(Emotion.parse("v=0.6 a=-0.3 d=0 @ 2").scaled(), [1, -0.6, 0])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("hapy", "'hapy'; the nearest terms are happy"),
        ("surprize @ 2", "nearest terms are surprise"),
        ({"mix": {"angree": 1}}, "nearest terms are anger, angry"),
        ("happy @ 2.5", "less than or equal to 2"),
        ("happy @ much", "'happy @ 1.3'"),
        ("happy +", "write an emotion as"),
        ("v=0.6 x=1", "write a point as"),
        ("v=2 a=0", "less than or equal to 1"),
        ("happy - happy", "cancel out"),
        ({"mix": {"happy": 1}, "vad": [0, 0]}, "either 'mix' or 'vad'"),
        ({"mix": {"happy": 1}, "strength": 2}, "strength: Extra inputs"),
        (3, "as text or as a mapping"),
    ],
)
def test_mistakes_give_the_correct_form(value, message):
    with pytest.raises(InputError, match=message):
        Emotion.parse(value)


def test_mistakes_inside_a_task_keep_their_location():
    class Task(BaseModel):
        emotion: EmotionCurve

    with pytest.raises(ValidationError) as caught:
        Task(emotion={"keyframes": [{"at": 0, "emotion": "hapy"}]})
    assert caught.value.errors()[0]["loc"] == ("emotion", "keyframes", 0, "emotion")
    assert Task(emotion="sad").emotion == EmotionCurve.constant(Emotion.parse("sad"))


def test_readings_of_a_mix():
    for index, name in enumerate(CANONICAL):
        emotion = Emotion.parse(name)
        np.testing.assert_array_equal(emotion.weights(), np.eye(8)[index])
        np.testing.assert_allclose(Emotion.parse(f"-{name}").point(), -emotion.point(), atol=1e-9)
    away = Emotion.parse("-sad").weights()
    assert (away[0], away[2]) == (2, -1)
    np.testing.assert_allclose(
        Emotion.parse("happy 0.7 + sad 0.3").point(),
        0.7 * Emotion.parse("happy").point() + 0.3 * Emotion.parse("sad").point(),
        atol=1e-6,
    )


@quick
@given(emotions)
def test_readings_keep_their_ranges(emotion):
    assert emotion.weights().sum() == pytest.approx(1, abs=1e-5)
    assert emotion.quadrants().sum() == pytest.approx(1)
    assert emotion.quadrants().min() >= 0
    assert np.abs(emotion.point()).max() <= 1
    assert np.abs(emotion.scaled()).max() <= 1
    assert (emotion.spread() >= 0).all()


@quick
@given(st.sampled_from(WORDS), st.sampled_from(WORDS), st.floats(0.01, 0.99))
def test_readings_are_continuous_in_the_mix(one, other, share):
    near, far = (Emotion(mix={one: s, other: 1 - s}) for s in (share, share + 1e-3))
    for reading in ("weights", "point", "quadrants", "spread"):
        assert np.abs(getattr(near, reading)() - getattr(far, reading)()).max() < 0.06, reading


def test_curves_from_every_form():
    text = EmotionCurve.parse("0: sad, 8 smooth: happy @ 1.3, 12: v=0.1, a=0.2")
    listed = EmotionCurve.parse(
        [
            {"at": 0, "emotion": "sad"},
            {"at": 8, "emotion": {"mix": {"happy": 1}, "intensity": 1.3}, "ease": "smooth"},
            {"at": 12, "emotion": {"vad": [0.1, 0.2]}},
        ]
    )
    assert text == listed
    assert EmotionCurve.parse({"keyframes": listed.model_dump()["keyframes"]}) == listed
    assert EmotionCurve.parse("bar 0: sad, bar 4: happy").unit == "bars"
    assert EmotionCurve.parse("0s: sad, 4.5s: happy").keyframes[1].at == 4.5
    with pytest.raises(InputError, match="must increase"):
        EmotionCurve.parse("4: sad, 0: happy")
    with pytest.raises(InputError, match="'bar' before every time of a curve or before none"):
        EmotionCurve.parse("0: sad, bar 4: happy")


def test_samples():
    curve = EmotionCurve.parse("2 hold: sad, 4: happy, 8 smooth: happy @ 0, 10: happy @ 2")
    samples = curve.sample([0, 2, 3.999, 4, 6, 8, 8.5, 9, 10, 99])
    assert [array.dtype for array in samples] == [np.float32] * 3
    assert [array.shape for array in samples] == [(10, 8), (10, 3), (10,)]
    np.testing.assert_allclose(samples.intensity, [1, 1, 1, 1, 0.5, 0, 2 * 0.15625, 1, 2, 2], atol=1e-6)
    np.testing.assert_allclose(samples.weights[:3, 2], 1)
    np.testing.assert_allclose(samples.vad[4], Emotion.parse("happy").point(), atol=1e-6)
    assert EmotionCurve.parse("sad").sample([]).weights.shape == (0, 8)


@quick
@given(curves, st.floats(0, 1e6))
def test_curves_are_continuous_except_for_holds(curve, time):
    keys = curve.keyframes
    soft = curve.model_copy(update={"keyframes": tuple(key.model_copy(update={"ease": "smooth"}) for key in keys)})
    gaps = [later.at - earlier.at for earlier, later in pairwise(keys)] or [1.0]
    if min(gaps) < 1e-3:
        return
    here, there = (soft.sample([t]) for t in (time, time + 1e-4 * min(gaps)))
    for one, other in zip(here, there, strict=True):
        assert np.abs(one - other).max() < 2e-3


def test_import_is_light():
    code = (
        "import sys; import gen.emotion.spec; sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
