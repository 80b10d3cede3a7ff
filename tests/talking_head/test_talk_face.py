"""Tracker and basis: what is found in a picture, what is refused, and how the linear face moves."""

import numpy as np
import pytest
import torch
from faces import basis, face, picture, tracker
from same import same_weights

from gen.errors import InputError
from talking_head.face import s3fd
from talking_head.face.convert import convert_mask, messages
from talking_head.face.graph import Graph
from talking_head.face.points import ARKIT, INDEX, MIRROR, coefficients
from talking_head.face.pose import matrix, similarity, vector


def test_one_face_where_it_is():
    (found,) = tracker().faces(picture())
    assert found.score > 0.9 and found.landmarks.shape == (478, 3)
    assert 60 < found.eye_distance < 160 and abs(found.yaw) < 30
    left, right = found.landmarks[33, 0], found.landmarks[263, 0]
    assert left < found.landmarks[1, 0] < right


def test_a_box_of_the_second_detector_leads_to_the_same_face():
    low, high = face().landmarks[:, :2].min(0), face().landmarks[:, :2].max(0)
    found = tracker()._from_box(picture(), s3fd.box(np.array([*low, *high, 0.9])))
    assert np.abs(found.landmarks - face().landmarks).max() < 0.1 * face().eye_distance


def test_the_second_detector_works_where_it_is_installed(tmp_path, monkeypatch):
    net = pytest.importorskip("face_alignment.detection.sfd.net_s3fd")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert s3fd.detect(picture()) == []  # no weights at hand
    s3fd.weights().parent.mkdir()
    torch.save(net.s3fd().state_dict(), s3fd.weights())
    assert all(one.size.min() > 0 for one in s3fd.detect(picture()[:64, :64]))


def test_a_mirrored_picture_gives_a_mirrored_face():
    found = tracker().face(np.ascontiguousarray(picture()[:, ::-1]))
    assert found.yaw == pytest.approx(-face().yaw, abs=4)
    assert np.abs(found.coefs - face().coefs[MIRROR]).mean() < 0.06


def test_a_turned_picture_gives_a_turned_face():
    found = tracker().face(np.ascontiguousarray(np.rot90(np.pad(picture(), ((40, 40), (40, 40), (0, 0))), 0)))
    assert found.landmarks[1, :2] == pytest.approx(face().landmarks[1, :2] + 40, abs=4)


def test_no_face_is_said():
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    with pytest.raises(InputError, match="no face"):
        tracker().face(noise)


def test_two_faces_must_be_chosen_among():
    both = np.concatenate((picture(), picture()), 1)
    with pytest.raises(InputError, match="say which"):
        tracker().face(both)
    assert tracker().face(both, 1).landmarks[1, 0] != tracker().face(both, 2).landmarks[1, 0]
    with pytest.raises(InputError, match="no face 3"):
        tracker().face(both, 3)


def test_a_small_face_is_refused():
    from PIL import Image

    small = np.asarray(Image.fromarray(picture()).resize((120, 120)))
    with pytest.raises(InputError, match="too small"):
        tracker().face(small)


def test_a_video_is_followed_and_a_lost_face_is_none():
    blank = np.zeros_like(picture())
    found = list(tracker().video([picture(), picture(), blank, picture()]))
    assert found[2] is None and np.abs(found[0].landmarks - found[1].landmarks).max() < 3


def test_basis_opens_and_closes_what_it_says():
    gap = lambda **values: float(basis().lip_gap(coefficients(values)))
    assert gap(jawOpen=0.5) > 1.0 and gap(jawOpen=0.5, mouthClose=0.5) < 0.3
    lid = basis().points(coefficients({"eyeBlinkLeft": 1}))[386] - basis().neutral[386]
    assert lid[1] < -0.5
    assert np.abs(basis().points(coefficients({"eyeBlinkLeft": 1}))[145] - basis().neutral[145]).max() < 0.2


def test_basis_is_symmetric():
    left, right = basis().deltas[INDEX["mouthSmileLeft"]], basis().deltas[INDEX["mouthSmileRight"]]
    assert np.abs(left[291] - right[61] * (-1, 1, 1)).max() < 1e-2


def test_straightening_undoes_pose():
    turn, points = matrix(np.array([0.1, -0.3, 0.2])), basis().points(coefficients({"jawOpen": 0.3}))
    shown = (7 * points @ turn.T + (100, 50, 3)) * (1, -1, -1)
    back = basis().straighten(shown)
    assert np.abs(back - points).max() < 1.0  # the mouth counts a little in the head's place


def test_similarity_is_found_again():
    random = np.random.default_rng(1)
    points, turn = random.normal(size=(20, 3)), matrix(np.array([0.4, 0.2, -0.7]))
    scale, rotation, shift = similarity(points, 2.5 * points @ turn.T + (1, 2, 3))
    assert scale == pytest.approx(2.5) and np.allclose(rotation, turn) and np.allclose(shift, (1, 2, 3))
    assert np.allclose(vector(turn), (0.4, 0.2, -0.7), atol=1e-6)


def test_names_are_arkits():
    assert len(set(ARKIT)) == 52 and ARKIT[0] == "eyeBlinkLeft" and ARKIT[17] == "jawOpen" and ARKIT[51] == "tongueOut"
    assert np.array_equal(MIRROR[MIRROR], np.arange(52))


def test_graph_pads_as_its_release_does(tmp_path):
    weight = torch.randn(16, 3, 3, 4)
    steps = [["conv", ["x", "w"], "y", {"stride": 2, "same": True}], ["relu", ["y"], "z", {}]]
    graph = Graph(steps, ["x"], ["z"], {"w": [16, 3, 3, 4]})
    graph.fill({"w": weight})
    x = torch.randn(1, 8, 8, 4)
    padded = torch.nn.functional.pad(x.permute(0, 3, 1, 2), (0, 1, 0, 1))
    exact = torch.nn.functional.conv2d(padded, weight.permute(0, 3, 1, 2), stride=2).relu().permute(0, 2, 3, 1)
    made = graph(x)[0]
    assert (made - exact).abs().max() < 0.05 * exact.abs().max()  # eight bits
    graph.save_pretrained(tmp_path)
    again = Graph.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    same_weights(again, graph)
    torch.testing.assert_close(again(x)[0], made, atol=1e-4, rtol=1e-4)


def test_protocol_buffers_are_read():
    assert list(messages(b"\x08\x96\x01\x12\x03abc\x1d\x00\x00\x80\x3f")) == [
        (1, 150),
        (2, b"abc"),
        (3, b"\x00\x00\x80?"),
    ]


def test_a_mask_is_converted_from_its_file_alone(tmp_path):
    from gen.errors import InputError

    (tmp_path / "selfie.tflite").write_bytes(b"PK\x03\x04no such thing")
    with pytest.raises(InputError, match="give selfie_segmentation"):
        convert_mask(tmp_path / "selfie.tflite", tmp_path / "out")


def test_a_decoder_enlarges_as_its_release_does():
    from talking_head.face.graph import OPERATIONS

    x = torch.arange(4.0).view(1, 2, 2, 1)
    wide = OPERATIONS["resize"](x, [4, 4])
    assert wide.shape == (1, 4, 4, 1) and wide[0, :, 0, 0].tolist() == [0.0, 0.5, 1.5, 2.0]
    kernel, bias = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 2, 2, 1), torch.tensor([10.0])
    made = OPERATIONS["unpooled"](x, kernel, bias)[0, ..., 0]
    assert made[2:, 2:].tolist() == [[13.0, 16.0], [19.0, 22.0]]
