"""Converts upstream FLINT and EMOTE checkpoints; sizes are inferred from tensor shapes.

Weights of the head model, the renderer and the losses are skipped: the user's FLAME has the head model.
"""

import re
from pathlib import Path

import torch
import yaml
from torch import Tensor

from gen.convert.pickles import setting, training_checkpoint
from gen.convert.states import fit, sizes
from gen.emotion.spec import CANONICAL
from gen.errors import InputError
from talking_head.models import write_class
from talking_head.motion.emote.condition import LEVELS
from talking_head.motion.emote.flint import Flint
from talking_head.motion.emote.model import Emote

ATTENTION = {
    "self_attn.in_proj_weight": "in_proj.weight",
    "self_attn.in_proj_bias": "in_proj.bias",
    "self_attn.out_proj.weight": "out_proj.weight",
    "self_attn.out_proj.bias": "out_proj.bias",
}
SQUASHED = r"motion_encoder\.squasher\.(\d)\."
EXPANDED = r"motion_decoder\.expander\.([12])\."
NAMES = (
    (SQUASHED + r"0\.", r"encoder.squash.\1.conv."),
    (SQUASHED + r"2\.", r"encoder.squash.\1.norm."),
    (r"motion_encoder\.encoder_linear_embedding\.", "encoder.embed."),
    (r"motion_encoder\.encoder_transformer\.layers\.0\.", "encoder.layer."),
    (r"motion_encoder\.(mean|logvar)\.", r"encoder.\1."),
    (r"motion_decoder\.expander\.0\.0\.", "decoder.grow."),
    (r"motion_decoder\.expander\.0\.2\.", "decoder.grow_norm."),
    (EXPANDED + r"0\.", lambda m: f"decoder.expand.{int(m[1]) - 1}.conv."),
    (EXPANDED + r"2\.", lambda m: f"decoder.expand.{int(m[1]) - 1}.norm."),
    (r"motion_decoder\.decoder_linear_embedding\.", "decoder.embed."),
    (r"motion_decoder\.decoder_transformer\.layers\.0\.", "decoder.layer."),
    (r"motion_decoder\.post_transformer_linear\.", "decoder.after."),
    (r"motion_decoder\.cross_smooth_layer\.", "decoder.smooth."),
)
EMOTE_NAMES = (
    (r"sequence_encoder\.linear\.", "listen."),
    (r"sequence_decoder\.bert_decoder\.layers\.0\.", "layer."),
    (r"sequence_decoder\.decoder\.", "decode."),
    (r"sequence_decoder\.squasher_2\.linear\.", "squash."),
)
MAP = "sequence_decoder.obj_vector.map."
AUDIO = "audio_model.model."
PRIOR = "sequence_decoder.motion_prior."
FOREIGN = r"(preprocessor|postprocessor|renderer|.*\bflame|.*texture|.*loss|.*render|video_emotion|lip_reading)"


def checkpoint_in(source: Path) -> Path:
    """A .ckpt file, or the best one in an upstream folder: ``last.ckpt``, else the smallest value after the last =."""
    if source.is_file():
        return source
    found = sorted(source.rglob("*.ckpt"))
    if not found:
        raise InputError(f"no .ckpt in {source}: give the upstream folder")
    last = [path for path in found if path.name == "last.ckpt"]
    value = lambda path: float(re.findall(r"=(-?[\d.]+\d)", path.stem)[-1]) if "=" in path.stem else float("inf")
    return last[0] if last else min(found, key=value)


def renamed(key: str, names) -> str | None:
    for pattern, target in names:
        if re.match(pattern, key):
            new = re.sub("^" + pattern, target, key)
            for old, own in ATTENTION.items():
                new = new.replace(old, own)
            return new
    return None


def own(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not re.match(FOREIGN, key)}


def flint(source: Path, out: Path) -> None:
    """Converts an upstream FLINT to ``flint``."""
    state = own(training_checkpoint(checkpoint_in(source))["state_dict"])
    named = {renamed(key, NAMES) or key: value for key, value in state.items()}
    with sizes(f"The FLINT checkpoint in {source}"):
        features, dim, _ = named["decoder.smooth.weight"].shape
        model = Flint(features=features, dim=dim, heads=8, ffn=len(named["encoder.layer.linear1.weight"]))
    fit(model, named, f"The FLINT checkpoint in {source}")
    model.save_pretrained(out / "flint")
    write_class(out, "Flint")


def emote(source: Path, out: Path) -> None:
    """Converts an upstream EMOTE to ``emote``, and its wav2vec2 weights to ``audio.safetensors``."""
    from safetensors.torch import save_file

    path = checkpoint_in(source)
    content = training_checkpoint(path)
    state, attends = own(content["state_dict"]), after_bug_fix(path, content)
    what = f"The EMOTE checkpoint in {source}"
    audio = {modern(key.removeprefix(AUDIO)): v.contiguous() for key, v in state.items() if key.startswith(AUDIO)}
    rest = {key.removeprefix(PRIOR): value for key, value in state.items() if not key.startswith((AUDIO, MAP))}
    named = {renamed(key, EMOTE_NAMES + NAMES) or key: value for key, value in rest.items()}
    with sizes(what):
        weight, bias, felt = state[MAP + "weight"], state[MAP + "bias"], len(CANONICAL) + LEVELS
        features, prior, _ = named["decoder.smooth.weight"].shape
        model = Emote(
            speech=named["listen.weight"].shape[1],
            dim=len(bias),
            heads=8,
            ffn=len(named["layer.linear1.weight"]),
            features=features,
            prior=prior,
            prior_ffn=len(named["decoder.layer.linear1.weight"]),
            styles=weight.shape[1] - felt,
            dropout=0.25,
            conditioner={"name": "emote"},
            attend=attends,
        )
    named |= {"emotion.map.weight": weight[:, :felt], "emotion.map.bias": bias, "style.weight": weight[:, felt:].T}
    named |= {"emotion.null": torch.zeros(len(bias)), "gain": torch.ones(features)}
    if not attends:
        named = {key: value for key, value in named.items() if not key.startswith("layer.")}
    fit(model, named, what)
    model.save_pretrained(out / "emote")
    save_file(audio, out / "audio.safetensors")
    write_class(out, "UpstreamSpeaker")


def after_bug_fix(path: Path, content: dict) -> bool:
    """True if the decoder reads the transformer layer's output: ``post_bug_fix`` in the configuration, which is in the
    checkpoint or in ``cfg.yaml`` of the upstream folder. Configurations without it are older than the fix.
    """
    if "hyper_parameters" in content:
        found = setting(content["hyper_parameters"], "post_bug_fix")
    elif beside := next((place / "cfg.yaml" for place in path.parents[:2] if (place / "cfg.yaml").is_file()), None):
        found = setting(yaml.safe_load(beside.read_text(encoding="utf-8")), "post_bug_fix")
    else:
        raise InputError(
            f"{path} has no configuration, so it is unknown whether it precedes EMOTE's bug fix: "
            "put the upstream cfg.yaml beside it."
        )
    return bool(found)


def modern(key: str) -> str:
    """Wav2vec2's weight normalisation with the current parameter names."""
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        key = key.replace(f"pos_conv_embed.conv.{old}", f"pos_conv_embed.conv.parametrizations.weight.{new}")
    return key
