"""Convert upstream DICE-Talk and Sonic weights to our checkpoints; sizes are read from the tensors.

Required in the source folder, at any depth: the ``.pth`` files, the folder of Stable Video Diffusion (its
``unet/config.json``, ``vae`` and ``image_encoder``), ``whisper-tiny``, and for DICE-Talk the eight emotion files.
``RIFE/flownet.pkl`` is optional. Every tensor must match; tensors that are not used here (Whisper's decoder, RIFE's
teacher, Sonic's motion buckets) are skipped by name.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from safetensors.torch import save_file
from torch import Tensor, nn

from gen import checkpoints
from gen.convert.pickles import load
from gen.convert.states import State, fit, read, sizes
from gen.emotion.spec import CANONICAL
from gen.errors import CheckpointError
from talking_head.models import write_class
from talking_head.video.emotion import EmotionModel, Tokens
from talking_head.video.interpolate import Interpolator
from talking_head.video.portrait import ImageEncoder
from talking_head.video.pose import PoseGuider
from talking_head.video.unet import VideoUNet
from talking_head.video.whisper import ACTIVATIONS, WhisperEncoder

FILES = {"surprise": "surprised", "disgust": "disgusted", "anger": "angry"}  # emotions that the release calls otherwise
CLIP_DEFAULT = "quick_gelu"  # what CLIP's configuration means where it names no activation
CARD = """# {name}, as published

Converted from the release ({paper}). The weights stay under the licences of their publishers: DICE-Talk and Sonic under
CC BY-NC-SA 4.0 (not for commercial use), Stable Video Diffusion under Stability AI's community licence, Whisper and
RIFE under MIT. Speech in any language; faces as in the publishers' data, which are not described. Use it on portraits
of people who agreed to it.
"""
PAPERS = {
    "DICE-Talk": "Tan et al., Disentangle Identity, Cooperate Emotion, ACM MM 2025",
    "Sonic": "Ji et al., Sonic: Shifting Focus to Global Audio Perception in Portrait Animation, CVPR 2025",
}


def convert(source: Path, out: Path) -> None:
    """DICE-Talk's release -> all parts and ``priors.safetensors``; CheckpointError says what is wrong."""
    _video(source, out, "audio_linear.pth", adapters=2)
    fill(emotion_model, plain(find(source, "emo_model.pth")), out / "emotion")
    fill(pose_guider, plain(find(source, "pose_guider.pth")), out / "pose")
    mean = torch.stack([prior(find(source, f"emo/{FILES.get(name, name)}.npy")) for name in CANONICAL])
    save_file({"mean": mean, "var": torch.zeros_like(mean)}, out / "priors.safetensors")
    write_class(out, "DiceVideo")
    (out / "README.md").write_text(CARD.format(name="DICE-Talk", paper=PAPERS["DICE-Talk"]))


def convert_sonic(source: Path, out: Path) -> None:
    """Sonic's release -> the same parts without emotion; its pose guider is taken where there is one."""
    _video(source, out, "audio2token.pth", adapters=1)
    if found := sorted(source.rglob("pose_guider.pth")):
        fill(pose_guider, plain(found[0]), out / "pose")
    write_class(out, "DiceVideo")
    (out / "README.md").write_text(CARD.format(name="Sonic", paper=PAPERS["Sonic"]))


def _video(source: Path, out: Path, audio: str, adapters: int) -> None:
    """The parts that both have."""
    config = json.loads(find(source, "unet/config.json").read_text())
    state = plain(find(source, "unet.pth"))
    heads = config["num_attention_heads"]
    fill(lambda s: unet(s, heads), {f"net.{key}": value for key, value in state.items()}, out / "unet")
    found = sum(key.endswith("to_k_ip.0.weight") for key in state)
    if f"{_first(state)}.{adapters - 1}.weight" not in state or f"{_first(state)}.{adapters}.weight" in state:
        raise CheckpointError(f"unet.pth has not {adapters} adapters in its {found} layers: this is another release.")
    fill(tokens, plain(find(source, audio)), out / "audio")
    place = find(source, "vae/config.json").parent
    vae = json.loads((place / "config.json").read_text())
    fill(lambda s: AutoencoderKLTemporalDecoder.from_config(vae), plain(weights(place)), out / "vae")
    place = find(source, "image_encoder/config.json").parent
    clip = json.loads((place / "config.json").read_text())
    if clip.get("hidden_act", CLIP_DEFAULT) not in ACTIVATIONS:
        raise CheckpointError(f"{place}/config.json has hidden_act {clip['hidden_act']!r}, which is not known here.")
    build = lambda s: image_encoder(s, clip["num_attention_heads"], clip.get("hidden_act", CLIP_DEFAULT))
    fill(build, renamed(plain(weights(place)), CLIP_NAMES), out / "clip")
    place = find(source, "whisper*/config.json").parent
    heads = json.loads((place / "config.json").read_text())["encoder_attention_heads"]
    fill(lambda s: whisper(s, heads), renamed(plain(weights(place)), WHISPER_NAMES), out / "whisper")
    if found := sorted(source.rglob("flownet.pkl")):
        fill(interpolator, renamed(plain(found[0]), RIFE_NAMES), out / "interpolate")


# ------------------------------------------------------------------- files


def find(source: Path, pattern: str) -> Path:
    """The first file of that name under ``source``."""
    found = sorted(source.rglob(pattern))
    if not found:
        raise CheckpointError(f"{source} holds no {pattern}, which belongs to the release: put it there.")
    return found[0]


def weights(place: Path) -> Path:
    """The weights file in a folder: safetensors, preferably of half precision."""
    found = sorted(place.glob("*.safetensors"), key=lambda path: (".fp16." not in path.name, path.name))
    if not found:
        raise CheckpointError(f"{place} holds no .safetensors file: fetch it again.")
    return found[0]


def plain(path: Path) -> State:
    """Load a file that holds tensors alone."""
    return read(path, "the file of the release")


def prior(path: Path) -> Tensor:
    """The mean (e,) in an upstream emotion file, a pickled dictionary behind a numpy header."""
    import numpy as np

    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        reader(file)
        start = file.tell()
    found = load(path, skip=start)
    found = found.item() if isinstance(found, np.ndarray) and found.size == 1 else None
    if not isinstance(found, dict) or not isinstance(found.get("mu"), np.ndarray):
        raise CheckpointError(f"{path} holds no array called mu: give the emotion files of the release.")
    return torch.from_numpy(found["mu"].astype(np.float32)).flatten()


def renamed(state: State, names: dict[str, str | None]) -> State:
    """Keys by the first pattern that matches from their start; None leaves a tensor out, no match keeps the key."""
    made = {}
    for key, value in state.items():
        pattern = next((p for p in names if re.match(p, key)), None)
        if pattern is None:
            made[key] = value
        elif names[pattern] is not None:
            made[re.sub(pattern, names[pattern], key, count=1)] = value
    return made


_CLIP, _WHISPER = r"vision_model\.", r"(?:model\.)?encoder\."
CLIP_NAMES = {
    rf"{_CLIP}embeddings\.position_ids": None,
    rf"{_CLIP}embeddings\.patch_embedding\.": "patches.",
    rf"{_CLIP}embeddings\.position_embedding\.weight": "places",
    rf"{_CLIP}embeddings\.class_embedding": "whole",
    rf"{_CLIP}encoder\.layers\.(\d+)\.self_attn\.([a-z]+)_proj\.": r"stack.\1.@\2.",
    rf"{_CLIP}encoder\.layers\.(\d+)\.layer_norm(\d)\.": r"stack.\1.norm\2.",
    rf"{_CLIP}encoder\.layers\.(\d+)\.(?:mlp\.)?": r"stack.\1.",
    rf"{_CLIP}pre_layrnorm\.": "norm1.",
    rf"{_CLIP}post_layernorm\.": "norm2.",
    r"visual_projection\.": "project.",
}
WHISPER_NAMES = {
    r"(?:model\.)?decoder\.|proj_out\.": None,
    rf"{_WHISPER}embed_positions\.weight": "places",
    rf"{_WHISPER}layers\.(\d+)\.self_attn\.([a-z]+)_proj\.": r"stack.\1.@\2.",
    rf"{_WHISPER}layers\.(\d+)\.self_attn_layer_norm\.": r"stack.\1.norm1.",
    rf"{_WHISPER}layers\.(\d+)\.final_layer_norm\.": r"stack.\1.norm2.",
    rf"{_WHISPER}layers\.": "stack.",
    rf"{_WHISPER}layer_norm\.": "norm.",
    rf"{_WHISPER}": "",
}
RIFE_NAMES = {r"(?!module\.)": None, r"module\.block_tea\.": None, r"module\.": ""}
ATTENTION = {"@q.": "query.", "@k.": "key.", "@v.": "value.", "@out.": "out."}


# ---------------------------------------------------------------- networks


def fill(build: Callable[[State], nn.Module], state: State, place: Path) -> None:
    """Build a network for a state, load the state strictly, and save it."""
    for theirs, ours in ATTENTION.items():
        state = {key.replace(theirs, ours): value for key, value in state.items()}
    what = f"The weights of '{place.name}'"
    with sizes(what), torch.device("meta"):
        model = build(state)
    fit(model, state, what, assign=True)
    checkpoints.save(model, place)


def _count(state: State, pattern: str) -> int:
    """One more than the largest number that the pattern finds in the keys."""
    return 1 + max((int(match[1]) for key in state if (match := re.match(pattern, key))), default=-1)


def _first(state: State) -> str:
    """The first adapter's keys, without their number."""
    return next((k for k in sorted(state) if k.endswith("to_k_ip.0.weight")), "..").removesuffix(".0.weight")


def unet(state: State, heads: list[int]) -> VideoUNet:
    down = "net.down_blocks"
    first = "resnets.0.spatial_res_block.conv1.weight"
    channels = [len(state[f"{down}.{i}.{first}"]) for i in range(_count(state, rf"{down}\.(\d+)"))]
    key = f"{down}.0.attentions.0.transformer_blocks.0.attn2"
    return VideoUNet(
        channels=channels,
        heads=heads,
        layers=_count(state, rf"{down}\.0\.resnets\.(\d+)"),
        context=state[f"{key}.to_k.weight"].shape[1],
        time_dim=state["net.add_embedding.linear_1.weight"].shape[1] // 3,
        latents=len(state["net.conv_out.weight"]),
        adapters=_count(state, rf"{re.escape(key)}\.processor\.to_k_ip\.(\d+)"),
    )


def _projection(state: State, prefix: str = "") -> dict[str, int]:
    hidden, size = state[f"{prefix}proj1.weight"].shape
    width = len(state[f"{prefix}norm.weight"])
    return {"size": size, "hidden": hidden, "count": len(state[f"{prefix}proj3.weight"]) // width, "width": width}


def tokens(state: State) -> Tokens:
    return Tokens(**_projection(state))


def emotion_model(state: State) -> EmotionModel:
    probe = [state["classifier.fc1.weight"].shape[1], *(len(state[f"classifier.fc{i}.weight"]) for i in (1, 2, 3))]
    entries = len(state["codebook.codebook.weight"])
    return EmotionModel(**_projection(state, "emo_linear."), entries=entries, probe=probe)


def pose_guider(state: State) -> PoseGuider:
    channels = [len(state["conv_in.weight"])]
    channels += [len(state[f"blocks.{i}.weight"]) for i in range(1, _count(state, r"blocks\.(\d+)"), 2)]
    return PoseGuider(channels=channels, out=len(state["conv_out.weight"]))


def _stack(state: State) -> dict[str, int]:
    ffn, width = state["stack.0.fc1.weight"].shape
    return {"width": width, "ffn": ffn, "layers": _count(state, r"stack\.(\d+)")}


def image_encoder(state: State, heads: int, activation: str = "gelu") -> ImageEncoder:
    patch = state["patches.weight"].shape[2]
    size = round((len(state["places"]) - 1) ** 0.5) * patch
    return ImageEncoder(
        **_stack(state), heads=heads, patch=patch, size=size, out=len(state["project.weight"]), activation=activation
    )


def whisper(state: State, heads: int) -> WhisperEncoder:
    bands = state["conv1.weight"].shape[1]
    return WhisperEncoder(**_stack(state), heads=heads, bands=bands, length=len(state["places"]))


def interpolator(state: State) -> Interpolator:
    return Interpolator(width=len(state["block0.conv0.1.0.weight"]))
