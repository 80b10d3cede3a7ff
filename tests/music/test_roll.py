"""A piano roll is drawn from notes or a score, with bars and emotion."""

import numpy as np
import pytest
import symusic

from gen.emotion.spec import EmotionCurve
from gen.media import read_image
from music import roll

NOTES = np.array([(0, 1, 60, 30), (1, 2, 64, 70), (2, 4, 67, 110)], float)


def test_score_and_notes_give_the_same_picture(tmp_path):
    score = symusic.Score(960)
    track = symusic.Track(name="piano")
    for start, end, pitch, velocity in NOTES:
        track.notes.append(symusic.Note(round(start * 1920), round((end - start) * 1920), int(pitch), int(velocity)))
    score.tracks.append(track)
    np.testing.assert_allclose(roll.notes_of(score), NOTES, atol=1e-6)
    roll.draw(score, tmp_path / "a.png", title="a")
    roll.draw(NOTES, tmp_path / "b.png", title="a")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), read_image(tmp_path / "b.png"))


def test_louder_is_darker(tmp_path):
    for name, velocity in (("soft", 30), ("loud", 110)):
        roll.draw(np.array([(0, 4, 60, velocity)], float), tmp_path / f"{name}.png")
    soft, loud = (read_image(tmp_path / f"{name}.png").astype(int) for name in ("soft", "loud"))
    changed = (soft != loud).any(-1)
    assert changed.mean() > 0.01
    assert loud[changed].mean() < soft[changed].mean() - 60


@pytest.mark.parametrize("curve", ["sad @ 0.5", "0: sad, 2: happy @ 1.3", "bar 0: fear, bar 1: anger"])
def test_emotion_is_shown_in_its_colours(tmp_path, curve):
    from matplotlib.colors import to_rgb

    from gen.emotion.picture import COLOURS

    curve = EmotionCurve.parse(curve)
    roll.draw(NOTES, tmp_path / "a.png", beats=np.arange(0, 4.1, 0.5), emotion_curve=curve)
    pixels = read_image(tmp_path / "a.png")[..., :3].astype(float)
    for key in curve.keyframes:
        name = key.emotion.mix[0][0]
        asked = 255 * (0.9 * np.array(to_rgb(COLOURS[name])) + 0.1 * np.array(to_rgb("#fbfbf9")))
        assert (np.abs(pixels - asked).max(-1) < 6).mean() > 0.002


def test_no_notes_make_an_empty_roll(tmp_path):
    roll.draw(np.zeros((0, 4)), tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape[1] == 1200
