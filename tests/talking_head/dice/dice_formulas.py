"""DICE-Talk's forward pass written out from the formulas on a plain state dict, without any saving of work."""

import math

import torch
import torch.nn.functional as F
from dice_release import CHANNELS, HEADS, TIME

GROUPS = 32


def linear(state, name, x):
    return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def layer_norm(state, name, x):
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def group_norm(state, name, x, eps):
    return F.group_norm(x, GROUPS, state[f"{name}.weight"], state[f"{name}.bias"], eps)


def attention(q, k, v, heads):
    split = lambda x: x.unflatten(-1, (heads, -1)).transpose(1, 2)
    q, k, v = split(q), split(k), split(v)
    return ((q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v).transpose(1, 2).flatten(2)


def waves(values, width):
    """Cosines, then sines of values (n,) at width / 2 rates from 1 down to 1 / 10000."""
    rates = torch.exp(-math.log(10000) * torch.arange(width // 2) / (width // 2))
    angles = values[:, None] * rates
    return torch.cat((angles.cos(), angles.sin()), 1)


def projection(state, x, prefix=""):
    """Three linear maps with ReLU between, cut into tokens, normalised."""
    for name in ("proj1", "proj2"):
        x = linear(state, prefix + name, x).relu()
    width = len(state[f"{prefix}norm.weight"])
    return layer_norm(state, f"{prefix}norm", linear(state, f"{prefix}proj3", x).unflatten(-1, (-1, width)))


def emotion_tokens(state, mu, retrieval):
    """(n, 256) -> (n, tokens, width), one emotion after the other."""
    made = []
    book = state["codebook.codebook.weight"]
    for one in mu:
        query = projection(state, one, "emo_linear.")[None]
        if retrieval:
            z = linear(state, "codebook.fc", one)
            keys = projection(state, book[(book - z).square().sum(1).argmin()], "kv_tokens_linear.")[None]
        else:
            keys = torch.cat([projection(state, code, "kv_tokens_linear.") for code in book])[None]
        parts = (linear(state, f"attention.fc_{p}", x) for p, x in (("q", query), ("k", keys), ("v", keys)))
        made.append(attention(*parts, 8)[0])
    return torch.stack(made)


def bank_loss(state, mu):
    z, book = linear(state, "codebook.fc", mu), state["codebook.codebook.weight"]
    code = book[(z[:, None] - book).square().sum(-1).argmin(1)]
    return 1.25 * (code - z).square().mean()


def pose(state, box):
    x = F.silu(F.conv2d(box, state["conv_in.weight"], state["conv_in.bias"], padding=1))
    for i in range(6):
        weight, bias = state[f"blocks.{i}.weight"], state[f"blocks.{i}.bias"]
        x = F.silu(F.conv2d(x, weight, bias, stride=1 + i % 2, padding=1))
    return F.conv2d(x, state["conv_out.weight"], state["conv_out.bias"], padding=1)


class UNet:
    """The network on b videos of f frames, contexts repeated for every frame and every place before projection."""

    def __init__(self, state):
        self.state = state

    def conv(self, name, x, stride=1):
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return F.conv2d(x, weight, bias, stride, padding=weight.shape[-1] // 2)

    def conv3(self, name, x):
        return F.conv3d(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"], padding=(1, 0, 0))

    def mix(self, name, spatial, temporal):
        share = self.state[f"{name}.mix_factor"].sigmoid()
        return share * spatial + (1 - share) * temporal

    def resnet(self, name, x, time, eps):
        at, b, f = f"{name}.spatial_res_block", self.b, self.f
        y = self.conv(f"{at}.conv1", F.silu(group_norm(self.state, f"{at}.norm1", x, eps)))
        y = y + linear(self.state, f"{at}.time_emb_proj", F.silu(time))[:, :, None, None]
        y = self.conv(f"{at}.conv2", F.silu(group_norm(self.state, f"{at}.norm2", y, eps)))
        if f"{at}.conv_shortcut.weight" in self.state:
            x = self.conv(f"{at}.conv_shortcut", x)
        x = (x + y).unflatten(0, (b, f)).transpose(1, 2)  # (b, d, f, h, w)
        at = f"{name}.temporal_res_block"
        y = self.conv3(f"{at}.conv1", F.silu(group_norm(self.state, f"{at}.norm1", x, eps)))
        told = linear(self.state, f"{at}.time_emb_proj", F.silu(time)).unflatten(0, (b, f)).transpose(1, 2)
        y = y + told[..., None, None]
        y = self.conv3(f"{at}.conv2", F.silu(group_norm(self.state, f"{at}.norm2", y, eps)))
        return self.mix(f"{name}.time_mixer", x, x + y).transpose(1, 2).flatten(0, 1)

    def feed(self, name, x):
        value, gate = linear(self.state, f"{name}.net.0.proj", x).chunk(2, -1)
        return linear(self.state, f"{name}.net.2", value * F.gelu(gate))

    def cross(self, name, x, heads, portrait, tokens, mask):
        q = linear(self.state, f"{name}.to_q", x)
        kv = (linear(self.state, f"{name}.{part}", portrait) for part in ("to_k", "to_v"))
        out = attention(q, *kv, heads)
        for i, context in enumerate(tokens):
            kv = (linear(self.state, f"{name}.processor.{part}.{i}", context) for part in ("to_k_ip", "to_v_ip"))
            out = out + attention(q, *kv, heads) * mask
        return linear(self.state, f"{name}.to_out.0", out)

    def own(self, name, x, heads):
        qkv = (linear(self.state, f"{name}.to_{part}", x) for part in "qkv")
        return linear(self.state, f"{name}.to_out.0", attention(*qkv, heads))

    def transformer(self, name, x, heads):
        b, f, (h, w) = self.b, self.f, x.shape[2:]
        residual = x
        x = group_norm(self.state, f"{name}.norm", x, 1e-6).flatten(2).mT
        x = linear(self.state, f"{name}.proj_in", x)
        place = waves(torch.arange(f), x.shape[-1])
        place = linear(self.state, f"{name}.time_pos_embed.linear_1", place)
        place = linear(self.state, f"{name}.time_pos_embed.linear_2", F.silu(place)).repeat(b, 1)[:, None]
        at = f"{name}.transformer_blocks.0"
        x = x + self.own(f"{at}.attn1", layer_norm(self.state, f"{at}.norm1", x), heads)
        mask = F.interpolate(self.mask[:, None], (h, w), mode="bicubic").flatten(1).repeat_interleave(f, 0)[..., None]
        framewise = [tokens.flatten(0, 1) for tokens in self.tokens]
        portrait = self.portrait.repeat_interleave(f, 0)
        y = self.cross(f"{at}.attn2", layer_norm(self.state, f"{at}.norm2", x), heads, portrait, framewise, mask)
        x = x + y
        x = x + self.feed(f"{at}.ff", layer_norm(self.state, f"{at}.norm3", x))
        at = f"{name}.temporal_transformer_blocks.0"
        y = (x + place).unflatten(0, (b, f)).transpose(1, 2).flatten(0, 1)  # (b h w, f, d)
        y = y + self.feed(f"{at}.ff_in", layer_norm(self.state, f"{at}.norm_in", y))
        y = y + self.own(f"{at}.attn1", layer_norm(self.state, f"{at}.norm1", y), heads)
        means = [tokens.mean(1).repeat_interleave(h * w, 0) for tokens in self.tokens]
        portrait = self.portrait.repeat_interleave(h * w, 0)
        y = y + self.cross(f"{at}.attn2", layer_norm(self.state, f"{at}.norm2", y), heads, portrait, means, 1.0)
        y = y + self.feed(f"{at}.ff", layer_norm(self.state, f"{at}.norm3", y))
        y = y.unflatten(0, (b, h * w)).transpose(1, 2).flatten(0, 1)
        x = self.mix(f"{name}.time_mixer", x, y)
        return linear(self.state, f"{name}.proj_out", x).mT.unflatten(2, (h, w)) + residual

    def __call__(self, sample, time, portrait, tokens, mask, pose_map):
        """sample (b, f, 8, h, w), time (b,), portrait (b, 1, c), tokens of (b, f, t, c), mask (b, H, W)."""
        s, (self.b, self.f) = self.state, sample.shape[:2]
        self.portrait, self.tokens, self.mask = portrait, tokens, mask
        told = waves(time, CHANNELS[0])
        extra = waves(torch.tensor([12.5, 8.0, 16.0]), TIME).flatten()[None]
        for name, x in (("time_embedding", told), ("add_embedding", extra)):
            y = linear(s, f"{name}.linear_2", F.silu(linear(s, f"{name}.linear_1", x)))
            told = y if name == "time_embedding" else told + y
        told = told.repeat_interleave(self.f, 0)
        x = self.conv("conv_in", sample.flatten(0, 1)) + pose_map
        skips = [x]
        for b in range(4):
            x = self.resnet(f"down_blocks.{b}.resnets.0", x, told, 1e-6 if b < 3 else 1e-5)
            if b < 3:
                x = self.transformer(f"down_blocks.{b}.attentions.0", x, HEADS[b])
            skips.append(x)
            if b < 3:
                x = self.conv(f"down_blocks.{b}.downsamplers.0.conv", x, 2)
                skips.append(x)
        x = self.resnet("mid_block.resnets.0", x, told, 1e-5)
        x = self.transformer("mid_block.attentions.0", x, HEADS[-1])
        x = self.resnet("mid_block.resnets.1", x, told, 1e-5)
        for b in range(4):
            for i in range(2):
                x = self.resnet(f"up_blocks.{b}.resnets.{i}", torch.cat((x, skips.pop()), 1), told, 1e-6)
                if b > 0:
                    x = self.transformer(f"up_blocks.{b}.attentions.{i}", x, HEADS[3 - b])
            if b < 3:
                x = self.conv(f"up_blocks.{b}.upsamplers.0.conv", F.interpolate(x, scale_factor=2.0, mode="nearest"))
        x = F.silu(group_norm(s, "conv_norm_out", x, 1e-5))
        return self.conv("conv_out", x).unflatten(0, (self.b, self.f))


def noise_levels(steps):
    """Karras et al. 2022, eq. 5, from 700 to 0.002 with rho 7, and a last 0."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    low, high = 0.002 ** (1 / 7), 700 ** (1 / 7)
    return torch.cat(((high + ramp * (low - high)) ** 7, torch.zeros(1, dtype=torch.float64))).float()


def euler(x, velocity, sigma, to):
    """One step with v-prediction: the clean estimate, and a straight line to the next level."""
    clean = x / (sigma**2 + 1) - velocity * sigma / (sigma**2 + 1).sqrt()
    return x + (x - clean) / sigma * (to - sigma)
