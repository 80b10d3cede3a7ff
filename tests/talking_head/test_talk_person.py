"""The person cut out of a picture: what is behind stays, goes, or is something else."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from faces import basis, face, picture, portrait

from gen import checkpoints, media
from gen.errors import InputError
from gen.jobs.schema import parse_task
from gen.notes import collect
from talking_head.face.graph import Graph
from talking_head.face.points import OVAL, coefficients
from talking_head.frame import framed
from talking_head.motion.speaker import Motion
from talking_head.render import body, person
from talking_head.render.fill import filled
from talking_head.render.film import film
from talking_head.render.portrait import Portrait

TURN = np.array([0.03, 0.16, 0.05])


@cache
def network() -> Graph:
    return checkpoints.load("person-mask", Graph)


@cache
def small() -> tuple:
    return framed(picture(), face(), 256)


def cut(background="keep") -> person.Person:
    return person.cut_out(network(), picture(), face(), *small(), background)


@cache
def drawn(background="keep") -> Portrait:
    return Portrait(*small(), basis(), cut(background))


def outside(far: float) -> np.ndarray:
    """(256, 256) bool: well away from the person."""
    near = torch.nn.functional.max_pool2d(cut().mask[None, None], 2 * int(far) + 1, 1, int(far))[0, 0]
    return (near < 0.02).numpy()


def test_the_mask_holds_the_face_and_leaves_the_corners():
    mask, (_, there) = cut().mask, small()
    x, y = there.landmarks[[1, 50, 280, 152, 10], :2].round().astype(int).T
    assert mask[y, x].min() > 0.95 and mask[2, 2] < 0.05 and mask[2, -3] < 0.05
    assert person.shows(mask, there.landmarks) and not person.shows(1 - mask, there.landmarks)


def test_both_layers_together_are_the_picture():
    made, whole = cut(), person.as_tensor(small()[0])
    assert (made.cut + (1 - made.mask) * made.behind - whole).abs().max() < 1e-5
    rest = coefficients({})
    plain = Portrait(*small(), basis())
    assert np.abs(drawn().frame(rest).astype(int) - plain.frame(rest)).mean() < 0.1


def test_the_background_stays_where_a_head_turns():
    shot, away = small()[0].astype(int), outside(8)
    still = np.abs(drawn().frame(coefficients({}), TURN).astype(int) - shot)[away].max()
    bent = np.abs(Portrait(*small(), basis()).frame(coefficients({}), TURN).astype(int) - shot)[away].max()
    assert away.mean() > 0.1 and still <= 1 < 20 < bent
    moved = np.abs(drawn().frame(coefficients({}), TURN).astype(int) - shot)[~away]
    assert moved.mean() > 3


def test_what_the_head_uncovers_is_filled_with_what_is_beside_it():
    known = torch.ones(40, 60)
    known[10:30, 20:40] = 0
    flat = torch.full((3, 40, 60), 0.3)
    assert (filled(torch.where(known > 0, flat, 1.0), known) - 0.3).abs().max() < 1e-5
    ramp = torch.linspace(0, 1, 60).expand(3, 40, 60).contiguous()
    assert (filled(torch.where(known > 0, ramp, 0.0), known) - ramp).abs()[:, 10:30, 20:40].max() < 0.2


def test_nothing_behind_gives_transparency():
    frame = drawn("none").frame(coefficients({"jawOpen": 0.4}), TURN)
    assert frame.shape == (256, 256, 4) and frame[outside(8)][:, 3].max() <= 2
    x, y = small()[1].landmarks[OVAL, :2].mean(0).astype(int)
    assert frame[y - 20 : y + 20, x - 20 : x + 20, 3].min() == 255
    seen = (
        frame[..., :3].astype(int)[frame[..., 3] == 255]
        - drawn().frame(coefficients({"jawOpen": 0.4}), TURN)[frame[..., 3] == 255]
    )
    assert np.abs(seen).mean() < 1


@pytest.mark.parametrize("given", ["#10c040", np.full((40, 90, 3), (16, 192, 64), np.uint8)], ids=["colour", "picture"])
def test_a_person_stands_before_something_else(given):
    frame = Portrait(*small(), basis(), cut(given)).frame(coefficients({}), TURN)
    assert np.abs(frame[outside(8)].astype(int) - (16, 192, 64)).max() <= 1 and frame.shape == (256, 256, 3)


def test_a_picture_without_a_person_keeps_its_background_or_is_refused():
    blank = np.full_like(small()[0], 90)
    with collect() as notes:
        assert person.cut_out(network(), np.full_like(picture(), 90), face(), blank, small()[1]) is None
    assert len(notes) == 1 and "background" in notes[0]
    with pytest.raises(InputError, match="another portrait"):
        person.cut_out(network(), np.full_like(picture(), 90), face(), blank, small()[1], "none")


@pytest.mark.parametrize(
    ("given", "read"), [("keep", "keep"), ("none", "none"), ("#00FF0a", "#00FF0a"), ("wall.jpg", Path("wall.jpg"))]
)
def test_a_background_is_a_word_a_colour_or_a_file(given, read):
    asked = parse_task({"kind": "talk", "portrait": "p.png", "audio": "a.wav", "background": given})
    assert asked.background == read and asked.ending == ("webm" if given == "none" else "mp4")


def test_half_a_colour_is_refused():
    with pytest.raises(InputError, match="six digits"):
        parse_task({"kind": "talk", "portrait": "p.png", "audio": "a.wav", "background": "#0f0"})


def test_a_transparent_picture_is_read_back_without_a_word(tmp_path):
    media.write_image(tmp_path / "a.png", np.zeros((8, 8, 4), np.uint8))
    with collect() as notes:
        media.check(tmp_path / "a.png")
    assert not notes


def test_shoulders_follow_the_head_a_little_and_breathe():
    t = np.arange(200)
    turns = np.stack((np.zeros(200), 0.1 * (t > 20), np.zeros(200)), 1)
    way = body.sway(turns, 25)
    assert np.all(way[:20, 0] == 0) and 0.2 < way[60:, 0].mean() < 0.6 and way[22, 0] < 0.5 * way[60, 0]
    assert np.ptp(way[:, 1]) == pytest.approx(2 * body.BREATH, rel=0.05)
    assert not body.sway(np.zeros((200, 3)), 25).any()  # a head kept still
    twice = body.sway(np.repeat(turns, 2, 0), 50)
    assert np.abs(twice[::2] - way).max() < 0.05


def test_a_film_moves_the_shoulders_and_a_still_head_leaves_them():
    shot, (_, there) = small()[0].astype(int), small()
    motion = Motion(np.zeros((50, 52)), np.tile([0.0, 0.1, 0.0], (50, 1)), np.zeros(50))
    chest = np.zeros((256, 256), bool)
    chest[there.landmarks[152, 1].astype(int) + 40 :] = True
    moved = [np.abs(frame.astype(int) - shot)[chest].mean() for frame in film(drawn(), motion)][::24]
    held = [
        np.abs(frame.astype(int) - shot)[chest].max()
        for frame in film(drawn(), motion._replace(turns=np.zeros((50, 3))))
    ][::24]
    assert max(moved) > 0.3 and max(held) <= 2


def test_head_and_hair_move_as_one_and_the_chest_does_not():
    points = portrait().points
    chin, crown = points[152], points[10]
    column = np.array([[0, crown[1] + 2, -4], [0, 0, 4], [0, chin[1] - 5, -3], [0, chin[1] - 12, -3], [60, 0, 0]])
    head, carried = body.follow(column.astype(float), points)
    assert head[0] == head[1] == 1 and 0.2 < head[2] < 0.9 and head[3] == head[4] == 0
    assert carried[3] == 1 and carried[0] == body.CARRIED
