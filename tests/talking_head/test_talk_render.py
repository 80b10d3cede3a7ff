"""The photograph moves as it is told, where it is told, and nowhere else."""

import numpy as np
import pytest
from faces import basis, face, picture, portrait, tracker

from talking_head.face.points import INDEX, coefficients
from talking_head.render import glasses, mesh
from talking_head.render.shading import fitted_light, harmonics
from talking_head.render.sheets import OPENINGS
from talking_head.render.warp import Photograph, inverted, places


def again(frame: np.ndarray) -> np.ndarray:
    return tracker().face(frame).coefs


def test_the_face_that_is_there_is_left_alone():
    off = np.abs(portrait().frame(portrait().own).astype(int) - picture())
    assert off.mean() < 1.0 and np.percentile(off, 99) < 16


def test_what_lies_outside_the_head_is_untouched():
    frame = portrait().frame(coefficients({"jawOpen": 0.6, "mouthSmile": 0.8}), np.array([0.05, 0.1, 0.05]))
    still = ~portrait().moving()
    assert np.abs(frame.astype(int) - picture())[still].max(initial=0) == 0


@pytest.mark.parametrize(
    ("name", "value", "least"), [("jawOpen", 0.8, 0.25), ("mouthSmile", 0.9, 0.3), ("eyeBlink", 1.0, 0.07)]
)  # through glasses
def test_a_tracker_sees_what_was_asked_for(name, value, least):
    column = [i for n, i in INDEX.items() if n.startswith(name)]
    rest, moved = (again(portrait().frame(coefficients({name: v})))[column].mean() for v in (0.0, value))
    assert moved > rest + least


def test_closed_lips_are_closed_whatever_the_rest_says():
    face_, open_ = portrait(), coefficients({"jawOpen": 0.4, "mouthUpperUp": 0.4, "mouthLowerDown": 0.4})
    upper, lower = OPENINGS[0]
    for closed, most in ((0.0, np.inf), (1.0, 1e-4)):
        points = face_.points + np.tensordot(open_ - face_.own, basis().deltas, 1)
        extra = face_._corrections(open_, points, closed)
        points = points + np.tensordot(extra, face_.moves[52:], 1)
        gap = (points[upper[1:-1], 1] - points[lower[1:-1], 1]).max()
        assert gap <= most and (closed or gap > 0.3)


def test_frames_repeat_and_survive_extremes():
    wild = np.random.default_rng(0).uniform(-0.1, 1.1, 52).astype(np.float32)
    turn = np.array([0.3, -0.4, 0.3])
    first, second = (portrait().frame(wild, turn) for _ in range(2))
    assert np.array_equal(first, second) and first.shape == picture().shape and first.std() > 10


def test_inversion_finds_where_a_stretch_comes_from():
    import torch

    g, size = 96, (300, 300)
    axis = (torch.arange(g) + 0.5) / g * size[1]
    down = 0.9 * axis.clamp(max=100)  # stretched to nearly double, then moved as a whole
    shift = torch.stack((torch.zeros(g, g), down[:, None].expand(g, g)), -1)[None]
    off = inverted(shift, size)[0, :, 48, 1]
    source = axis + off * 150
    seen = axis[axis < 185]
    assert (source[: len(seen)] - seen / 1.9).abs().max() < 2.0


def test_mesh_is_a_head_that_opens_its_mouth():
    still, wide = (mesh.frame(basis(), coefficients({"jawOpen": v}), np.zeros(3), 128) for v in (0.0, 0.7))
    assert still.shape == (128, 128, 3) and np.abs(still.astype(int) - wide)[60:].mean() > 1
    assert face().rotation.shape == (3, 3)


def test_glasses_are_seen_by_their_bridge():
    landmarks = face().landmarks
    assert glasses.seen(picture(), landmarks) == 1
    small = picture()[::2, ::2]
    assert glasses.seen(small, landmarks / 2) > 0.8
    bare, (x, y) = picture().copy(), landmarks[[168, 6], :2].mean(0).astype(int)
    bare[y - 60 : y + 60, x - 50 : x + 50] = bare[y + 60, x]
    assert glasses.seen(bare, landmarks) == 0
    assert glasses.seen(np.full((64, 64, 3), 128, np.uint8), landmarks / 8) == 0


def test_what_is_under_glasses_stays_while_lids_and_lips_move():
    free, worn = basis(), glasses.stiff(basis(), 1.0)
    way = lambda shapes, name, points: np.linalg.norm(shapes.deltas[INDEX[name]][points], axis=-1).mean()
    under, lid, lips = [52, 282, 168, 230], OPENINGS[1][0], OPENINGS[0][0]
    assert way(worn, "browInnerUp", under) < 0.2 * way(free, "browInnerUp", under)
    for name, points in (("eyeBlinkRight", lid), ("jawOpen", lips), ("mouthSmileLeft", lips)):
        assert way(worn, name, points) == way(free, name, points) > 0
    assert np.array_equal(glasses.stiff(basis(), 0.0).deltas, free.deltas)


def test_light_is_found_in_spite_of_what_is_no_skin():
    random = np.random.default_rng(0)
    normals = random.normal(size=(3000, 3))
    normals[:, 2] = np.abs(normals[:, 2])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    truth = np.array([0.8, 0.2, 0.4, -0.3, 0.05, 0.0, 0.03, 0.0, 0.02])
    bright = harmonics(normals) @ truth
    bright[random.random(3000) < 0.2] = 0.05  # a beard
    found = fitted_light(normals, bright, np.ones(3000))
    assert np.abs(harmonics(normals) @ (found - truth)).mean() < 0.04


def test_a_face_as_photographed_gets_no_shading():
    assert (portrait().shading(np.zeros(52)) - 1).abs().max() < 1e-5


def test_a_smile_folds_the_cheeks_and_leaves_eyes_and_mouth():
    import torch

    shading, flat = portrait().shading, portrait().project(portrait().points)
    factors = shading(coefficients({"mouthSmile": 1.0, "cheekSquint": 0.6})).mean(0)

    def at(points):
        place = torch.from_numpy(flat[points].astype(np.float32)) / torch.tensor(portrait().size) * 2 - 1
        place = shading.where(place, portrait().size)
        return torch.nn.functional.grid_sample(factors[None, None], place[None, None], align_corners=False)[0, 0, 0]

    assert at([206, 426]).mean() < 0.92  # beside the nose, where the cheek folds
    for contours in OPENINGS:
        assert (at(np.concatenate(contours)) - 1).abs().max() < 0.05


def test_a_shadow_on_overexposed_skin_is_not_gray():
    import torch

    from talking_head.render.portrait import Portrait

    pale = picture().astype(np.float32) / 255
    pale = (255 * np.clip(pale * 1.9, 0, 1)).astype(np.uint8)
    shading = Portrait(pale, face(), basis()).shading
    white = (shading.mask > 0.9) & (shading.power[2] > 1)
    assert white.sum() > 50
    dark = shading(coefficients({"mouthSmile": 1.0}))[:, white & (shading(coefficients({"mouthSmile": 1.0}))[1] < 0.95)]
    assert torch.all(dark[2] <= dark[0] + 1e-4)


@pytest.mark.parametrize("level", [0, 10, 255])
def test_covered_eyes_are_drawn_all_the_same(level):
    from PIL import Image, ImageDraw

    from talking_head.render.portrait import Portrait

    covered = Image.fromarray(picture())
    pen, landmarks = ImageDraw.Draw(covered), face().landmarks
    for corners in ((33, 133), (362, 263)):  # one even disc over each eye
        (x, y), radius = (
            landmarks[list(corners), :2].mean(0),
            0.9 * np.hypot(*np.diff(landmarks[list(corners), :2], axis=0)[0]),
        )
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), (level,) * 3)
    drawn = Portrait(np.asarray(covered), face(), basis())
    assert drawn.frame(coefficients({"eyeBlink": 1.0, "jawOpen": 0.3})).shape == picture().shape


def test_a_picture_moved_by_half_a_pixel_stays_sharp_and_one_that_rests_is_copied():
    import torch

    random = torch.Generator().manual_seed(0)
    noise = torch.rand(3, 64, 64, generator=random)
    smooth = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(noise[None], (1,) * 4, "replicate"), 3, 1)[0]
    taken, still = Photograph.of(smooth), torch.zeros(16, 16, 2)
    assert (taken.moved(places(64, 64), still) - smooth).abs().max() < 1e-6
    there = places(64, 64) + 1 / 64  # half a pixel each way
    read = lambda mode: torch.nn.functional.grid_sample(smooth[None], there[None], mode, "border", align_corners=False)[
        0
    ]
    edges = lambda picture: torch.nn.functional.conv2d(
        picture[:, None], torch.tensor([[[[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]]])
    )[..., 4:-4, 4:-4].var()
    moved = edges(taken.moved(there, still + 1 / 64))
    assert moved > 0.9 * edges(read("bicubic")) and moved > 1.3 * edges(read("bilinear"))


def test_where_a_picture_shrinks_fine_stripes_become_gray():
    import torch

    stripes = (torch.arange(120) % 2).float().expand(3, 120, 120).contiguous()
    off = 2 * places(24, 24)  # three pixels of the photograph in each of the frame
    seen = Photograph.of(stripes).moved(places(120, 120) * 3, off)[:, 42:78, 42:78]
    assert (seen - 0.5).abs().max() < 0.35


def test_threads_draw_the_same_frames_in_order():
    import torch

    from talking_head.motion.speaker import Motion
    from talking_head.render.film import film

    count, before = 15, torch.get_num_threads()
    motion = Motion(
        np.linspace(0, 0.6, count)[:, None] * coefficients({"jawOpen": 1.0, "mouthSmile": 1.0}),
        np.zeros((count, 3)),
        np.zeros(count),
    )
    made = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            made.append(np.stack(list(film(portrait(), motion))))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(made[0]) == len(made[1]) == count
    assert np.abs(made[0].astype(int) - made[1]).max() <= 1
    assert np.abs(np.diff(made[1].astype(int), axis=0)).max((1, 2, 3)).min() > 1


def masked() -> np.ndarray:
    """The portrait with a cloth over nose and mouth."""
    from PIL import Image, ImageDraw

    cloth, points = Image.fromarray(picture()), face().landmarks[:, :2]
    edge = (93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 347, 5, 118)
    ImageDraw.Draw(cloth).polygon([tuple(points[i]) for i in edge], (150, 180, 200))
    return np.asarray(cloth)


def test_a_mask_gets_no_mouth_cut_into_it():
    from talking_head.render.portrait import Portrait

    assert not portrait().covered
    portrayed = Portrait(masked(), face(), basis())
    assert portrayed.covered
    still, wide = (portrayed.frame(coefficients({"jawOpen": v, "browInnerUp": 0.5})).astype(int) for v in (0.0, 0.8))
    assert np.abs(wide - still).max() <= 1


def test_what_the_photograph_does_not_allow_is_said():
    from types import SimpleNamespace

    from gen.notes import collect
    from talking_head.motion.speaker import Motion
    from talking_head.pipeline import _say

    calm = Motion(np.zeros((5, 52)), np.zeros((5, 3)), np.zeros(5))
    glad = calm._replace(coefs=np.tile(coefficients({"mouthSmile": 0.8}), (5, 1)))
    for shown, motion, words in (
        ((True, False), calm, "covered"),
        ((False, True), calm, "smile"),
        ((False, True), glad, None),
        ((False, False), calm, None),
    ):
        with collect() as notes:
            _say(SimpleNamespace(covered=shown[0], broad=shown[1]), motion)
        assert len(notes) == (words is not None) and (words is None or words in notes[0])


def test_a_smile_that_is_asked_for_again_is_the_one_in_the_photograph():
    from talking_head.render.own import own_expression
    from talking_head.render.portrait import Portrait

    had, own = own_expression(coefficients({"mouthSmile": 0.8}))
    assert own[INDEX["mouthSmileLeft"]] > had[INDEX["mouthSmileLeft"]] > 0 and own[INDEX["cheekSquintLeft"]] > 0.5
    smiling = Portrait(picture(), face()._replace(coefs=coefficients({"mouthSmile": 0.8})), basis())
    assert np.allclose(smiling._taken(smiling.had), smiling.had)
    assert np.allclose(smiling._taken(np.zeros(52)), smiling.own)


def test_a_portrait_in_grays_gets_a_gray_mouth():
    from talking_head.render.portrait import Portrait

    gray = np.repeat(picture().mean(2, keepdims=True).astype(np.uint8), 3, 2)
    frame = Portrait(gray, face(), basis()).frame(coefficients({"jawOpen": 0.8, "mouthLowerDown": 0.8})).astype(int)
    assert np.ptp(frame, axis=2).max() <= 2
    assert portrait().inside.drawn.cavity[0] > 1.5 * portrait().inside.drawn.cavity[2]


def test_a_lid_that_closes_takes_its_lashes_along():
    from talking_head.render.portrait import Portrait

    marked, points = picture().copy(), face().landmarks[:, :2]
    contour = OPENINGS[1][0]
    for x, y in points[contour][2:-2]:  # a green line of lashes
        marked[int(y) - 2 : int(y) + 1, int(x) - 4 : int(x) + 5] = (0, 255, 0)
    drawn = Portrait(marked, face(), basis())
    drawn.worn = 0.0
    green = lambda frame: (frame[..., 1].astype(int) - frame[..., [0, 2]].max(2) > 40).nonzero()[0]
    open_, shut = (green(drawn.frame(coefficients({"eyeBlinkRight": v}))) for v in (0.0, 1.0))
    height = points[OPENINGS[1][1]][4, 1] - points[contour][4, 1]
    assert shut.max() - np.median(open_) > 0.6 * height and shut.mean() - open_.mean() > 0.2 * height


@pytest.mark.parametrize("crop", ["head", "shoulders", "whole"])
@pytest.mark.parametrize(
    ("aspect", "shape"), [("1:1", (256, 256)), ("9:16", (456, 256)), ("16:9", (256, 456)), ("source", (320, 256))]
)
def test_a_frame_holds_the_face_at_every_aspect(crop, aspect, shape):
    from talking_head.frame import framed

    wide = np.zeros((500, 400, 3), np.uint8)
    placed = face()._replace(landmarks=face().landmarks * 150 / np.ptp(face().landmarks[:, 1]))
    placed = placed._replace(landmarks=placed.landmarks - (*placed.landmarks[:, :2].mean(0) - (200, 200), 0))
    seen, there = framed(wide, placed, 256, aspect, crop)
    assert seen.shape[:2] == shape
    assert (there.landmarks[:, :2] > 0).all() and (there.landmarks[:, :2] < shape[::-1]).all()


def test_a_frame_that_would_cut_the_face_is_refused():
    from gen.errors import InputError
    from talking_head.frame import framed

    tall = np.zeros((900, 200, 3), np.uint8)
    placed = face()._replace(landmarks=face().landmarks * 190 / np.ptp(face().landmarks[:, 1]))
    placed = placed._replace(landmarks=placed.landmarks - (*placed.landmarks[:, :2].mean(0) - (100, 400), 0))
    with pytest.raises(InputError, match="cut the face"):
        framed(tall, placed, 256, "16:9")


@pytest.mark.parametrize("fps", [25, 30, 50, 60])
def test_another_frame_rate_keeps_the_time_of_each_movement(fps):
    from talking_head.motion.speaker import at_rate

    seconds = (np.arange(50) + 0.5) / 25  # the middles of the frames
    made = at_rate(seconds[:, None], fps)[:, 0]
    middles = (np.arange(2 * fps) + 0.5) / fps
    np.testing.assert_allclose(made, middles.clip(seconds[0], seconds[-1]), atol=1e-12)


def test_the_upper_lip_moves_as_skin_and_not_as_teeth():
    from talking_head.face.points import INNER_UPPER_LIP, side

    sneer = basis().deltas[side("noseSneer")].sum(0)[INNER_UPPER_LIP]
    assert np.linalg.norm(np.diff(sneer, axis=0), axis=-1).max() < 0.5  # cm from one point to the next
