"""DiffVC in small: random weights under the published keys, and its loop written anew from the paper's formulas.

Everything here is (b, m, n) as published. Written from Popov et al. (ICLR 2022) and the key layout, not from ours.
"""

import math

import torch
import torch.nn.functional as F

BETA = 0.05, 20.0


class Layout:
    """Random weights under the published keys."""

    def __init__(self, seed=0):
        self.state, self.random = {}, torch.Generator().manual_seed(seed)

    def put(self, name, *shape, scale=None):
        fan = math.prod(shape[1:]) if len(shape) > 1 else shape[0]
        self.state[name] = torch.randn(*shape, generator=self.random) * (scale or fan**-0.5)

    def layer(self, name, *shape, bias=True, out=None):
        self.put(f"{name}.weight", *shape)
        if bias:
            self.put(f"{name}.bias", shape[0] if out is None else out, scale=0.1)

    def norm(self, name, width, weight="weight", bias="bias"):
        self.state[f"{name}.{weight}"] = 1 + 0.1 * torch.randn(width, generator=self.random)
        self.put(f"{name}.{bias}", width, scale=0.1)

    def masked(self, name, into, out, kernel):
        self.layer(f"{name}.block.0", out, into, kernel, kernel)
        self.norm(f"{name}.block.1", out)

    def attention(self, name, dim):
        self.layer(f"{name}.fn.fn.to_qkv", 3 * 128, dim, 1, 1, bias=False)
        self.layer(f"{name}.fn.fn.to_out", dim, 128, 1, 1)
        self.put(f"{name}.fn.g", 1, scale=0.002)  # more, and it squares what a random score lets grow

    def resnet(self, name, into, out, time):
        self.layer(f"{name}.mlp.1", out, time)
        self.masked(f"{name}.block1", into, out, 3)
        self.masked(f"{name}.block2", out, out, 3)
        if into != out:
            self.layer(f"{name}.res_conv", out, into, 1, 1)


def published(bands=80, channels=16, hidden=24, heads=2, layers=2, window=4, post=8, base=16, condition=16, vector=256):
    """A state dict of the whole network, as training saves it."""
    w, e = Layout(), "encoder.encoder"
    w.layer(f"{e}.init_proj", channels, bands, 1)
    for i in range(3):
        w.layer(f"{e}.prenet.conv_layers.{i}", channels, channels, 5)
        w.norm(f"{e}.prenet.norm_layers.{i}", channels, "gamma", "beta")
    w.layer(f"{e}.prenet.proj", channels, channels, 1)
    for i in range(layers):
        at = f"{e}.encoder.attn_layers.{i}"
        for name in "qkvo":
            w.layer(f"{at}.conv_{name}", channels, channels, 1)
        for name in "kv":
            w.put(f"{at}.emb_rel_{name}", 1, 2 * window + 1, channels // heads, scale=0.3)
        w.norm(f"{e}.encoder.norm_layers_1.{i}", channels, "gamma", "beta")
        w.layer(f"{e}.encoder.ffn_layers.{i}.conv_1", hidden, channels, 3)
        w.layer(f"{e}.encoder.ffn_layers.{i}.conv_2", channels, hidden, 3)
        w.norm(f"{e}.encoder.norm_layers_2.{i}", channels, "gamma", "beta")
    w.layer(f"{e}.term_proj", bands, channels, 1)
    p = "encoder.postnet"
    w.layer(f"{p}.init_conv", post, 1, 1, 1)
    w.masked(f"{p}.res_block.block1", post, post, 7)
    w.masked(f"{p}.res_block.block2", post, post, 7)
    w.layer(f"{p}.res_block.res", post, post, 1, 1)
    w.layer(f"{p}.final_conv", 1, post, 1, 1)
    d = "decoder.estimator"
    w.layer(f"{d}.mlp.0", 4 * base, base)
    w.layer(f"{d}.mlp.2", base, 4 * base)
    quarter = condition // 4
    w.layer(f"{d}.ref_block.mlp1.1", quarter, base)
    w.layer(f"{d}.ref_block.mlp2.1", 2 * quarter, base)
    for name, into, out in (("11", 1, 1), ("12", 1, 1), ("21", 1, 2), ("22", 2, 2), ("31", 2, 4), ("32", 4, 4)):
        into = 1 if name == "11" else into * quarter
        w.layer(f"{d}.ref_block.block{name}.0", 2 * out * quarter, into, 3, 3)
        w.norm(f"{d}.ref_block.block{name}.1", 2 * out * quarter)
    w.layer(f"{d}.ref_block.final_conv", condition, 4 * quarter, 1, 1)
    w.layer(f"{d}.cond_block.0", 4 * condition, base + condition + vector)
    w.layer(f"{d}.cond_block.2", condition, 4 * condition)
    dims = [2 + condition, base, 2 * base, 4 * base]
    for i in range(3):
        w.resnet(f"{d}.downs.{i}.0", dims[i], dims[i + 1], base)
        w.resnet(f"{d}.downs.{i}.1", dims[i + 1], dims[i + 1], base)
        w.attention(f"{d}.downs.{i}.2", dims[i + 1])
        if i < 2:
            w.layer(f"{d}.downs.{i}.3.conv", dims[i + 1], dims[i + 1], 3, 3)
    w.resnet(f"{d}.mid_block1", dims[3], dims[3], base)
    w.attention(f"{d}.mid_attn", dims[3])
    w.resnet(f"{d}.mid_block2", dims[3], dims[3], base)
    for i, (out, into) in enumerate(((dims[2], dims[3]), (dims[1], dims[2]))):
        w.resnet(f"{d}.ups.{i}.0", 2 * into, out, base)
        w.resnet(f"{d}.ups.{i}.1", out, out, base)
        w.attention(f"{d}.ups.{i}.2", out)
        w.layer(f"{d}.ups.{i}.3.conv", out, out, 4, 4)
    w.masked(f"{d}.final_block", base, base, 3)
    w.put(f"{d}.final_conv.weight", 1, base, 1, 1, scale=0.02)  # a random score drives no sample away
    w.put(f"{d}.final_conv.bias", 1, scale=0.1)
    return w.state


def mish(x):
    return x * torch.tanh(torch.log1p(x.exp()))


def gamma(s, t):
    return math.exp(-0.5 * (BETA[0] + 0.5 * (BETA[1] - BETA[0]) * (s + t)) * (t - s))


class Formulas:
    """The networks and the loop on a published state dict."""

    def __init__(self, state):
        self.state = state

    def has(self, name):
        return f"{name}.weight" in self.state

    def conv(self, name, x, **how):
        weight = self.state[f"{name}.weight"]
        bias = self.state.get(f"{name}.bias")
        run = F.conv1d if weight.dim() == 3 else F.conv2d
        return run(x, weight, bias, **({"padding": weight.shape[-1] // 2} | how))

    def linear(self, name, x):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, name, x):
        """Over the channels of (b, c, n)."""
        mean, var = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
        scale, shift = self.state[f"{name}.gamma"][:, None], self.state[f"{name}.beta"][:, None]
        return (x - mean) / (var + 1e-4).sqrt() * scale + shift

    # ------------------------------------------------------------- average voice
    def attend(self, name, x, mask, window):
        """softmax_j(q_i (k_j + r_{j-i}) / sqrt d) (v_j + s_{j-i}), offsets as far as the window."""
        rel_k, rel_v = self.state[f"{name}.emb_rel_k"][0], self.state[f"{name}.emb_rel_v"][0]
        heads = x.shape[1] // rel_k.shape[1]
        q, k, v = (self.conv(f"{name}.conv_{part}", x).chunk(heads, 1) for part in "qkv")
        n, out = x.shape[2], []
        apart = torch.arange(n) - torch.arange(n)[:, None] + window
        near = ((apart >= 0) & (apart <= 2 * window)).float()[..., None]
        here = lambda table: table[apart.clamp(0, 2 * window)] * near  # (i, j, d)
        there = (mask[:, 0, :, None] * mask[:, 0, None]).bool()
        for q, k, v in zip(q, k, v):  # noqa: B020
            score = torch.einsum("bdi,bdj->bij", q, k) + torch.einsum("bdi,ijd->bij", q, here(rel_k))
            share = (score / rel_k.shape[1] ** 0.5).masked_fill(~there, -1e4).softmax(-1)
            out.append(torch.einsum("bij,bdj->bdi", share, v) + torch.einsum("bij,ijd->bdi", share, here(rel_v)))
        return self.conv(f"{name}.conv_o", torch.cat(out, 1))

    def average(self, mel, mask):
        """(b, m, n), (b, 1, n) -> the average voice."""
        e = "encoder.encoder"
        x = start = self.conv(f"{e}.init_proj", mel * mask)
        for i in range(3):
            x = self.norm(f"{e}.prenet.norm_layers.{i}", self.conv(f"{e}.prenet.conv_layers.{i}", x * mask)).relu()
        x = (start + self.conv(f"{e}.prenet.proj", x)) * mask
        for i in range(len([name for name in self.state if name.endswith("emb_rel_k")])):
            at = f"{e}.encoder"
            x = x * mask
            window = self.state[f"{at}.attn_layers.{i}.emb_rel_k"].shape[1] // 2
            x = self.norm(f"{at}.norm_layers_1.{i}", x + self.attend(f"{at}.attn_layers.{i}", x, mask, window))
            feed = self.conv(f"{at}.ffn_layers.{i}.conv_1", x * mask).relu()
            feed = self.conv(f"{at}.ffn_layers.{i}.conv_2", feed * mask) * mask
            x = self.norm(f"{at}.norm_layers_2.{i}", x + feed)
        x = self.conv(f"{e}.term_proj", x * mask * mask)
        p, mask = "encoder.postnet", mask[:, None]
        y = self.conv(f"{p}.init_conv", x[:, None] * mask)
        z = self.masked(f"{p}.res_block.block2", self.masked(f"{p}.res_block.block1", y, mask), mask)
        y = z + self.conv(f"{p}.res_block.res", y * mask)
        return self.conv(f"{p}.final_conv", y * mask)[:, 0]

    # --------------------------------------------------------------------- score
    def masked(self, name, x, mask):
        x = self.conv(f"{name}.block.0", x * mask)
        x = F.group_norm(x, 8, self.state[f"{name}.block.1.weight"], self.state[f"{name}.block.1.bias"])
        return mish(x) * mask

    def resnet(self, name, x, mask, time):
        y = self.masked(f"{name}.block1", x, mask) + self.linear(f"{name}.mlp.1", mish(time))[..., None, None]
        short = self.conv(f"{name}.res_conv", x * mask) if self.has(f"{name}.res_conv") else x * mask
        return self.masked(f"{name}.block2", y, mask) + short

    def attention(self, name, x):
        b, _, m, n = x.shape
        q, k, v = self.conv(f"{name}.fn.fn.to_qkv", x).reshape(b, 3, 4, 32, m * n).unbind(1)
        context = torch.einsum("bhdn,bhen->bhde", k.softmax(-1), v)
        seen = torch.einsum("bhde,bhdn->bhen", context, q).reshape(b, 128, m, n)
        return x + self.state[f"{name}.fn.g"] * self.conv(f"{name}.fn.fn.to_out", seen)

    def summary(self, ref, mask, time):
        d = "decoder.estimator.ref_block"

        def gate(name, x):
            x = F.instance_norm(self.conv(f"{d}.block{name}.0", x))
            scale, shift = self.state[f"{d}.block{name}.1.weight"], self.state[f"{d}.block{name}.1.bias"]
            one, two = (x * scale[:, None, None] + shift[:, None, None]).chunk(2, 1)
            return one * two.sigmoid()

        y = gate("12", gate("11", ref * mask) * mask) + self.linear(f"{d}.mlp1.1", mish(time))[..., None, None]
        y = gate("22", gate("21", y * mask) * mask) + self.linear(f"{d}.mlp2.1", mish(time))[..., None, None]
        y = self.conv(f"{d}.final_conv", gate("32", gate("31", y * mask) * mask) * mask)
        return (y * mask).sum((2, 3)) / (mask.sum((2, 3)) * ref.shape[2])

    def score(self, x, mask, mean, ref, ref_mask, vector, t):
        d = "decoder.estimator"
        half = self.state[f"{d}.mlp.0.weight"].shape[1] // 2
        angles = 1000 * t * torch.exp(-math.log(10000) / (half - 1) * torch.arange(half))
        wave = torch.cat((angles.sin(), angles.cos()))[None].expand(len(x), -1)
        time = self.linear(f"{d}.mlp.2", mish(self.linear(f"{d}.mlp.0", wave)))
        told = torch.cat((wave, self.summary(ref[:, None], ref_mask[:, None], time), vector), 1)
        told = self.linear(f"{d}.cond_block.2", mish(self.linear(f"{d}.cond_block.0", told)))
        y = torch.cat((mean[:, None], x[:, None], told[..., None, None].expand(-1, -1, *x.shape[1:])), 1)
        masks, held = [mask[:, None]], []
        for i in range(3):
            here = masks[-1]
            y = self.resnet(f"{d}.downs.{i}.1", self.resnet(f"{d}.downs.{i}.0", y, here, time), here, time)
            y = self.attention(f"{d}.downs.{i}.2", y)
            held.append(y)
            y = self.conv(f"{d}.downs.{i}.3.conv", y * here, stride=2) if i < 2 else y * here
            masks.append(here[..., ::2])
        masks.pop()
        y = self.attention(f"{d}.mid_attn", self.resnet(f"{d}.mid_block1", y, masks[-1], time))
        y = self.resnet(f"{d}.mid_block2", y, masks[-1], time)
        for i in range(2):
            here = masks.pop()
            y = torch.cat((y, held.pop()), 1)
            y = self.resnet(f"{d}.ups.{i}.1", self.resnet(f"{d}.ups.{i}.0", y, here, time), here, time)
            y = self.attention(f"{d}.ups.{i}.2", y) * here
            weight, bias = (self.state[f"{d}.ups.{i}.3.conv.{part}"] for part in ("weight", "bias"))
            y = F.conv_transpose2d(y, weight, bias, stride=2, padding=1)
        mask = mask[:, None]
        return (self.conv(f"{d}.final_conv", self.masked(f"{d}.final_block", y, mask) * mask) * mask)[:, 0]

    # ---------------------------------------------------------------------- loop
    def convert(self, source, reference, vector, steps, noise, solver="ml", reference_mask=None):
        """Mels (b, m, n) and (b, m, n'), vector (b, v); ``noise()`` gives each draw -> (b, m, n)."""
        n = source.shape[2]
        mask = torch.ones(len(source), 1, n)
        ref_mask = torch.ones(len(source), 1, reference.shape[2]) if reference_mask is None else reference_mask
        mean, ref_mean = self.average(source, mask), self.average(reference, ref_mask)
        start = gamma(0, 1) * source + (1 - gamma(0, 1)) * mean
        pad = lambda x: F.pad(x, (0, -n % 4))
        mask, mean = pad(mask), pad(mean)
        x, h = (pad(start) + noise()) * mask, 1 / steps
        for i in range(steps):
            t = 1 - i * h
            beta = BETA[0] + (BETA[1] - BETA[0]) * t
            ref = (gamma(0, t) * reference + (1 - gamma(0, t)) * ref_mean) * ref_mask
            s = self.score(x, mask, mean, ref, ref_mask, vector, t)
            if solver == "pf":
                x = (x - 0.5 * (mean - x - s) * beta * h) * mask
                continue
            kappa, omega, sigma = 0.0, 0.0, math.sqrt(beta * h)
            if solver == "ml":
                u = max(t - h, 0.0)
                left = 1 - gamma(0, t) ** 2
                mu = gamma(u, t) * (1 - gamma(0, u) ** 2) / left
                nu = gamma(0, u) * (1 - gamma(u, t) ** 2) / left
                sigma = math.sqrt((1 - gamma(0, u) ** 2) * (1 - gamma(u, t) ** 2) / left)
                kappa = gamma(0, u) * (1 - gamma(u, t) ** 2) / (gamma(0, t) * beta * h) - 1
                omega = nu / gamma(0, t) + mu - (0.5 * beta * h + 1)
            change = (mean - x) * (0.5 * beta * h + omega) - s * (1 + kappa) * beta * h
            x = (x - change + noise() * sigma) * mask  # the release subtracts its noise: a Gaussian has no sign
        return x[..., :n]
