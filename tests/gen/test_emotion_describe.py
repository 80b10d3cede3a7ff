"""The description of an emotion, in words and as a plot."""

import json

import pytest
from PIL import Image

from gen import registry
from gen.emotion.describe import describe, plot, report
from gen.errors import InputError


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    """Only the shipped conditioners and two third-party generators."""
    monkeypatch.setattr(registry, "_registered", {kind: {} for kind in registry.KINDS})
    monkeypatch.setattr(registry, "_entry_points", lambda kind: {})

    @registry.register("generator", "drum")
    class Drum:
        """Beats faster with arousal.

        More of it."""

    @registry.register("generator", "horn")
    class Horn:
        @staticmethod
        def reading(emotion):
            return f"blows at {emotion.intensity:g}"


def test_an_emotion():
    found = describe("bittersweet longing @ 1.2")
    assert json.loads(json.dumps(found)) == found
    assert found["mix"] == {"bittersweet": 0.5, "longing": 0.5}
    assert sum(found["canonical"].values()) == pytest.approx(1, abs=0.01)
    assert set(found["vad"]) == {"valence", "arousal", "dominance"}
    assert found["quadrant"] in found["quadrants"]
    assert found["readings"]["generator drum"] == "Beats faster with arousal."
    assert found["readings"]["generator horn"] == "blows at 1.2"
    assert {f"conditioner {name}" for name in ("none", "label", "vad", "gaussian", "bank", "direction")} < set(
        found["readings"]
    )


def test_label_and_vad_readings_equal_the_conditioners_inputs():
    readings = describe("happy @ 0.5")["readings"]
    assert readings["conditioner label"] == "neutral 0.50, happy 0.50"
    assert readings["conditioner vad"] == "v +0.41  a +0.26  d +0.23"


def test_a_curve_is_described_per_keyframe():
    found = describe("bar 0: sad, bar 8 smooth: happy @ 1.3")
    assert [key["at"] for key in found["keyframes"]] == [0, 8]
    assert found["keyframes"][1]["intensity"] == 1.3
    text = report(found)
    assert "bar 0 (linear)" in text
    assert "happy @ 1.3" in text


def test_a_report_has_a_line_for_everything():
    found = describe("menacing")
    lines = report(found).splitlines()
    assert lines[0].split() == ["emotion", "menacing"]
    assert len(lines) == 5 + len(found["readings"])


def test_unknown_words():
    with pytest.raises(InputError, match="nearest terms are happy"):
        describe("hapy")


@pytest.mark.slow  # imports matplotlib
@pytest.mark.parametrize("text", ["wistful", "0: sad, 8 smooth: calm, 16: happy @ 1.3"])
def test_a_picture(text, tmp_path):
    plot(text, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (1560, 960)
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 100
