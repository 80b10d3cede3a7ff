"""Upstream checkpoints at small size: every key is converted, and no code in them is run."""

import os
import pickle
import sys
import types

import pytest
import torch
from safetensors.torch import load_file

from gen.convert.pickles import Shell, training_checkpoint
from gen.errors import CheckpointError, InputError
from gen.notes import collect
from talking_head.models import class_name
from talking_head.motion.emote import convert
from talking_head.motion.emote.flint import Flint
from talking_head.motion.emote.model import Emote
from talking_head.training.emote import start


def layer(prefix: str, dim: int, ffn: int) -> dict:
    r = torch.randn
    return {
        f"{prefix}.self_attn.in_proj_weight": r(3 * dim, dim),
        f"{prefix}.self_attn.in_proj_bias": r(3 * dim),
        f"{prefix}.self_attn.out_proj.weight": r(dim, dim),
        f"{prefix}.self_attn.out_proj.bias": r(dim),
        f"{prefix}.linear1.weight": r(ffn, dim),
        f"{prefix}.linear1.bias": r(ffn),
        f"{prefix}.linear2.weight": r(dim, ffn),
        f"{prefix}.linear2.bias": r(dim),
        **{f"{prefix}.{n}.{k}": r(dim) for n in ("norm1", "norm2") for k in ("weight", "bias")},
    }


def pair(name: str, *shape: int) -> dict:
    return {f"{name}.weight": torch.randn(*shape), f"{name}.bias": torch.randn(shape[0])}


def norm(name: str, dim: int) -> dict:
    return pair(name, dim) | {
        f"{name}.running_mean": torch.randn(dim),
        f"{name}.running_var": torch.rand(dim),
        f"{name}.num_batches_tracked": torch.tensor(3),
    }


def decoder(features: int, d: int) -> dict:
    state = {
        "motion_decoder.expander.0.0.weight": torch.randn(d, d, 5),
        "motion_decoder.expander.0.0.bias": torch.randn(d),
    }
    state |= pair("motion_decoder.expander.1.0", d, d, 5) | pair("motion_decoder.expander.2.0", d, d, 5)
    for i in range(3):
        state |= norm(f"motion_decoder.expander.{i}.2", d)
    state |= pair("motion_decoder.decoder_linear_embedding", d, d) | layer(
        "motion_decoder.decoder_transformer.layers.0", d, 24
    )
    return (
        state
        | pair("motion_decoder.post_transformer_linear", d, d)
        | pair("motion_decoder.cross_smooth_layer", features, d, 5)
    )


def flint(features: int, d: int = 16) -> dict:
    state = {}
    for i in range(3):
        state |= pair(f"motion_encoder.squasher.{i}.0", d, features if i == 0 else d, 5) | norm(
            f"motion_encoder.squasher.{i}.2", d
        )
    state |= pair("motion_encoder.encoder_linear_embedding", d, d) | layer(
        "motion_encoder.encoder_transformer.layers.0", d, 24
    )
    state |= pair("motion_encoder.mean", d, d) | pair("motion_encoder.logvar", d, d) | decoder(features, d)
    return state | {"preprocessor.flame.v_template": torch.randn(9, 3)}


def emote(features: int, d: int = 16) -> dict:
    state = {f"sequence_decoder.motion_prior.{key}": value for key, value in decoder(features, d).items()}
    state |= pair("sequence_encoder.linear", d, 20) | pair("sequence_decoder.obj_vector.map", d, 43)
    state |= layer("sequence_decoder.bert_decoder.layers.0", 2 * d, 40) | pair("sequence_decoder.decoder", d, 2 * d)
    state |= pair("sequence_decoder.squasher_2.linear", d, 8 * d)
    audio = "audio_model.model.encoder.pos_conv_embed.conv."
    return state | {
        audio + "weight_g": torch.randn(1, 1, 4),
        audio + "weight_v": torch.randn(4, 4, 4),
        "sequence_decoder.flame.faces": torch.zeros(4, 3),
    }


def checkpoint(path, state: dict, **cfg):
    """As training writes it: with an object of a class that is nowhere to be found when it is read."""
    module = types.ModuleType("somewhere")
    module.Config = type("Config", (dict,), {"__module__": "somewhere"})
    sys.modules["somewhere"] = module
    settings = module.Config(model=module.Config(decoder=module.Config(cfg)))
    torch.save({"state_dict": state, "hyper_parameters": {"cfg": settings}}, path)
    del sys.modules["somewhere"]
    return path


@pytest.mark.parametrize("features", [53, 103])
def test_flint_converts_key_for_key(tmp_path, features):
    state = flint(features)
    convert.flint(checkpoint(tmp_path / "model-epoch=3-val=0.25.ckpt", state), tmp_path)
    model = Flint.from_pretrained(tmp_path / "flint", low_cpu_mem_usage=False)
    assert model.config.features == features
    torch.testing.assert_close(model.encoder.squash[1].conv.weight, state["motion_encoder.squasher.1.0.weight"])
    torch.testing.assert_close(model.decoder.expand[1].norm.weight, state["motion_decoder.expander.2.2.weight"])


def test_a_flint_alone_is_what_a_training_starts_from(tmp_path):
    state = flint(53)
    convert.flint(checkpoint(tmp_path / "last.ckpt", state), tmp_path)
    with pytest.raises(CheckpointError, match=r"FLINT motion prior.*train talk --set prior="):
        class_name(tmp_path)
    model = Flint(features=52, dim=16, heads=8, ffn=24)
    first = model.decoder.smooth.weight.clone()
    with collect() as notes:
        start(model, str(tmp_path))
    assert notes and "first and last layer" in notes[0]
    torch.testing.assert_close(model.decoder.expand[1].norm.weight, state["motion_decoder.expander.2.2.weight"])
    assert torch.equal(model.decoder.smooth.weight, first)
    with pytest.raises(InputError, match="another size"):
        start(Flint(features=52, dim=32, heads=8, ffn=24), str(tmp_path))


def test_emote_converts_and_its_condition_is_the_published_map(tmp_path):
    state = emote(53)
    convert.emote(checkpoint(tmp_path / "last.ckpt", state, post_bug_fix=True), tmp_path)
    assert class_name(tmp_path) == "UpstreamSpeaker"
    model = Emote.from_pretrained(tmp_path / "emote", low_cpu_mem_usage=False).eval()
    given = {"weights": torch.eye(8)[5][None, None], "vad": torch.zeros(1, 1, 3), "intensity": torch.ones(1, 1)}
    ours = model.emotion(**given).tokens[0, 0] + model.style(torch.tensor(7))
    code = torch.zeros(43)
    code[[5, 8 + 1, 11 + 7]] = 1
    name = "sequence_decoder.obj_vector.map."
    torch.testing.assert_close(ours, state[name + "weight"] @ code + state[name + "bias"])
    assert "encoder.pos_conv_embed.conv.parametrizations.weight.original0" in load_file(tmp_path / "audio.safetensors")


def published(state: dict, speech: torch.Tensor, code: torch.Tensor, fixed: bool) -> torch.Tensor:
    """The authors' forward pass up to the motion prior: speech (t, s), code (43,) -> latents (t / 8, d)."""
    name = "sequence_decoder."
    linear = lambda key, x: x @ state[f"{key}.weight"].T + state[f"{key}.bias"]
    style = linear(name + "obj_vector.map", code).expand(len(speech), -1)
    x = torch.cat((linear("sequence_encoder.linear", speech), style), -1)
    if fixed:
        layer = torch.nn.TransformerEncoderLayer(x.shape[1], 8, 40, activation="gelu", batch_first=True).double()
        prefix = name + "bert_decoder.layers.0."
        layer.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        t = torch.arange(len(x))
        near = -(0.5 ** torch.arange(1, 9))[:, None, None] * ((t[:, None] - t).abs() // 30)
        layer.train().requires_grad_(False)  # the fused path of eval mode misreads float masks
        for module in layer.modules():
            module.p = 0.0
        layer.self_attn.dropout = 0.0
        x = layer(x[None], src_mask=near.double())[0]
    x = linear(name + "decoder", x)
    return linear(name + "squasher_2.linear", x.reshape(len(x) // 8, -1))


@pytest.mark.parametrize("fixed", [True, False, None])
def test_emote_from_before_and_after_its_bug_fix(tmp_path, fixed):
    state = emote(53)
    given = {} if fixed is None else {"post_bug_fix": fixed}
    convert.emote(checkpoint(tmp_path / "last.ckpt", state, **given), tmp_path)
    model = Emote.from_pretrained(tmp_path / "emote", low_cpu_mem_usage=False).eval().double()
    state = {key: value.double() for key, value in state.items()}
    speech, code = torch.randn(40, 20).double(), torch.zeros(43).double()
    code[[5, 8 + 1, 11 + 7]] = 1
    name = "sequence_decoder.obj_vector.map."
    tokens = (state[name + "weight"][:, :11] @ code[:11] + state[name + "bias"]).expand(1, 40, -1)
    with torch.no_grad():
        ours = model(speech[None], tokens, torch.tensor([7]))
        theirs = model.decoder(published(state, speech, code, bool(fixed))[None])
    torch.testing.assert_close(ours, theirs)


def test_a_configuration_beside_the_checkpoint_is_read(tmp_path):
    state = emote(53)
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=r"cfg\.yaml"):
        convert.emote(tmp_path / "last.ckpt", tmp_path)
    (tmp_path / "cfg.yaml").write_text("model: {sequence_decoder: {post_bug_fix: true}}")
    convert.emote(tmp_path / "last.ckpt", tmp_path)
    assert Emote.from_pretrained(tmp_path / "emote", low_cpu_mem_usage=False).config.attend


def test_missing_and_foreign_keys_are_named(tmp_path):
    state = flint(53)
    del state["motion_encoder.mean.bias"]
    state["motion_encoder.extra"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"encoder\.mean\.bias.*motion_encoder\.extra"):
        convert.flint(checkpoint(tmp_path / "last.ckpt", state), tmp_path)


class Trap:
    """Makes a file called ``sprung`` where it is unpickled."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return (os.mkdir, (str(self.place / "sprung"),))


def test_nothing_in_a_checkpoint_is_run(tmp_path):
    path = tmp_path / "trap.ckpt"
    torch.save({"state_dict": {"a": torch.ones(2)}, "trap": Trap(tmp_path)}, path)
    found = training_checkpoint(path)
    assert torch.equal(found["state_dict"]["a"], torch.ones(2)) and isinstance(found["trap"], Shell)
    assert not (tmp_path / "sprung").exists()


def test_what_is_no_checkpoint_is_said(tmp_path):
    path = tmp_path / "x.ckpt"
    path.write_bytes(pickle.dumps({}))
    with pytest.raises(CheckpointError, match="not a training checkpoint"):
        convert.flint(path, tmp_path)
    with pytest.raises(InputError, match=r"no \.ckpt"):
        convert.emote(tmp_path / "nowhere", tmp_path)
