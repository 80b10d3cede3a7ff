"""The Whisper voice encoder of the embedding: the space is unchanged; missing weights name the command to run."""

import numpy as np
import pytest
import torch

from gen import checkpoints
from gen.emotion.embedding import ear, features
from gen.emotion.embedding.perceive import perceive
from gen.emotion.spec import EmotionCurve
from gen.errors import CheckpointError, InputError
from gen.media import write_audio


def numbers(vector: int = 8) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    shapes = {
        "voice.into.weight": (vector, ear.SIZE),
        "voice.into.bias": (vector,),
        "heard.0.weight": (128, 2 * vector + 1),
        "heard.0.bias": (128,),
        "heard.3.weight": (128, 128),
        "heard.3.bias": (128,),
        "outside.weight": (1, vector),
        "outside.bias": (1,),
        "vector_centre": (vector,),
        "vector_scale": (vector,),
    }
    return {name: 0.1 * torch.randn(shape) for name, shape in shapes.items()} | {"temperature": torch.ones(3)}


@torch.no_grad()
def test_faces_and_music_are_unchanged():
    plain = ear.embedder()
    other = ear.fitted(plain, numbers())
    for name in ("face", "music"):
        steps = torch.randn(2, 9, features.SIZES[name]), torch.ones(2, 9, dtype=torch.bool)
        torch.testing.assert_close(other(**{name: steps}).mu, plain(**{name: steps}).mu)
    voices = torch.randn(3, 1, ear.SIZE), torch.ones(3, 1, dtype=torch.bool)
    assert other(voice=voices).mu.shape == (3, 256)
    assert other.read(other(voice=voices).mu).terms.std(0).max() > 0


def test_pooled_blocks_are_means_and_deviations():
    blocks = [np.full((5, 512), float(k)) for k in range(6)]
    found = ear.pooled(blocks)
    assert found.shape == (ear.SIZE,)
    np.testing.assert_array_equal(found.reshape(5, 2, 512)[:, 0, 0], [1, 2, 3, 4, 5])
    assert not found.reshape(5, 2, 512)[:, 1].any()


def test_missing_weights_name_the_command(tmp_path, monkeypatch):
    write_audio(tmp_path / "a.wav", 0.1 * np.sin(np.arange(32_000) * 0.1).astype(np.float32)[None], 16_000)
    ours = checkpoints.roots()[0]
    monkeypatch.setattr(checkpoints, "roots", lambda: [ours])
    ear.embedder.cache_clear()
    with pytest.raises(CheckpointError, match="affekt checkpoints pull whisper-base"):
        perceive(tmp_path / "a.wav", ear="whisper")
    with pytest.raises(InputError, match="unknown voice encoder 'cat'"):
        perceive(tmp_path / "a.wav", ear="cat")


def test_a_curve_selects_the_voice_encoder():
    assert EmotionCurve.parse({"from": "a.wav"}).ear == "compact"
    assert EmotionCurve.parse({"from": "a.wav", "ear": "whisper"}).ear == "whisper"
    with pytest.raises(InputError, match="ear"):
        EmotionCurve.parse({"from": "a.wav", "ear": "dog"})
