"""DICE-Talk's release in small: random weights under the published keys."""

import itertools
import json

import numpy as np
import torch
from safetensors.torch import save_file

from gen.emotion.spec import CANONICAL
from talking_head.video.convert import FILES

CHANNELS, HEADS, CONTEXT, TIME = (32, 64, 64, 64), (1, 2, 2, 2), 24, 16
COUNT, MU, ENTRIES, CLASSES, MEL = 4, 256, 6, 22, 80
LAYERS = 1


class Layout:
    """Random weights under names as a release has them."""

    def __init__(self, seed):
        self.state, self.random = {}, torch.Generator().manual_seed(seed)

    def put(self, name, *shape, scale=None):
        fan = shape[1] * int(np.prod(shape[2:])) if len(shape) > 1 else 1
        self.state[name] = torch.randn(*shape, generator=self.random) * (scale or fan**-0.5)

    def layer(self, name, outward, inward, *kernel, bias=True):
        self.put(f"{name}.weight", outward, inward, *kernel)
        if bias:
            self.put(f"{name}.bias", outward, scale=0.1)

    def norm(self, name, width):
        self.state[f"{name}.weight"] = 1 + 0.2 * torch.randn(width, generator=self.random)
        self.put(f"{name}.bias", width, scale=0.1)


class UNetLayout(Layout):
    """The keys of Stable Video Diffusion's network with adapters in every ``attn2``."""

    def __init__(self, adapters=2, seed=1):
        super().__init__(seed)
        self.adapters, time, last = adapters, 4 * CHANNELS[0], len(CHANNELS) - 1
        self.layer("conv_in", CHANNELS[0], 8, 3, 3)
        for name, inward in (("time_embedding", CHANNELS[0]), ("add_embedding", 3 * TIME)):
            self.layer(f"{name}.linear_1", time, inward)
            self.layer(f"{name}.linear_2", time, time)
        skips = [CHANNELS[0]]
        before = CHANNELS[0]
        for b, width in enumerate(CHANNELS):
            for i in range(LAYERS):
                self.resnet(f"down_blocks.{b}.resnets.{i}", before, width)
                if b < last:
                    self.transformer(f"down_blocks.{b}.attentions.{i}", width)
                before = width
                skips.append(width)
            if b < last:
                self.layer(f"down_blocks.{b}.downsamplers.0.conv", width, width, 3, 3)
                skips.append(width)
        self.resnet("mid_block.resnets.0", before, before)
        self.transformer("mid_block.attentions.0", before)
        self.resnet("mid_block.resnets.1", before, before)
        for b, width in enumerate(reversed(CHANNELS)):
            for i in range(LAYERS + 1):
                self.resnet(f"up_blocks.{b}.resnets.{i}", before + skips.pop(), width)
                if b > 0:
                    self.transformer(f"up_blocks.{b}.attentions.{i}", width)
                before = width
            if b < last:
                self.layer(f"up_blocks.{b}.upsamplers.0.conv", width, width, 3, 3)
        self.norm("conv_norm_out", CHANNELS[0])
        self.layer("conv_out", 4, CHANNELS[0], 3, 3)

    def resnet(self, name, inward, outward):
        for kind, kernel, first in (("spatial", (3, 3), inward), ("temporal", (3, 1, 1), outward)):
            at = f"{name}.{kind}_res_block"
            self.norm(f"{at}.norm1", first)
            self.layer(f"{at}.conv1", outward, first, *kernel)
            self.layer(f"{at}.time_emb_proj", outward, 4 * CHANNELS[0])
            self.norm(f"{at}.norm2", outward)
            self.layer(f"{at}.conv2", outward, outward, *kernel)
        if inward != outward:
            self.layer(f"{name}.spatial_res_block.conv_shortcut", outward, inward, 1, 1)
        self.put(f"{name}.time_mixer.mix_factor", 1)

    def transformer(self, name, width):
        self.norm(f"{name}.norm", width)
        self.layer(f"{name}.proj_in", width, width)
        self.layer(f"{name}.proj_out", width, width)
        self.layer(f"{name}.time_pos_embed.linear_1", 4 * width, width)
        self.layer(f"{name}.time_pos_embed.linear_2", width, 4 * width)
        self.put(f"{name}.time_mixer.mix_factor", 1)
        for block in ("transformer_blocks.0", "temporal_transformer_blocks.0"):
            at = f"{name}.{block}"
            for norm in ("norm1", "norm2", "norm3", *(("norm_in",) if "temporal" in block else ())):
                self.norm(f"{at}.{norm}", width)
            for attn, context in (("attn1", width), ("attn2", CONTEXT)):
                self.layer(f"{at}.{attn}.to_q", width, width, bias=False)
                for part in ("to_k", "to_v"):
                    self.layer(f"{at}.{attn}.{part}", width, context, bias=False)
                self.layer(f"{at}.{attn}.to_out.0", width, width)
            for i in range(self.adapters):
                for part in ("to_k_ip", "to_v_ip"):
                    self.layer(f"{at}.attn2.processor.{part}.{i}", width, CONTEXT, bias=False)
            for ff in ("ff", *(("ff_in",) if "temporal" in block else ())):
                self.layer(f"{at}.{ff}.net.0.proj", 8 * width, width)
                self.layer(f"{at}.{ff}.net.2", width, 4 * width)


def projection(layout, prefix, size, hidden=20):
    layout.layer(f"{prefix}proj1", hidden, size)
    layout.layer(f"{prefix}proj2", hidden, hidden)
    layout.layer(f"{prefix}proj3", COUNT * CONTEXT, hidden)
    layout.norm(f"{prefix}norm", CONTEXT)


def audio(width=16, states=3):
    layout = Layout(2)
    projection(layout, "", 10 * states * width)
    return layout.state


def emotion():
    layout = Layout(3)
    projection(layout, "emo_linear.", MU)
    projection(layout, "kv_tokens_linear.", CONTEXT)
    layout.layer("codebook.fc", CONTEXT, MU)
    layout.put("codebook.codebook.weight", ENTRIES, CONTEXT)
    for part in "qkv":
        layout.layer(f"attention.fc_{part}", CONTEXT, CONTEXT)
    for i, (a, b) in enumerate(((CHANNELS[-1], 12), (12, 10), (10, CLASSES)), 1):
        layout.layer(f"classifier.fc{i}", b, a)
    return layout.state


def pose(channels=(4, 6, 8, 10)):
    layout = Layout(4)
    layout.layer("conv_in", channels[0], 3, 3, 3)
    for i, (a, b) in enumerate(itertools.pairwise(channels)):
        layout.layer(f"blocks.{2 * i}", a, a, 3, 3)
        layout.layer(f"blocks.{2 * i + 1}", b, a, 3, 3)
    layout.layer("conv_out", CHANNELS[0], channels[-1], 3, 3)
    return layout.state


def whisper(width=16, layers=2, length=50, prefix="model.encoder."):
    layout = Layout(5)
    layout.layer("conv1", width, MEL, 3)
    layout.layer("conv2", width, width, 3)
    layout.put("embed_positions.weight", length, width)
    for i in range(layers):
        for part in ("q", "k", "v", "out"):
            layout.layer(f"layers.{i}.self_attn.{part}_proj", width, width, bias=part != "k")
        layout.norm(f"layers.{i}.self_attn_layer_norm", width)
        layout.norm(f"layers.{i}.final_layer_norm", width)
        layout.layer(f"layers.{i}.fc1", 4 * width, width)
        layout.layer(f"layers.{i}.fc2", width, 4 * width)
    layout.norm("layer_norm", width)
    state = {prefix + key: value for key, value in layout.state.items()}
    return state | {"model.decoder.layer_norm.weight": torch.ones(width)}


def clip(width=16, layers=2, patch=14, size=28):
    layout = Layout(6)
    layout.layer("embeddings.patch_embedding", width, 3, patch, patch, bias=False)
    layout.put("embeddings.class_embedding", width)
    layout.put("embeddings.position_embedding.weight", (size // patch) ** 2 + 1, width)
    for i in range(layers):
        for part in ("q", "k", "v", "out"):
            layout.layer(f"encoder.layers.{i}.self_attn.{part}_proj", width, width)
        layout.norm(f"encoder.layers.{i}.layer_norm1", width)
        layout.norm(f"encoder.layers.{i}.layer_norm2", width)
        layout.layer(f"encoder.layers.{i}.mlp.fc1", 32, width)
        layout.layer(f"encoder.layers.{i}.mlp.fc2", width, 32)
    layout.norm("pre_layrnorm", width)
    layout.norm("post_layernorm", width)
    state = {f"vision_model.{key}": value for key, value in layout.state.items()}
    layout.layer("visual_projection", CONTEXT, width, bias=False)
    return state | {"visual_projection.weight": layout.state["visual_projection.weight"]}


def rife(width=8):
    layout = Layout(7)
    for name, inputs in (("block0", 11), ("block1", 11), ("block2", 11), ("block_tea", 14)):
        sizes = {"conv0.0": (width // 2, inputs), "conv0.1": (width, width // 2)}
        sizes |= {f"convblock{i}.{j}": (width, width) for i in range(4) for j in range(2)}
        for part, (b, a) in sizes.items():
            layout.layer(f"module.{name}.{part}.0", b, a, 3, 3)
            layout.put(f"module.{name}.{part}.1.weight", b, scale=0.2)
        for part, out in (("conv1", 4), ("conv2", 1)):
            layout.layer(f"module.{name}.{part}.0", width, width // 2, 4, 4)
            layout.state[f"module.{name}.{part}.0.bias"] = torch.zeros(width // 2)
            layout.put(f"module.{name}.{part}.1.weight", width // 2, scale=0.2)
            layout.layer(f"module.{name}.{part}.2", width // 2, out, 4, 4)
            layout.state[f"module.{name}.{part}.2.bias"] = torch.zeros(out)
    return layout.state


def priors(seed=8):
    """Eight means of the published kind: zero mean, spread 0.85, close together."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(1, MU)) + 0.3 * random.normal(size=(8, MU))
    rows = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
    return (0.85 * rows).astype(np.float32)


def write(folder, adapters=2, audio_file="audio_linear.pth"):
    """A release in small, in the published layout."""
    from diffusers import AutoencoderKLTemporalDecoder

    place, svd = folder / "checkpoints", folder / "checkpoints" / "stable-video-diffusion-img2vid-xt"
    own = place / ("DICE-Talk" if adapters == 2 else "Sonic")
    for path in (
        own,
        svd / "unet",
        svd / "image_encoder",
        place / "whisper-tiny",
        place / "RIFE",
        folder / "examples/emo",
    ):
        path.mkdir(parents=True)
    torch.save(UNetLayout(adapters).state, own / "unet.pth")
    torch.save(audio(), own / audio_file)
    if adapters == 2:
        torch.save(emotion(), own / "emo_model.pth")
        torch.save(pose(), own / "pose_guider.pth")
        for name, mu in zip(CANONICAL, priors()):
            packed = np.empty((), object)
            packed[()] = {"mu": mu[None]}
            np.save(folder / f"examples/emo/{FILES.get(name, name)}.npy", packed, allow_pickle=True)
    torch.save(rife(), place / "RIFE" / "flownet.pkl")
    (svd / "unet" / "config.json").write_text(json.dumps({"num_attention_heads": HEADS}))
    (svd / "image_encoder" / "config.json").write_text(json.dumps({"num_attention_heads": 2}))
    save_file(clip(), svd / "image_encoder" / "model.fp16.safetensors")
    (place / "whisper-tiny" / "config.json").write_text(json.dumps({"encoder_attention_heads": 2}))
    save_file(whisper(), place / "whisper-tiny" / "model.safetensors")
    torch.manual_seed(9)
    kinds = ("DownEncoderBlock2D",) * 4
    vae = AutoencoderKLTemporalDecoder(block_out_channels=(32,) * 4, down_block_types=kinds, layers_per_block=1)
    vae.save_pretrained(svd / "vae", variant="fp16")
    return folder
