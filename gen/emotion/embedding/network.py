"""One Gaussian space for voices, faces and music (after the embedder of DICE-Talk, ACM MM 2025, sec. 3.2).

b batch, n steps, f features of a step (:mod:`gen.emotion.embedding.features`), d width, e = 256 width of the
space. An encoder per modality maps steps to one vector; a shared head maps it to the mean and variance of an emotion,
through a neck of a few dimensions, which keeps emotion and drops most of the identity.

A voice has an encoder of its own (:mod:`gen.emotion.embedding.voice`), which maps a recording to one vector. If there
are other recordings of the same speaker, the difference from their mean vector and their number are inputs too. Voice
and face together are the mean of both.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen.emotion.embedding import features
from gen.emotion.embedding.voice import VoiceEncoder, moments
from gen.emotion.lexicon import CANONICAL
from gen.network import ConfigMixin, ModelMixin, register_to_config
from gen.nn import Block

TERMS = (*CANONICAL, "calm", "bored")  # the classes; only some speech corpora have the last two
LOG_VAR = (-6.0, 2.0)
WELL_KNOWN = 4.0  # log1p of the number of recordings (54) that is scaled to 1


class Reference(NamedTuple):
    """Other recordings of the speakers, as a baseline for their voices."""

    middle: Tensor  # (b, v) the mean vector of other recordings
    count: Tensor  # (b,) their number; if 0, the middle is unused


class Gaussian(NamedTuple):
    """An emotion in the space."""

    mu: Tensor  # (b, e) a LayerNorm without gain, then whitened
    log_var: Tensor  # (b, e)

    def sample(self) -> Tensor:
        return self.mu + torch.randn_like(self.mu) * (0.5 * self.log_var).exp()


class Reading(NamedTuple):
    """The outputs of the heads for a mean; logits before calibration."""

    terms: Tensor  # (b, 10) over TERMS
    quadrants: Tensor  # (b, 4)
    vad: Tensor  # (b, 3) in [-1, 1]


class Encoder(nn.Module):
    """Steps (b n f) -> (b n d): a projection, dilated convolutions in time and one layer of attention."""

    def __init__(self, size: int, width: int, dilations: tuple[int, ...], dropout: float):
        super().__init__()
        self.project = nn.Linear(size, width)
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2 * d, dilation=d) for d in dilations)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in dilations)
        self.block = Block(width, 4, 2 * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        x = self._drop(self.project(rows))
        for conv, norm in zip(self.convs, self.norms):
            y = conv((norm(x) * mask[..., None]).transpose(1, 2)).transpose(1, 2)
            x = x + self._drop(F.relu(y))
        return self._drop(self.block(x, mask))

    def _drop(self, x: Tensor) -> Tensor:
        """Drops channels for all steps of a clip at once."""
        return x * self.dropout(torch.ones_like(x[:, :1]))


class Pool(nn.Module):
    """(b n d) and the steps they come from (b n f) -> (b, out): attentive mean and standard deviation (Okabe et al.,
    Interspeech 2018, sec. 2.2), and plain mean and standard deviation of both.
    """

    def __init__(self, size: int, width: int, out: int, heads: int = 2):
        super().__init__()
        self.attend = nn.Linear(width, heads)
        self.norm = nn.LayerNorm(width * (2 * heads + 2))
        self.out = nn.Linear(width * (2 * heads + 2), out)
        self.plain = nn.Sequential(nn.Linear(2 * size, out), nn.ReLU(), nn.Dropout(0.3), nn.Linear(out, out))

    def forward(self, x: Tensor, rows: Tensor, mask: Tensor) -> Tensor:
        weight = self.attend(x).masked_fill(~mask[..., None], -torch.inf).softmax(1)
        focus = torch.einsum("bnh,bnd->bhd", weight, x)
        spread = torch.einsum("bnh,bnd->bhd", weight, x.square()) - focus.square()
        seen = *moments(x, mask), focus.flatten(1), spread.clamp(min=0).add(1e-4).sqrt().flatten(1)
        return self.plain(torch.cat(moments(rows, mask), 1)) + self.out(self.norm(torch.cat(seen, 1)))


class EmotionEmbedder(ModelMixin, ConfigMixin):
    """Voice, face, both together, or music -> :class:`Gaussian` -> :class:`Reading`."""

    @register_to_config
    def __init__(
        self,
        space: int = 256,
        width: int = 96,
        pooled: int = 128,
        neck: int = 16,
        dropout: float = 0.2,
        voice_width: int = 192,
        vector: int = 192,
    ):
        super().__init__()
        dilations = {"face": (1, 2), "music": (1, 3)}
        sizes = features.SIZES
        self.voice = VoiceEncoder(voice_width, vector)
        self.heard = nn.Sequential(
            nn.Linear(2 * vector + 1, pooled), nn.GELU(), nn.Dropout(dropout), nn.Linear(pooled, pooled)
        )
        self.outside = nn.Linear(vector, 1)
        self.encoders = nn.ModuleDict({n: Encoder(sizes[n], width, dilations[n], dropout) for n in dilations})
        self.pools = nn.ModuleDict({n: Pool(sizes[n], width, pooled) for n in dilations})
        self.narrow = nn.Sequential(nn.LayerNorm(pooled), nn.ReLU(), nn.Dropout(dropout), nn.Linear(pooled, neck))
        self.head = nn.Linear(neck, 2 * space)
        nn.init.orthogonal_(self.head.weight[:space])
        nn.init.constant_(self.head.bias[space:], -3.0)  # initially, samples are near their means
        self.terms = nn.Linear(space, len(TERMS))
        self.quadrants = nn.Linear(space, 4)
        self.vad = nn.Linear(space, 3)
        self.register_buffer("temperature", torch.ones(3))  # for terms, for terms with a reference, for quadrants
        self.register_buffer("middle", torch.zeros(space))
        self.register_buffer("spread", torch.eye(space))  # whitens the variation within emotions
        self.register_buffer("vector_centre", torch.zeros(vector))
        self.register_buffer("vector_scale", torch.ones(vector))
        for n in dilations:
            self.register_buffer(f"{n}_centre", torch.zeros(features.SIZES[n]))
            self.register_buffer(f"{n}_scale", torch.ones(features.SIZES[n]))

    def forward(
        self, reference: Reference | None = None, heard: Tensor | None = None, **given: tuple[Tensor, Tensor]
    ) -> Gaussian:
        """``voice=``, ``face=`` or ``music=``: steps (b n f) and mask (b n) bool; or ``heard`` (b v), precomputed voice
        vectors. Voice and face can be combined.
        """
        return self.place(self.encode(reference, heard, **given))

    def place(self, seen: Tensor) -> Gaussian:
        """The encoders' output (b, pooled) -> its Gaussian in the space."""
        mu, log_var = self.head(self.narrow(seen)).chunk(2, -1)
        mu = (F.layer_norm(mu, mu.shape[-1:]) - self.middle) @ self.spread.T
        var = log_var.clamp(*LOG_VAR).exp() @ self.spread.square().T
        return Gaussian(mu, var.clamp(min=1e-8).log())

    def whiten(self, middle: Tensor, spread: Tensor) -> None:
        """Changes the origin (e,) and the axes (e e) of the space; the heads' outputs are unchanged except along axes
        that ``spread`` removes.
        """
        for head in (self.terms, self.quadrants, self.vad):
            head.bias.add_(head.weight @ middle)
            head.weight.copy_(head.weight @ torch.linalg.pinv(spread, rtol=1e-4))
        self.middle.copy_(middle)
        self.spread.copy_(spread)

    def encode(
        self, reference: Reference | None = None, heard: Tensor | None = None, **given: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The encoders' output, the input of the neck (b, pooled)."""
        if "voice" in given:
            heard = self.voice(*given.pop("voice"))[1]
        found = [] if heard is None else [self.heard(self._against(reference, heard))]
        for name, (steps, mask) in given.items():
            rows = (steps - self.get_buffer(f"{name}_centre")) * self.get_buffer(f"{name}_scale")
            found.append(self.pools[name](self.encoders[name](rows, mask), rows, mask))
        return torch.stack(found).mean(0)

    def _against(self, reference: Reference | None, heard: Tensor) -> Tensor:
        """Voice vectors (b v), their difference from a reference, and the reference's weight (b 2v+1)."""
        heard, worth = (heard - self.vector_centre) * self.vector_scale, heard.new_zeros(len(heard), 1)
        apart = torch.zeros_like(heard)
        if reference is not None:
            worth = reference.count[:, None].to(heard).log1p() / WELL_KNOWN
            middle = (reference.middle - self.vector_centre) * self.vector_scale
            apart = torch.where(worth > 0, heard - middle, apart)
        return torch.cat((heard, apart, worth), -1)

    def known(self, heard: Tensor) -> Tensor:
        """Probability 0..1 (b,) that voice vectors (b v) come from speech and not from music, a song or noise."""
        return torch.sigmoid(-self.outside((heard - self.vector_centre) * self.vector_scale))[:, 0]

    def read(self, mu: Tensor) -> Reading:
        """Means (b, e) -> the heads' outputs."""
        return Reading(self.terms(mu), self.quadrants(mu), self.vad(mu).tanh())

    def probabilities(
        self, reading: Reading, referred: bool = False, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Calibrated shares of TERMS (b, 10) and of the quadrants (b, 4); ``referred``: with a reference of the
        speaker. A low ``known`` (b,) flattens them.
        """
        shares = (
            (reading.terms / self.temperature[int(referred)]).softmax(-1),
            (reading.quadrants / self.temperature[2]).softmax(-1),
        )
        if known is None:
            return shares
        return tuple(known[:, None] * own + (1 - known[:, None]) / own.shape[1] for own in shares)


def collate(rows: list[Tensor], size: int | None = None) -> tuple[Tensor, Tensor]:
    """Pads steps (n f) of different lengths to (b n f) with a mask (b n); n is the longest or ``size``."""
    padded = rows[0].new_zeros(len(rows), size or max(map(len, rows)), rows[0].shape[1], dtype=torch.float32)
    for own, row in zip(padded, rows):
        own[: len(row)] = row
    length = torch.tensor([len(row) for row in rows])
    return padded, torch.arange(padded.shape[1]) < length[:, None]
