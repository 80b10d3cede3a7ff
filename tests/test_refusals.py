"""Upstream weights of another architecture are refused in one sentence that names the first wrong keys."""

import json
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from gen.convert import convert
from gen.errors import AffektError

SCORE = "estimator.cond_block.0.weight"


def lightning(path, state: dict) -> None:
    torch.save({"state_dict": state, "hyper_parameters": {"post_bug_fix": True}}, path)


def plain(path, state: dict) -> None:
    torch.save(state, path)


def broken(path, state: dict) -> None:
    path.write_bytes(b"not weights at all")


def words(path, state: dict) -> None:
    path.write_text("hello")  # which a pickle reads as a reference to nothing


LAYOUTS = [
    # converter, file, writer, state, expected words of the message
    ("flint", "last.ckpt", lightning, {"a": torch.ones(2)}, "decoder.smooth.weight"),
    ("flint", "last.ckpt", broken, {}, "not a training checkpoint"),
    ("emote", "last.ckpt", lightning, {"a": torch.ones(2)}, "sequence_decoder.obj_vector.map.weight"),
    ("emote", "other.txt", broken, {}, "no .ckpt in"),
    ("diffvc", "vc.pt", plain, {"a": torch.ones(2)}, "neither an encoder nor an estimator"),
    ("diffvc", "vc.pt", plain, {SCORE: torch.ones(4, 4)}, "mlp.0.weight"),
    ("diffvc", "vc.pt", broken, {}, "has no plain weights"),
    ("hifigan", "g_1", words, {}, "has no plain weights"),
    ("music-faders", "music_attr_vae_reg_gmm.pt", words, {}, "has no plain weights"),
    ("person-mask", "other.tflite", broken, {}, "not a TensorFlow Lite file"),
    ("hifigan", "g_1", plain, {"generator": {"conv_pre.weight": torch.ones(8, 80, 7)}}, "residual blocks"),
    ("hifigan", "g_1", plain, {"generator": {"resblocks.0.convs1.0.weight": torch.ones(8, 8, 3)}}, "conv_pre.weight"),
    ("speaker", "pretrained.pt", plain, {"a": torch.ones(2)}, "model_state"),
    ("speaker", "pretrained.pt", plain, {"model_state": {"a": torch.ones(2)}}, "lstm.weight_hh_l0"),
    ("dice-talk", "unet.pth", plain, {"a": torch.ones(2)}, "unet/config.json"),
    ("sonic", "unet.pth", plain, {"a": torch.ones(2)}, "unet/config.json"),
    ("muser", "net.pt", plain, {"a": torch.ones(2)}, "VQ.embeddings"),
    ("flame", "generic_model.pkl", broken, {}, "landmark_embedding.npy"),
]


@pytest.mark.parametrize(("name", "file", "write", "state", "named"), LAYOUTS, ids=range(len(LAYOUTS)))
def test_another_architecture_is_refused_in_one_sentence(tmp_path, name, file, write, state, named):
    source = tmp_path / "release"
    source.mkdir()
    write(source / file, state)
    with pytest.raises(AffektError) as refused:
        convert(name, source if name not in ("diffvc", "hifigan", "speaker") else source / file, tmp_path / "out")
    sentence = str(refused.value)
    assert named in sentence and "\n" not in sentence and len(sentence) < 600
    assert not (tmp_path / "out").exists()


def test_a_unet_of_another_version(tmp_path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps({"num_attention_heads": [1, 2]}))
    torch.save({"a": torch.ones(2)}, tmp_path / "unet.pth")
    with pytest.raises(AffektError, match=r"net\.down_blocks"):
        convert("dice-talk", tmp_path, tmp_path / "out")


def test_tensors_of_another_shape_are_named(tmp_path):
    from voice_conversion.speaker import SpeakerEncoder

    state = SpeakerEncoder(8, 2).state_dict() | {"linear.weight": torch.ones(3, 3)}
    torch.save({"model_state": state}, tmp_path / "pretrained.pt")
    with pytest.raises(AffektError, match=r"of another shape: linear\.weight"):
        convert("speaker", tmp_path / "pretrained.pt", tmp_path / "out")


def test_truncated_safetensors(tmp_path):
    save_file({"a": torch.ones(1000)}, tmp_path / "vc.safetensors")
    (tmp_path / "vc.safetensors").write_bytes((tmp_path / "vc.safetensors").read_bytes()[:500])
    with pytest.raises(AffektError, match="has no plain weights"):
        convert("diffvc", tmp_path / "vc.safetensors", tmp_path / "out")


@pytest.mark.slow
def test_the_command_line_prints_that_sentence_alone(tmp_path):
    (tmp_path / "pretrained.pt").write_bytes(pickle.dumps({}))
    places = ["--from", str(tmp_path / "pretrained.pt"), "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "gen.cli", "checkpoints", "convert", "speaker", *places]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3 and len(done.stderr.strip().splitlines()) == 1
