"""MusER's release in small: random weights under the published keys, and the forward pass from the formulas."""

import pickle
from typing import NamedTuple

import torch
import torch.nn.functional as F

from music.chords import QUALITIES, ROOTS


class Size(NamedTuple):
    """Widths of the embeddings and of a slot, codes in use and in all; of each stack layers, width and ffn."""

    embed: tuple[int, ...]  # in the order of NAMES
    slot: int
    used: int
    codes: int
    encoder: tuple[int, int, int]
    decoder: tuple[int, int, int]
    elements: tuple[int, int]  # layers, ffn
    prior: tuple[int, int, int]


SMALL = Size((6, 8, 4, 4, 10, 6, 6, 6), 4, 11, 16, (2, 16, 24), (2, 24, 40), (1, 40), (2, 16, 24))
PAPER = Size(
    (128, 256, 64, 32, 512, 128, 128, 128), 16, 512, 512, (8, 128, 512), (4, 256, 1024), (2, 1024), (8, 256, 1024)
)
HEADS, SLOT, USED = 8, SMALL.slot, SMALL.used
NAMES = ("tempo", "chord", "bar_beat", "type", "pitch", "duration", "velocity", "emotion")
EMBED = dict(zip(NAMES, SMALL.embed, strict=True))
JOINED = ("type", "tempo", "chord", "bar_beat", "pitch", "duration", "velocity", "emotion")  # order in a row
DECODERS = ("tempo", "chord", "beat", "type", "pitch", "duration", "velocity")


def dictionary():
    """event -> id per element, ids by sorting numbers first and then texts as texts."""
    events = {
        "tempo": [0, "CONTI", *(f"Tempo_{bpm}" for bpm in range(32, 192, 3))],
        "chord": [0, "CONTI", "N_N", *(f"{root}_{quality}" for root in ROOTS for quality in QUALITIES)],
        "bar-beat": [0, "Bar", *(f"Beat_{k}" for k in range(16))],
        "type": ["EOS", "Emotion", "Metrical", "Note"],
        "pitch": [0, *(f"Note_Pitch_{p}" for p in range(22, 108))],
        "duration": [0, *(f"Note_Duration_{t}" for t in range(0, 1921, 120))],
        "velocity": [0, *(f"Note_Velocity_{v}" for v in range(42, 124, 2))],
        "emotion": [0, "Q1", "Q2", "Q3", "Q4"],
    }
    order = lambda event: (isinstance(event, str), event)
    return {name: {e: i for i, e in enumerate(sorted(found, key=order))} for name, found in events.items()}


CLASSES = {name.replace("-", "_"): len(ids) for name, ids in dictionary().items()}


class Layout:
    """Random weights under the published keys."""

    def __init__(self, seed):
        self.state, self.random = {}, torch.Generator().manual_seed(seed)

    def put(self, name, *shape):
        self.state[name] = torch.randn(*shape, generator=self.random) * shape[-1] ** -0.5

    def linear(self, name, inward, outward):
        self.put(f"{name}.weight", outward, inward)
        self.put(f"{name}.bias", outward)

    def norm(self, name, width):
        self.put(f"{name}.weight", width)
        self.put(f"{name}.bias", width)

    def stack(self, name, layers, width, ffn, cross=False):
        for i in range(layers):
            for attention in ("self_attention", "cross_attention") if cross else ("attention",):
                for part in ("query", "key", "value", "out"):
                    self.linear(f"{name}.layers.{i}.{attention}.{part}_projection", width, width)
            self.linear(f"{name}.layers.{i}.linear1", width, ffn)
            self.linear(f"{name}.layers.{i}.linear2", ffn, width)
            for j in range(3 if cross else 2):
                self.norm(f"{name}.layers.{i}.norm{j + 1}", width)
        self.norm(f"{name}.norm", width)

    def positions(self, name, width, length=64):
        self.state[f"{name}.0.pe"] = waves(length, width)[None]


def waves(length, width):
    """sin and cos of place / 10000^(2i / width), interleaved."""
    angle = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(1)


def published_autoencoder(size=SMALL):
    w, embed, slot = Layout(1), dict(zip(NAMES, size.embed, strict=True)), size.slot
    for name, width in embed.items():
        w.put(f"{name}_emb.lut.weight", CLASSES[name], width)
    inputs, encoder, decoder = sum(size.embed), size.encoder[1], size.decoder[1]
    w.linear("input_y_linear", inputs - embed["emotion"], encoder)
    w.positions("pos_embedd", encoder)
    w.stack("transformer_encoder", *size.encoder)
    w.linear("latent_linear", encoder, 7 * slot)
    for name, shape in (
        ("embeddings", (size.codes, 7 * slot)),
        ("ema_dw.hidden", (size.codes, 7 * slot)),
        ("ema_cluster_size.hidden", (size.codes,)),
    ):
        w.put(f"VQ.{name}", *shape)
    w.positions("VQ_pos_embedd", 32)
    w.stack("DR", 2, 32, 48)
    w.linear("input_x_linear_emo", inputs, decoder)
    w.positions("decoder_pos_embedd", decoder)
    w.linear("decoder_cross_linear", 7 * slot, decoder)
    w.stack("transformer_decoder", *size.decoder, cross=True)
    w.linear("subDecoder_linear", slot, decoder)
    w.linear("project_concat_type", decoder + embed["type"], decoder)
    layers, ffn = size.elements
    for part, name in zip(DECODERS, NAMES, strict=False):
        w.stack(f"{part}_decoder", layers, decoder, ffn)
        w.linear(f"predict_{name}", decoder, CLASSES[name])
    return w.state


def published_prior(size=SMALL):
    w, width = Layout(2), size.prior[1]
    w.put("emb.lut.weight", size.used + 5, width)
    w.linear("input_linear", width, width)
    w.positions("pos_embedd", width)
    w.stack("transformer_encoder", *size.prior)
    w.linear("predict_fc", width, size.used)
    return w.state


# ------------------------------------------------- the published forward pass


class Formulas:
    """The networks as the paper writes them, on a published state dict."""

    def __init__(self, state):
        self.state = state

    def linear(self, name, x):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, name, x):
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def embed(self, name, ids):
        table = self.state[f"{name}.lut.weight"]
        return table[ids] * table.shape[1] ** 0.5

    def attend(self, name, x, context, causal):
        """sum_j f(q_i).f(k_j) v_j / sum_j f(q_i).f(k_j), with f = elu + 1, head by head."""
        q, k, v = (
            self.linear(f"{name}.{part}_projection", y)
            for part, y in (("query", x), ("key", context), ("value", context))
        )
        heads = []
        for q, k, v in zip(*(y.chunk(HEADS, -1) for y in (q, k, v)), strict=True):  # noqa: B020
            alike = (F.elu(q) + 1) @ (F.elu(k) + 1).T
            alike = alike.tril() if causal else alike
            heads.append(alike @ v / alike.sum(-1, keepdim=True))
        return self.linear(f"{name}.out_projection", torch.cat(heads, -1))

    def stack(self, name, x, causal, memory=None):
        layers = {key.split(".")[2] for key in self.state if key.startswith(f"{name}.layers.")}
        for i in range(len(layers)):
            at = f"{name}.layers.{i}"
            own = "attention" if memory is None else "self_attention"
            x = self.norm(f"{at}.norm1", x + self.attend(f"{at}.{own}", x, x, causal))
            if memory is not None:
                x = self.norm(f"{at}.norm2", x + self.attend(f"{at}.cross_attention", x, memory, False))
            feed = self.linear(f"{at}.linear2", F.gelu(self.linear(f"{at}.linear1", x)))
            x = self.norm(f"{at}.norm{2 if memory is None else 3}", x + feed)
        return self.norm(f"{name}.norm", x)

    def positions(self, x):
        return x + waves(*x.shape)

    def rows(self, ids, count):
        """Embeddings side by side in the upstream order; ids (n, 7 or 8) are in the compound word's."""
        places = list(EMBED)
        return torch.cat([self.embed(f"{name}_emb", ids[:, places.index(name)]) for name in JOINED[:count]], -1)

    def latent(self, target):
        x = self.positions(self.linear("input_y_linear", self.rows(target, 7)))
        return self.linear("latent_linear", self.stack("transformer_encoder", x, causal=False))

    def codes(self, target):
        return torch.cdist(self.latent(target), self.state["VQ.embeddings"]).argmin(1)

    def logits(self, previous, target_types, codes):
        """Rows with emotion (n, 8), the types that they lead to (n,), None for the likeliest, and codes (n,) -> logits
        of each element."""
        z = self.state["VQ.embeddings"][codes]
        x = self.positions(self.linear("input_x_linear_emo", self.rows(previous, 8)))
        hidden = self.stack("transformer_decoder", x, True, memory=self.linear("decoder_cross_linear", z))
        out = {}
        for name in ("type", *(name for name in NAMES[:7] if name != "type")):
            i = NAMES.index(name)
            h = hidden + self.linear("subDecoder_linear", z.unflatten(1, (7, -1))[: len(x), i])
            h = self.stack(f"{DECODERS[i]}_decoder", self.positions(h), causal=True)
            if name != "type":
                types = out["type"].argmax(-1) if target_types is None else target_types
                h = self.linear("project_concat_type", torch.cat((h, self.embed("type_emb", types)), -1))
            out[name] = self.linear(f"predict_{name}", h)
        return [out[name] for name in NAMES[:7]]

    def prior(self, tokens):
        x = self.positions(self.linear("input_linear", self.embed("emb", tokens)))
        return self.linear("predict_fc", self.stack("transformer_encoder", x, causal=True))


# ---------------------------------------------------------------------- files


def numbering(seed=3, size=SMALL):
    codes = torch.randperm(size.codes, generator=torch.Generator().manual_seed(seed))[: size.used].tolist()
    return {code: i for i, code in enumerate(codes)}, dict(enumerate(codes))


def write(folder, main=None, prior=None, tables=None, words=None, size=SMALL):
    for name, state in (("muser", main or published_autoencoder(size)), ("prior", prior or published_prior(size))):
        (folder / "saved_models" / name).mkdir(parents=True)
        torch.save({"model": state, "optimizer": {}, "epoch": 3}, folder / "saved_models" / name / "best.pt")
    word2event = {name: {i: e for e, i in ids.items()} for name, ids in dictionary().items()}
    (folder / "dictionary.pkl").write_bytes(pickle.dumps((words or dictionary(), word2event)))
    (folder / "VQ_dict.data").write_bytes(pickle.dumps(tables or numbering(size=size)))
    return folder
