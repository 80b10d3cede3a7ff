"""Life, closed lips, windows, exports: motion before it is drawn."""

import csv
import io
import json
import struct

import node
import numpy as np
import pytest
import torch
from faces import LINE, basis, expression, networks, speaker, tone
from hypothesis import given, settings
from hypothesis import strategies as st
from node import needs
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks
from scipy.spatial.transform import Rotation

from gen import media
from gen.emotion.spec import EmotionCurve
from gen.emotion.track import plain
from gen.marks.digest import NONE
from gen.marks.verify import verify
from talking_head import export
from talking_head.face.points import (
    ARKIT,
    INDEX,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
    coefficients,
)
from talking_head.face.tracker import Face
from talking_head.motion import life
from talking_head.motion import speaker as speakers
from talking_head.motion.emote import speaker as emote_speaker
from talking_head.motion.emote.speaker import EmoteSpeaker
from talking_head.motion.speaker import Motion, sealed
from talking_head.motion.speech import log_mel

NEUTRAL = EmotionCurve.parse("neutral")


def test_blinks_come_at_human_rates_and_all_the_way():
    shut = life.blinks(25 * 600, np.zeros(25 * 600), np.random.default_rng(0))
    count = int(((shut[1:] > 0.5) & (shut[:-1] <= 0.5)).sum())
    assert 100 < count < 260 and shut.max() == 1 and shut.mean() < 0.15


def test_blinks_wait_for_pauses():
    level = np.ones(25 * 300)
    level[::12] = 0
    starts = np.flatnonzero(np.diff((life.blinks(len(level), level, np.random.default_rng(0)) > 0.3).astype(int)) > 0)
    assert np.mean((starts % 12 < 2) | (starts % 12 > 9)) > 0.8


@pytest.mark.parametrize("seed", range(5))
def test_stresses_are_the_peaks_that_stand_out(seed):
    level = gaussian_filter1d(np.random.default_rng(seed).random(400), 2.0)
    level = (level - level.min()) / np.ptp(level)
    peaks, facts = find_peaks(gaussian_filter1d(level, 2.0), prominence=0.15, distance=9)
    bumps = np.zeros(len(level))
    bumps[peaks] = facts["prominences"]
    np.testing.assert_allclose(life.stresses(level), gaussian_filter1d(bumps, 3.0) * 7.5)


def test_the_head_keeps_within_reason_and_nods():
    level = (np.arange(1500) % 50 < 8).astype(float)
    turns = life.head(1500, level, np.eye(8)[[0] * 1500], None, np.random.default_rng(0))
    assert np.abs(turns).max() < 0.35 and np.abs(np.diff(turns, axis=0)).max() < 0.05
    assert (
        life.head(1500, level, np.eye(8)[[2] * 1500], None, np.random.default_rng(0))[:, 0].mean()
        > turns[:, 0].mean() + 0.05
    )


def test_the_seed_decides():
    made = [speaker().speak(tone(3.0), NEUTRAL, seed=seed) for seed in (1, 1, 2)]
    assert all(np.array_equal(a, b) for a, b in zip(made[0], made[1]))
    assert not np.array_equal(made[0].turns, made[2].turns)


def test_no_blinks_and_a_still_head_when_asked_for():
    made, lively = (speaker().speak(tone(6.0), NEUTRAL, head_motion=m, blinks=bool(m)) for m in (0, 1))
    assert not made.turns.any() and lively.turns.std() > 0.005
    changed = np.abs(made.coefs - lively.coefs).max(0) > 0.01
    assert changed.any() and all(ARKIT[i].startswith(("eyeBlink", "eyeLook")) for i in np.flatnonzero(changed))


@given(st.integers(1, 90_000))
@settings(max_examples=12)
def test_as_many_frames_as_the_sound_has(samples):
    made = speaker().speak(np.zeros(samples, np.float32), NEUTRAL)
    assert [len(part) for part in made] == [max(1, round(samples / 640))] * 3
    assert np.isfinite(made.coefs).all()


def test_windows_are_one_pass_but_at_seams(monkeypatch):
    rows = log_mel(tone(12.0))
    whole = speaker().from_rows(rows, NEUTRAL).coefs
    monkeypatch.setattr(emote_speaker, "WINDOW", 128)
    monkeypatch.setattr(emote_speaker, "OVERLAP", 64)
    parts = speaker().from_rows(rows, NEUTRAL).coefs
    assert np.abs(parts - whole).mean() < 0.25 * whole.std()
    assert np.abs(np.diff(parts, axis=0)).max() < 2 * np.abs(np.diff(whole, axis=0)).max()


def test_sealed_lips_meet_and_open_ones_are_left():
    coefs = np.stack([coefficients({"jawOpen": 0.3, "mouthUpperUp": 0.4, "mouthSmile": 0.8})] * 3)
    made = sealed(coefs, np.array([0.0, 0.5, 1.0]), basis())
    gaps = basis().lip_gap(made)
    assert np.array_equal(made[0], coefs[0]) and gaps[0] > gaps[1] > gaps[2] and abs(gaps[2]) < 1e-3
    assert made[2, INDEX["mouthSmileLeft"]] == coefs[2, INDEX["mouthSmileLeft"]]


def test_an_expression_gives_way_until_the_lips_are_as_open_as_in_speech():
    speech = np.stack([coefficients({"jawOpen": 0.1, "mouthClose": value}) for value in (0.02, 0.1)])
    shown = speech + coefficients({"jawOpen": 0.4, "mouthUpperUp": 0.5, "mouthSmile": 0.6})
    made = sealed(shown, np.ones(2), basis(), speech)
    np.testing.assert_allclose(basis().lip_gap(made), basis().lip_gap(speech).clip(0, None), atol=1e-3)
    assert np.array_equal(sealed(speech, np.ones(2), basis(), speech), speech)
    assert (made[:, INDEX["mouthSmileLeft"]] == shown[:, INDEX["mouthSmileLeft"]]).all()


@pytest.mark.parametrize("level", [0.0, 2e-4, 1e-2])
def test_where_nobody_speaks_lips_are_closed_and_still(level):
    hiss = np.random.default_rng(0).normal(0, 1, 48_000) * level
    made = speaker().speak(hiss.astype(np.float32), NEUTRAL, head_motion=0, blinks=False)
    mouth = [i for name, i in INDEX.items() if name.startswith(("jaw", "mouth"))]
    assert np.abs(made.coefs[:, mouth]).max() < 0.05 and np.abs(np.diff(made.coefs[:, mouth], axis=0)).max() < 0.01


def test_lips_close_in_a_noisy_pause():
    hiss = np.random.default_rng(0).normal(0, 3e-3, 96_000)
    said = tone(3.0) * (1 + np.sin(np.arange(48_000) / 1_000))  # words
    made = speaker().speak((np.pad(said, (0, 48_000)) + hiss).astype(np.float32), NEUTRAL, head_motion=0, blinks=False)
    mouth = [i for name, i in INDEX.items() if name.startswith(("jaw", "mouth"))]
    assert np.abs(made.coefs[87:, mouth]).max() < 0.05 < np.abs(made.coefs[:75, mouth]).max()


@pytest.mark.parametrize("seed", range(6))
def test_every_clip_of_three_seconds_blinks(seed):
    made = speaker().speak(tone(3.2), NEUTRAL, head_motion=0, seed=seed)
    assert made.coefs[:, [INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]].max(0).min() > 0.9


def test_the_mouth_goes_as_far_as_asked_at_the_same_time():
    shipped, heard = EmoteSpeaker.load(["emote-compact"], basis()), media.read_audio(LINE, 16_000)[0]
    less, more = (shipped.speak(heard, NEUTRAL, mouth=m, blinks=False).coefs[:, INDEX["jawOpen"]] for m in (0.5, 1.0))
    assert np.corrcoef(less, more)[0, 1] > 0.97 and more.std() / less.std() == pytest.approx(2, rel=0.15)


def test_lips_are_ahead_of_the_sound():
    rows = torch.arange(40.0)[:, None].expand(40, 80)
    early = speakers.ahead(rows)
    assert early.shape == rows.shape and early[0, 0] == speakers.LEAD and early[-1, 0] == 39
    assert speakers.ahead(rows[:2]).shape == (2, 80)


def test_emote_runs_where_it_is():
    speech, emote = (type(m)(**{k: v for k, v in m.config.items() if k[0] != "_"}).to("meta") for m in networks())
    subject = EmoteSpeaker(speech, emote, expression(), basis())
    hear = subject._ears(torch.zeros(40, 80), None)
    features, closed = hear(slice(0, 10))
    tokens = emote.emotion(
        **{k: v.to("meta") for k, v in emote.emotion.prepare([plain(np.eye(8), np.ones(8))]).items()}
    )
    assert emote(features[:, :8], tokens.tokens, torch.zeros(1, dtype=torch.long, device="meta")).device.type == "meta"
    assert closed.device.type == "meta"


def test_silence_keeps_the_lips_out_of_it():
    assert not speakers.loudness(log_mel(np.zeros(32_000, np.float32))).any()
    assert speakers.loudness(log_mel(tone(2.0))).max() == 1


@pytest.fixture
def motion() -> Motion:
    random = np.random.default_rng(0)
    return Motion(random.random((30, 52)), random.normal(0, 0.1, (30, 3)), np.zeros(30))


def test_arkit_csv_has_live_links_columns(tmp_path, motion):
    path = tmp_path / "x.arkit.25fps.csv"
    export.arkit_csv(path, motion, basis(), {"ai_generated": True})
    with path.open() as file:
        head, *rows = list(csv.reader(file))
    assert len(rows) == 30 and len(head) == 2 + 61 and {len(row) for row in rows} == {63}
    assert head[2] == "EyeBlinkLeft" and head[54:57] == ["HeadYaw", "HeadPitch", "HeadRoll"]
    assert rows[26][0] == "00:00:01:01.000" and rows[0][1] == "61"
    assert float(rows[4][2 + INDEX["jawOpen"]]) == pytest.approx(motion.coefs[4, INDEX["jawOpen"]], abs=1e-5)
    facts = json.loads((tmp_path / "x.arkit.25fps.csv.json").read_text())
    assert facts["ai_generated"] and facts["motion"] == {"fps": 25, "frames": 30}
    assert export.ENDINGS["arkit"] == ".arkit.25fps.csv"


def test_head_angles_are_those_of_single_turns():
    angles = export.head_angles(np.diag([0.2, 0.3, 0.1]))
    assert np.allclose(angles[[0, 1, 2], [1, 0, 2]], (0.2, 0.3, 0.1), atol=1e-6)
    assert np.abs(angles).sum() == pytest.approx(0.6, abs=1e-6)


def glb(path, motion, look=None):
    export.glb_file(path, motion, basis(), {"ai_generated": True}, look)
    raw = path.read_bytes()
    magic, version, size, length, kind = struct.unpack_from("<IIIII", raw)
    assert (magic, version, size, kind) == (0x46546C67, 2, len(raw), 0x4E4F534A)
    scene, data = json.loads(raw[20 : 20 + length]), raw[28 + length :]
    assert len(data) == scene["buffers"][0]["byteLength"]

    def values(accessor: int) -> np.ndarray:
        facts = scene["accessors"][accessor]
        view = scene["bufferViews"][facts["bufferView"]]
        kind = {5126: np.float32, 5125: np.uint32}[facts["componentType"]]
        return np.frombuffer(data, kind, view["byteLength"] // 4, view["byteOffset"]).reshape(facts["count"], -1)

    return scene, values


def pictured():
    """A face that the tracker could have found in a picture: the basis's own, smiling."""
    smile = np.zeros(52, np.float32)
    smile[[INDEX["mouthSmileLeft"], INDEX["mouthSmileRight"]]] = 0.8
    landmarks = basis().points(smile) * (16, -16, -16) + (150, 160, 0)
    picture = np.random.default_rng(0).integers(0, 255, (320, 300, 3), dtype=np.uint8)
    return picture, Face(landmarks, smile, np.eye(3), 1.0)


def test_glb_holds_the_animation(tmp_path, motion):
    scene, values = glb(tmp_path / "x.glb", motion)
    assert scene["meshes"][0]["extras"]["targetNames"] == list(ARKIT)
    moves = scene["animations"][0]
    tracks = {
        (scene["nodes"][c["target"]["node"]]["name"], c["target"]["path"]): moves["samplers"][c["sampler"]]
        for c in moves["channels"]
    }
    assert tracks.keys() == {
        ("neck", "rotation"),
        ("skin", "weights"),
        ("left eye", "rotation"),
        ("right eye", "rotation"),
        ("lower teeth", "translation"),
    }
    weights = values(tracks["skin", "weights"]["output"]).reshape(31, 52)
    assert np.allclose(weights[:30], motion.coefs) and (weights[30] == weights[29]).all()
    assert scene["accessors"][tracks["neck", "rotation"]["input"]]["max"] == [pytest.approx(30 / 25)]


def test_glb_wears_the_portrait(tmp_path, motion):
    picture, face = pictured()
    scene, values = glb(tmp_path / "x.glb", motion, lambda: (picture, face))
    skin = scene["meshes"][0]["primitives"][0]
    places, normals = (values(skin["attributes"][name]) for name in ("TEXCOORD_0", "NORMAL"))
    assert np.allclose(places, face.landmarks[:468, :2] / (300, 320), atol=1e-6)
    assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5) and (normals[:, 2] > -0.2).mean() > 0.95
    points = values(skin["attributes"]["POSITION"])
    apart = points[INNER_UPPER_LIP[1:-1], 1] - points[INNER_LOWER_LIP[1:-1], 1]
    assert np.abs(apart).max() < 1e-6  # the smile is taken off, and the lips meet
    one = scene["images"][0]
    view = scene["bufferViews"][one["bufferView"]]
    raw = (tmp_path / "x.glb").read_bytes()
    begin = 28 + struct.unpack_from("<I", raw, 12)[0] + view["byteOffset"]
    with Image.open(io.BytesIO(raw[begin : begin + view["byteLength"]])) as texture:
        assert texture.size == (300, 320)


def test_lids_meet_where_an_eye_is_shut(tmp_path, motion):
    picture, face = pictured()
    scene, values = glb(tmp_path / "x.glb", motion, lambda: (picture, face))
    skin = scene["meshes"][0]["primitives"][0]
    points = values(skin["attributes"]["POSITION"])
    lids = {"eyeBlinkLeft": (LEFT_EYE_UPPER, LEFT_EYE_LOWER), "eyeBlinkRight": (RIGHT_EYE_UPPER, RIGHT_EYE_LOWER)}
    for name, (upper, lower) in lids.items():
        moved = points + values(skin["targets"][INDEX[name]]["POSITION"])
        assert np.abs(moved[upper, 1] - moved[lower, 1]).max() < 1e-5


@needs("gltf-validator")
def test_the_validator_finds_nothing_wrong(tmp_path, motion):
    for look in (None, pictured):
        glb(tmp_path / "x.glb", motion, look)
        found = node.run("gltf.mjs", tmp_path / "x.glb")
        assert found["issues"]["numErrors"] == found["issues"]["numWarnings"] == 0, found["issues"]


@needs("three")
def test_three_plays_it(tmp_path, motion):
    glb(tmp_path / "x.glb", motion, pictured)
    seen = node.run("three.mjs", tmp_path / "x.glb")
    assert seen["duration"] == pytest.approx(30 / 25) and seen["targets"] == list(ARKIT)
    assert seen["normals"] and seen["uvs"] and len(seen["tracks"]) == 5
    assert seen["nodes"] == ["skin", "left_eye", "right_eye", "upper_teeth", "lower_teeth", "mouth"]


def test_bvh_turns_the_head(tmp_path, motion):
    export.bvh(tmp_path / "x.head.bvh", motion, basis(), {"ai_generated": True})
    head, rows = (tmp_path / "x.head.bvh").read_text().split("Frame Time: 0.040000\n")
    assert head.startswith("HIERARCHY\nROOT Head") and "Frames: 30" in head
    values = np.array([row.split() for row in rows.splitlines()], float)
    turned = Rotation.from_euler("ZXY", values[:, 3:], degrees=True).as_rotvec()
    assert np.allclose(turned, motion.turns, atol=1e-5) and not values[:, :3].any()
    assert verify(tmp_path / "x.head.bvh")["digest"] == "fits"


@pytest.mark.parametrize("name", ["arkit", "json", "glb", "bvh"])
def test_a_changed_byte_of_an_export_is_found(tmp_path, motion, name):
    path = tmp_path / f"x{export.ENDINGS[name]}"
    export.WRITERS[name](path, motion, basis(), {"ai_generated": True, "digest": NONE})
    assert verify(path)["digest"] == "fits" and not verify(path)["altered"]
    data = bytearray(path.read_bytes())
    at = data.rindex(b"7")  # a digit of a number, or a byte of one
    data[at : at + 1] = b"8"
    path.write_bytes(data)
    assert verify(path)["altered"] == ["its hash differs"]


def test_json_reads_back(tmp_path, motion):
    export.motion_json(tmp_path / "x.motion.json", motion, basis(), {})
    found = json.loads((tmp_path / "x.motion.json").read_text())
    assert found["fps"] == 25 and np.allclose(found["coefficients"], motion.coefs, atol=1e-4)


def test_networks_are_deterministic():
    speech, _ = networks()
    x = torch.randn(1, 40, 80)
    assert torch.equal(speech(x)[0], speech(x)[0])
