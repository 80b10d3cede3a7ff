"""MusER's autoencoder (Ji and Yang, AAAI 2024): a VQ-VAE over compound words with a two-level decoder.

Shapes: b batch, n steps, k codes, s = 7 element slots of the latent, 16 dimensions each.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gen import registry
from gen.network import ConfigMixin, ModelMixin, register_to_config
from gen.nn import Block, positions
from gen.quantize import SlotVectorQuantizer
from music.tokens import BAR, BEAT, CHORD, CONTI, ELEMENTS, START, TYPE, Vocabulary

SLOTS = (TYPE, *(e for e in range(7) if e != TYPE))  # a step's codes with a quantizer per slot: its type comes first
ORDERED = tuple(ELEMENTS.index(e) for e in ("tempo", "beat", "pitch", "duration", "velocity"))


def stack(spec: dict, layer: dict, cross: bool = False) -> nn.ModuleList:
    """``spec["layers"]`` transformer blocks; ``layer`` holds kind, norm_first and dropout."""
    size = spec["width"], spec["heads"], spec["ffn"]
    return nn.ModuleList(Block(*size, cross=cross, **layer) for _ in range(spec["layers"]))


class Embedding(nn.Module):
    """Rows of ids (b, n, 7) -> (b, n, sum of widths): each element looked up and scaled by sqrt(its width)."""

    def __init__(self, classes: list[int], widths: list[int]):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(c, w) for c, w in zip(classes, widths, strict=True))
        for table in self.tables:
            nn.init.normal_(table.weight, std=table.embedding_dim**-0.5)

    @torch.no_grad()
    def begin_smooth(self, element: int, values: Tensor) -> None:
        """Start an element's vectors as waves over its physical ``values`` (classes,), so that neighbours are alike."""
        table, known = self.tables[element].weight, values.isfinite()
        place = (values[known] - values[known].min()) / (values[known].max() - values[known].min())
        rates = torch.linspace(0.25, 8, table.shape[1])
        table[known] = torch.cos(torch.pi * (place[:, None] * rates)) * (2 / table.shape[1]) ** 0.5

    def forward(self, rows: Tensor) -> Tensor:
        return torch.cat([t(rows[..., e]) * t.embedding_dim**0.5 for e, t in enumerate(self.tables)], dim=-1)


class DimensionReducer(nn.Module):
    """MusER's training-only reducer: a slot (b, n, 16) -> one value a step (b, n), by a transformer over its rows."""

    def __init__(self, length: int = 1024, layers: int = 4, heads: int = 4, ffn: int = 4096, kind: str = "linear"):
        super().__init__()
        self.length = length
        self.blocks = nn.ModuleList(Block(length, heads, ffn, kind, norm_first=False) for _ in range(layers))
        self.norm = nn.LayerNorm(length)

    def forward(self, slot: Tensor) -> Tensor:
        n = slot.shape[1]
        x = F.pad(rearrange(slot, "b n d -> b d n"), (0, self.length - n))
        x = x + positions(0, x.shape[1], x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0, :n]


class Losses(NamedTuple):
    """Scalars: the joint negative log-likelihood a step, the quantizer's and the regulariser's terms."""

    nll: Tensor
    quantizer: Tensor
    order: Tensor
    elements: Tensor  # mean NLL of each element where it applies
    correct: Tensor  # (7,) share predicted right where it applies


class MusER(ModelMixin, ConfigMixin):
    """Encoder, quantizer, global decoder and seven element decoders.

    Args (all JSON): ``classes`` ids and ``embed`` width of each element; ``encoder`` and ``decoder`` {width, layers,
    heads, ffn}; without an encoder (None) each slot reads its own element of its own row alone; ``elements`` {layers,
    heads, ffn, slot}, where ``slot`` is each one's part of the latent (16); ``quantizer`` and ``conditioner`` {name,
    **config}; ``layer`` {kind, norm_first, dropout}; ``reducer`` "mean" or "transformer". With ``marks_bars`` a Bar
    row has a code of its own, ``bar`` (= the quantizer's size), so that counting codes counts bars.
    """

    @register_to_config
    def __init__(
        self,
        classes: list[int],
        embed: list[int],
        encoder: dict | None,
        decoder: dict,
        elements: dict,
        quantizer: dict,
        conditioner: dict,
        layer: dict,
        reducer: str = "mean",
        marks_bars: bool = True,
    ):
        super().__init__()
        self.slot = elements.get("slot", 16)
        latent, width = 7 * self.slot, decoder["width"]
        self.linear = layer["kind"] == "linear"
        self.embedding = Embedding(classes, embed)
        self.emotion = registry.build("conditioner", **conditioner)
        self.encoder_layers = None if encoder is None else stack(encoder, layer)
        if encoder is None:
            self.to_slots = nn.ModuleList(nn.Linear(width, self.slot) for width in embed)
        else:
            self.encoder_in = nn.Linear(sum(embed), encoder["width"])
            self.encoder_norm = nn.LayerNorm(encoder["width"])
            self.to_latent = nn.Linear(encoder["width"], latent)
        self.codebook = registry.build("quantizer", dim=latent, **quantizer)
        self.bar_code = nn.Parameter(torch.randn(latent) * 0.1)
        self.decoder_in = nn.Linear(sum(embed) + conditioner["dim"], width)
        self.memory_in = nn.Linear(latent, width)
        self.decoder_layers = stack(decoder, layer, cross=True)
        self.decoder_norm = nn.LayerNorm(width)
        self.slot_in = nn.Linear(self.slot, width)
        per_element = {"width": width, **elements}
        self.element_layers = nn.ModuleList(stack(per_element, layer) for _ in ELEMENTS)
        self.element_norms = nn.ModuleList(nn.LayerNorm(width) for _ in ELEMENTS)
        self.with_type = nn.Linear(width + embed[TYPE], width)
        self.heads = nn.ModuleList(nn.Linear(width, c) for c in classes)
        self.reduce = DimensionReducer(kind=layer["kind"]) if reducer == "transformer" else None
        self.chord_probe = nn.Linear(self.slot, classes[CHORD])
        numbers = [torch.tensor(Vocabulary.default().numbers(e), dtype=torch.float) for e in ORDERED]
        self.numbers = dict(zip(ORDERED, numbers, strict=True))  # physical values of ids, for the regulariser
        if list(classes) == list(Vocabulary.default().sizes):
            for element, values in self.numbers.items():
                self.embedding.begin_smooth(element, values)

    @property
    def bar(self) -> int:
        return self.codebook.size

    @property
    def literal(self) -> bool:
        """True if codes equal the ids of the elements (after :meth:`fit_codebook`): each slot encodes only its element
        and has enough codes for its ids."""
        book = self.codebook
        alone = self.encoder_layers is None and isinstance(book, SlotVectorQuantizer)
        return alone and book.size >= max(self.config.classes)

    # ------------------------------------------------------------------ codes
    def place(self, x: Tensor, start: int = 0) -> Tensor:
        """Absolute positions for linear attention; softmax attention carries rotary ones itself."""
        return x + positions(start, x.shape[1], x) if self.linear else x

    def encode(self, rows: Tensor, mask: Tensor | None = None) -> Tensor:
        """Rows (b, n, 7), mask (b, n) -> latents (b, n, 112) before quantisation."""
        if self.encoder_layers is None:
            parts = self.embedding(rows).split(self.config.embed, dim=-1)
            return torch.cat([to_slot(part) for to_slot, part in zip(self.to_slots, parts, strict=True)], dim=-1)
        x = self.place(self.encoder_in(self.embedding(rows)))
        for block in self.encoder_layers:
            x = block(x, mask)
        return self.to_latent(self.encoder_norm(x))

    @torch.no_grad()
    def fit_codebook(self) -> None:
        """Put a code on each id's latent where slots read their own element alone: codes then lose nothing."""
        if not self.literal:
            return
        for table, to_slot, book in zip(self.embedding.tables, self.to_slots, self.codebook.books, strict=True):
            latents = to_slot(table.weight * table.embedding_dim**0.5)
            book.codes[: len(latents)] = latents
            book.codes[len(latents) :] = 1e3  # out of reach
            book.count.zero_()
            book.total.zero_()

    def off(self, rows: Tensor) -> Tensor:
        """Mask of unused codes: of Bar rows (b, n, 1); with a quantizer per slot, also of unset slots (b, n, 7)."""
        is_bar = (rows[..., BEAT, None] == BAR) & self.config.marks_bars
        return is_bar if self.codebook.slots == 1 else is_bar | (rows == 0)

    def codes(self, rows: Tensor, mask: Tensor | None = None) -> Tensor:
        """Rows -> codes (b, n, s), s = 1 or 7 in the order of SLOTS; ``self.bar`` where there is nothing to say.

        Never under autocast: a bfloat16 latent may fall to another code than the float32 one of the same row.
        """
        with torch.autocast(rows.device.type, enabled=False):
            index = self.codebook.encode(self.encode(rows, mask))
        index = index[..., None] if index.dim() == 2 else index
        index = torch.where(self.off(rows), self.bar, index)
        return index if index.shape[2] == 1 else index[..., SLOTS]

    def latents(self, codes: Tensor) -> Tensor:
        """Codes (b, n, s) -> latents (b, n, 112)."""
        if codes.shape[2] > 1:
            codes = codes[..., [SLOTS.index(e) for e in range(7)]]
        z = self.codebook.decode((codes if codes.shape[2] > 1 else codes[..., 0]).clamp_max(self.bar - 1))
        return self.silence(z.to(self.bar_code.dtype), codes >= self.bar)

    def silence(self, z: Tensor, off: Tensor) -> Tensor:
        """Latents (b, n, 112) with the Bar's in every slot that is ``off`` (b, n, 1 or 7)."""
        return torch.where(off.repeat_interleave(z.shape[2] // off.shape[2], dim=2), self.bar_code, z)

    # ---------------------------------------------------------------- decoder
    def remember(self, z: Tensor, mask: Tensor | None = None) -> list[tuple]:
        """Latents (b, m, 112) -> what each global layer's cross-attention looks at."""
        context = self.memory_in(z)
        return [block.cross.remember(context, mask) for block in self.decoder_layers]

    def hidden(self, previous: Tensor, cond: Tensor, memory: list[tuple], states: list | None = None) -> Tensor:
        """Global decoder: previous rows (b, n, 7) and conditions (b, n, c) -> (b, n, width)."""
        return self.decode(self.decoder_in(torch.cat((self.embedding(previous), cond), dim=-1)), memory, states)

    def entrance(self, cond: Tensor) -> tuple[Tensor, Tensor]:
        """The input layer worked out for all it can be given: what each id adds (sum of classes, width), element after
        element, and conditions (b, n, c) -> (b, n, width)."""
        *parts, told = self.decoder_in.weight.split([*self.config.embed, cond.shape[-1]], dim=1)
        tables = (F.linear(t.weight * t.embedding_dim**0.5, w) for t, w in zip(self.embedding.tables, parts))
        return torch.cat([*tables]), F.linear(cond, told, self.decoder_in.bias)

    def decode(self, x: Tensor, memory: list[tuple], states: list | None = None) -> Tensor:
        """Inputs (b, n, width) of the global decoder -> (b, n, width)."""
        x = self.place(x, states[0]["at"] if states else 0)
        for i, block in enumerate(self.decoder_layers):
            x = block.causal(x, states[i] if states else None, memory[i])
        return self.decoder_norm(x)

    def element_input(self, element: int, hidden: Tensor, z: Tensor) -> Tensor:
        return hidden + self.slot_in(z[..., element * self.slot : (element + 1) * self.slot])

    def element(self, element: int, x: Tensor, states: list | None = None) -> Tensor:
        """One element's decoder over its inputs (b, n, width)."""
        x = self.place(x, states[0]["at"] if states else 0)
        for i, block in enumerate(self.element_layers[element]):
            x = block.causal(x, states[i] if states else None)
        return self.element_norms[element](x)

    def logits(self, element: int, x: Tensor, kind: Tensor | None = None) -> Tensor:
        """Decoded (b, n, width) -> (b, n, classes); all but the type also see ``kind`` (b, n), the row's type."""
        if element != TYPE:
            table = self.embedding.tables[TYPE]
            x = self.with_type(torch.cat((x, table(kind) * table.embedding_dim**0.5), dim=-1))
        return self.heads[element](x)

    # --------------------------------------------------------------- training
    def forward(self, rows: Tensor, mask: Tensor, cond: Tensor) -> Losses:
        """Rows (b, n, 7), mask (b, n), conditions per step (b, n, c) -> the training losses."""
        latent = self.encode(rows, mask)
        off = self.off(rows)
        told = mask[..., None] & ~off
        coded = told.any(-1)
        quantized = self.codebook(latent, told if self.codebook.slots > 1 else coded)
        z = self.silence(quantized.z, off)
        start = torch.zeros_like(rows[:, :1])
        start[..., TYPE] = START
        previous = torch.cat((start, rows[:, :-1]), dim=1)
        hidden = self.hidden(previous, cond, self.remember(z, mask))
        nll, counts, correct = [], [], []
        for e in range(7):
            applies = mask & ((rows[..., e] > 0) | (e == TYPE))
            x = self.element(e, self.element_input(e, hidden, z))[applies]
            target = rows[..., e][applies]
            logits = self.logits(e, x, rows[..., TYPE][applies]).float()
            nll.append(F.cross_entropy(logits, target, reduction="sum"))
            counts.append(max(len(target), 1))
            correct.append((logits.argmax(-1) == target).sum() / counts[-1])
        elements = torch.stack([loss / count for loss, count in zip(nll, counts, strict=True)])
        order = self.order_loss(rows, z, coded)
        return Losses(sum(nll) / mask.sum(), quantized.loss, order, elements.detach(), torch.stack(correct))

    def order_loss(self, rows: Tensor, z: Tensor, coded: Tensor) -> Tensor:
        """Element-wise regulariser (MusER sec. 3.3), on physical values: each slot's reduction keeps their order.

        Mean over pairs of |tanh(r_a - r_b) - sign(v_a - v_b)|; chords, which have no order, are read off their slot
        by a linear probe instead.
        """
        terms = []
        for e in ORDERED:
            slot = z[..., e * self.slot : (e + 1) * self.slot]
            reduced = self.reduce(slot) if self.reduce is not None else slot.mean(-1)
            value = self.numbers[e].to(z.device)[rows[..., e]]
            keep = coded & value.isfinite()
            r, v = reduced[keep].float(), value[keep]
            other = torch.randperm(len(r), device=r.device)
            terms.append((torch.tanh(r - r[other]) - torch.sign(v - v[other])).abs().sum() / max(len(r), 1))
        chord = rows[..., CHORD]
        named = coded & (chord > CONTI)
        probe = self.chord_probe(z[..., CHORD * self.slot : (CHORD + 1) * self.slot][named])
        terms.append(F.cross_entropy(probe.float(), chord[named], reduction="sum") / max(len(probe), 1) / 4)
        return torch.stack(terms).sum()
