"""Mouths and eyes: what is behind them, and their edges."""

from copy import copy

import numpy as np
import pytest
from faces import basis, face, picture, portrait

from talking_head.face.points import coefficients, side
from talking_head.face.pose import matrix
from talking_head.render.opening import opening
from talking_head.render.sheets import LOWER_LIP, OPENINGS, UPPER_LIP
from talking_head.render.warp import inverted, places


def test_an_eye_that_rests_is_the_photographs_to_its_lids():
    drawn, shot = portrait().frame(portrait().had).astype(int), picture().astype(int)
    for upper, lower in OPENINGS[1:]:
        points = face().landmarks[np.concatenate((upper, lower)), :2]
        (left, top), (right, bottom) = points.min(0).astype(int), points.max(0).astype(int)
        off = np.abs(drawn - shot)[top:bottom, left:right].mean(2)
        assert off.mean() < 4 and np.quantile(off, 0.95) < 20


def test_an_eyeball_goes_on_under_the_lids_as_dark_as_it_is_at_their_edges():
    from talking_head.render.eyes import _completed

    y, x = np.mgrid[:60, :90] + 0.5
    clear = np.abs(y - 30) < 9 - 6 * ((x - 45) / 45) ** 2
    shade = 0.8 - 0.5 * np.abs(y - 30) / 9  # lids shade what is near them
    pixels = np.where(np.hypot(x - 45, y - 30) < 13, 0.5, 1.0)[..., None] * shade[..., None].repeat(3, 2)
    made = _completed(pixels.astype(np.float32), clear, np.array([45.0, 30.0]), 13.0).numpy()
    for column in (20, 45, 70):
        top = np.flatnonzero(clear[:, column])[0]
        assert np.abs(np.diff(made[0, top - 4 : top + 2, column])).max() < 0.06


def test_a_wide_eye_shows_a_whole_iris_and_white_around_it():
    from talking_head.render.eyes import _wide

    y, x = np.mgrid[:60, :90] + 0.5
    clear = (y > 26) & (y < 38 - 8 * ((x - 45) / 45) ** 2)  # the upper lid hides half of it
    pixels = np.where(np.hypot(x - 45, y - 30) < 13, 0.25, 0.45)[..., None].repeat(3, 2)  # a white that lids shade
    made = _wide(pixels.astype(np.float32), clear, np.array([45.0, 30.0]), 13.0, np.array([0.8, 0.6, 0.5])).numpy()
    middle, above, beside = made[:, 20, 45], made[:, 8, 45], made[:, 30, 70]
    assert np.abs(middle - 0.25).max() < 0.05
    assert min(above.mean(), beside.mean()) > 0.45 and np.ptp(above) < 0.2  # paler than skin


def test_brows_stay_above_the_eyes():
    drawn = copy(portrait())
    drawn.basis, drawn.brow_room = basis(), np.array([0.6, 0.6])  # cm
    low = drawn._lowered(coefficients({"browDown": 1.8, "noseSneer": 0.5}))
    assert low[side("browDown")].min() >= 0.5 and low[side("browDown")].max() < 1.4
    assert low[side("noseSneer")].min() == 0.5
    calm = coefficients({"browDown": 0.4, "noseSneer": 0.3})
    assert np.array_equal(drawn._lowered(calm), calm)


def open_mouth(jaw: float, teeth: bool = True):
    """The portrait with an open mouth drawn into it, and its landmarks where a tracker puts them: half as open."""
    from PIL import Image, ImageDraw

    points = face().landmarks.copy()
    points[OPENINGS[0][1][1:-1], 1] += jaw
    for row in (LOWER_LIP[1], LOWER_LIP[2]):
        points[row[1:-1], 1] += jaw
    shot = Image.fromarray(picture())
    pen = ImageDraw.Draw(shot)
    outline = lambda rows: [tuple(points[i, :2]) for i in (*rows[0], *rows[1][::-1])]
    pen.polygon(outline((UPPER_LIP[2], LOWER_LIP[2])), (190, 70, 70))
    pen.polygon(outline(OPENINGS[0]), (230, 225, 215) if teeth else (40, 10, 10))
    tracked = points.copy()
    tracked[OPENINGS[0][1][1:-1], 1] -= 0.4 * jaw
    return np.asarray(shot), points, tracked


@pytest.mark.parametrize("teeth", [True, False], ids=["teeth", "dark"])
def test_parted_lips_are_found_where_the_opening_ends(teeth):
    from talking_head.render import lips

    shot, points, tracked = open_mouth(24, teeth)
    found, inner = lips.found(shot, tracked), OPENINGS[0][1][2:-2]
    assert np.abs(found[inner, 1] - points[inner, 1]).max() < 4 < np.abs(tracked[inner, 1] - points[inner, 1]).max()
    moved = [*LOWER_LIP[0], *LOWER_LIP[1], *UPPER_LIP[0], *UPPER_LIP[1]]
    assert np.array_equal(np.delete(found, moved, 0), np.delete(tracked, moved, 0))
    assert np.array_equal(lips.found(picture(), face().landmarks), face().landmarks)  # closed


def test_parted_lips_close_over_what_they_showed_and_open_once():
    from talking_head.render.portrait import Portrait

    shot, _, tracked = open_mouth(24)
    mouth = Portrait(shot, face()._replace(landmarks=tracked, coefs=coefficients({"jawOpen": 0.3})), basis())
    rows, columns = slice(*tracked[[0, 17], 1].astype(int)), slice(*tracked[[82, 312], 0].astype(int))
    white = lambda frame: (frame[rows, columns].min(2) > 175).mean()
    assert white(shot) > 0.3 > 0.03 > white(mouth.frame(np.zeros(52, np.float32)))
    line = mouth.frame(coefficients({"jawOpen": 0.5}))[: int(tracked[152, 1]), int(tracked[13, 0])].astype(int)
    lip = line[int(tracked[0, 1]) :, 0] - line[int(tracked[0, 1]) :, 1] > 70  # red: lips, and nothing else in them
    edges = np.flatnonzero(np.diff(lip.astype(int)))
    assert len(edges) <= 5


def test_the_photographs_teeth_are_no_brighter_than_they_are():
    import torch

    from talking_head.render.inside import Inside

    shot, points, _ = open_mouth(24)
    box = torch.from_numpy(shot.copy()).permute(2, 0, 1).float() / 255
    flat = points[:, :2]
    seen = opening(flat[OPENINGS[0][0]], flat[OPENINGS[0][1]], shot.shape[1::-1], 2.0)
    inside = Inside(box, seen, box.flatten(1)[:, ::97], np.array([0.7, 0.5, 0.4]), 18.0, 0.0, -1.5, 3.0, 5.0)
    assert inside.teeth is not None and inside.teeth[3].max() > 0.9
    y, x = torch.meshgrid(
        torch.arange(*seen.rows.indices(9999)[:2]) + 0.5,
        torch.arange(*seen.columns.indices(9999)[:2]) + 0.5,
        indexing="ij",
    )
    made = inside._own_teeth(torch.zeros(3, *x.shape), torch.stack((x, y), -1))
    assert made.max() <= 230 / 255 + 1e-4
    tooth = inside.drawn.lower[:3, inside.drawn.lower[3] > 0.9].amax(1)
    assert (tooth / tooth.mean() - torch.tensor([230, 225, 215.0]) / 223.3).abs().max() < 0.05  # drawn ones match


def test_what_lies_deeper_in_a_mouth_moves_less_when_the_head_turns():
    seen = opening(*(portrait().project(portrait().points)[rows] for rows in OPENINGS[0]), portrait().size, 2.0)
    still, turned = (
        portrait()._plane(seen, portrait().inside.origin, matrix(np.array([0, yaw, 0])), np.zeros(3), np.zeros(2)).deep
        for yaw in (0.0, 0.3)
    )
    assert turned[0] < still[0] - 0.2 and abs(turned[1] - still[1]) < 0.1


def test_a_round_mouth_has_even_edges_and_two_sides_beyond_its_corners():
    turn = np.linspace(np.pi, 0, 11)
    upper, lower = (np.stack((50 + 20 * np.cos(turn), 50 + way * 30 * np.sin(turn)), 1) for way in (-1, 1))
    seen = opening(upper, lower, (100, 100), 20, aside=12)
    x, y = np.meshgrid(
        np.arange(seen.columns.start, seen.columns.stop) + 0.5, np.arange(seen.rows.start, seen.rows.stop) + 0.5
    )
    far = (np.hypot((x - 50) / 20, (y - 50) / 30) - 1) * 20  # pixels beyond the edge, at the sides
    inside = seen.inside.numpy()
    assert inside[far < -2.5].min() > 0.99 and inside[far > 2.5].max() < 0.01
    assert ((inside > 0.1) & (inside < 0.9))[np.abs(y - 50) < 15].sum() >= 30  # a soft pixel in each row, on both sides
    beyond = (x < 29) | (x > 71)
    assert seen.below.numpy()[beyond & (y > 54)].min() == 1 and seen.below.numpy()[beyond & (y < 46)].max() == 0
    tight = seen.tight()
    assert tight.inside.shape < seen.inside.shape and tight.inside.sum() == seen.inside.sum()


@pytest.mark.parametrize("spec", [{"jawOpen": 0.7}, {"jawOpen": 0.55, "mouthUpperUp": 0.7, "mouthLowerDown": 0.9}])
def test_sheets_are_inverted_where_a_mouth_opens_wide(spec, monkeypatch):
    import torch

    from talking_head.render import portrait as module

    kept = []

    def watched(shift, size):
        kept.append((shift, inverted(shift, size)))
        return kept[-1][1]

    monkeypatch.setattr(module, "inverted", watched)
    portrait().frame(coefficients(spec))
    (shift, off), size = kept[0], torch.tensor(portrait().size)
    field = (shift * 2 / size).permute(0, 3, 1, 2).contiguous()
    there = torch.nn.functional.grid_sample(
        field, places(96, 96) + off, padding_mode="border", align_corners=False
    ).permute(0, 2, 3, 1)
    far = ((there + off) * size / 2).norm(dim=-1)
    assert (far > 2).float().mean() < 0.004 and far.median() < 0.05
