"""FLAME's files at small size, and motion there and back."""

import collections
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from faces import basis, tone
from safetensors.torch import save_file

from gen.emotion.spec import EmotionCurve
from gen.errors import InputError
from talking_head import export
from talking_head.face.flame import INNER, Flame, FlameAdapter, convert
from talking_head.face.points import INDEX, coefficients
from talking_head.motion.emote.model import Emote
from talking_head.motion.emote.upstream import UpstreamSpeaker, Wav2Vec
from talking_head.motion.speaker import Motion


class Ch:
    """Stands for chumpy's arrays, which the release is pickled with."""

    def __init__(self, x):
        self.x = x


def release(folder, monkeypatch):
    """A FLAME whose vertices are our 51 landmarks: expressions are movements of ours, the chin moves with the jaw."""
    chumpy = types.ModuleType("chumpy.ch")
    chumpy.Ch, Ch.__module__, Ch.__qualname__ = Ch, "chumpy.ch", "Ch"
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", chumpy)
    template = basis().neutral[INNER] / 100
    shapes = np.zeros((51, 3, 310))
    for i, name in enumerate(("mouthSmileLeft", "browInnerUp", "mouthPucker", "browDownLeft")):
        shapes[:, :, 300 + i] = basis().deltas[INDEX[name]][INNER] / 100
    joints = np.full((5, 51), 1 / 51)
    weights = np.zeros((51, 5))
    weights[:, 2] = basis().deltas[INDEX["jawOpen"]][INNER][:, 1].clip(None, 0) / -3
    model = {
        "v_template": Ch(template),
        "shapedirs": Ch(shapes),
        "J_regressor": joints,
        "weights": weights,
        "f": np.stack([np.arange(51)] * 3, 1).astype(np.uint32),
        "evil": collections.Counter(),
    }
    (folder / "generic_model.pkl").write_bytes(pickle.dumps(model, protocol=2))
    spots = {"static_lmk_faces_idx": np.arange(51), "static_lmk_bary_coords": np.tile([1.0, 0, 0], (51, 1))}
    np.save(folder / "landmark_embedding.npy", np.array(spots, dtype=object), allow_pickle=True)
    return folder


def test_motion_goes_to_flame_and_back(tmp_path, monkeypatch):
    convert(release(tmp_path, monkeypatch), tmp_path / "flame")
    flame = Flame.load(str(tmp_path / "flame"))
    assert flame.expressions.shape == (51, 3, 10) and flame.moves().shape == (13, 51, 3)
    adapter = FlameAdapter(flame, basis())
    asked = np.stack([coefficients({"browInnerUp": 0.8}), coefficients({"mouthPucker": 0.7})])
    expression, jaw = adapter.flame(asked)
    assert expression.shape == (2, 10) and jaw.shape == (2, 3)
    assert expression[0].argmax() == 1 and expression[1].argmax() == 2
    again = adapter.arkit(expression, jaw)
    assert again[0, INDEX["browInnerUp"]] > 0.3 and again[1].argmax() == INDEX["mouthPucker"]


def test_what_is_written_has_a_row_a_frame(tmp_path, monkeypatch):
    convert(release(tmp_path, monkeypatch), tmp_path / "flame")
    motion = Motion(np.zeros((5, 52), np.float32), np.zeros((5, 3), np.float32), np.zeros(5))
    export.flame_npz(tmp_path / "m.npz", motion, basis(), {"x": 1}, str(tmp_path / "flame"))
    with np.load(tmp_path / "m.npz", allow_pickle=False) as made:
        assert made["expression"].shape == (5, 10) and made["pose"].shape == (5, 6) and not made["expression"].any()


def test_the_published_emote_speaks_through_flame(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    config = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    torch.manual_seed(0)
    save_file(transformers.Wav2Vec2Model(config).state_dict(), tmp_path / "audio.safetensors")
    ears = Wav2Vec.load(str(tmp_path), config)
    assert ears(torch.randn(16_000)).shape == (1, 25, 16)
    convert(release(tmp_path, monkeypatch), tmp_path / "flame")
    adapter = FlameAdapter(Flame.load(str(tmp_path / "flame"), 10), basis())
    emote = Emote(
        speech=16, dim=16, heads=2, ffn=16, features=13, prior=16, prior_ffn=16, styles=3, conditioner={"name": "emote"}
    )
    subject = UpstreamSpeaker(ears, emote, adapter, basis())
    made = subject.speak(tone(22.3), EmotionCurve.parse("happy"))  # longer than a window
    assert made.coefs.shape == (558, 52) and np.isfinite(made.coefs).all()
    assert np.array_equal(made.coefs, subject.speak(tone(22.3), EmotionCurve.parse("happy")).coefs)


def test_a_folder_without_a_model_is_said(tmp_path):
    with pytest.raises(InputError, match=r"generic_model\.pkl"):
        convert(tmp_path, tmp_path / "out")
