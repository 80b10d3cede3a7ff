"""One Gaussian space for voices, faces and music (after the embedder of DICE-Talk, ACM MM 2025, sec. 3.2).

b batch, n steps, f features of a step (:mod:`gen.emotion.features`), d width, e = 256 width of the space. An encoder
per modality reads steps into one vector; a head that all share makes of it the mean and the spread of an emotion.
"""

from typing import NamedTuple

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from gen.emotion import features
from gen.emotion.corpus import MODALITIES, TERMS
from gen.nn import Attention, Block

LOG_VAR = (-6.0, 2.0)


class Gaussian(NamedTuple):
    """An emotion in the space."""

    mu: Tensor  # (b, e) a LayerNorm without gain, then whitened
    log_var: Tensor  # (b, e)

    def sample(self) -> Tensor:
        return self.mu + torch.randn_like(self.mu) * (0.5 * self.log_var).exp()


class Reading(NamedTuple):
    """What the heads read off a mean; logits before calibration."""

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
        self.block = Block(width, 4, 2 * width, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        x = self.dropout(self.project(rows))
        for conv, norm in zip(self.convs, self.norms):
            y = conv((norm(x) * mask[..., None]).transpose(1, 2)).transpose(1, 2)
            x = x + self.dropout(F.relu(y))
        return self.block(x, mask)


class Pool(nn.Module):
    """(b n d) and the steps they come from (b n f) -> (b, out): attention, and both's mean and deviation."""

    def __init__(self, size: int, width: int, out: int, heads: int = 2):
        super().__init__()
        self.attend = nn.Linear(width, heads)
        self.norm = nn.LayerNorm(width * (heads + 2))
        self.out = nn.Linear(width * (heads + 2), out)
        self.plain = nn.Sequential(nn.Linear(2 * size, out), nn.ReLU(), nn.Dropout(0.3), nn.Linear(out, out))

    def forward(self, x: Tensor, rows: Tensor, mask: Tensor) -> Tensor:
        weight = self.attend(x).masked_fill(~mask[..., None], -torch.inf).softmax(1)
        focus = torch.einsum("bnh,bnd->bhd", weight, x).flatten(1)
        plain = self.plain(torch.cat(moments(rows, mask), 1))
        return plain + self.out(self.norm(torch.cat((*moments(x, mask), focus), 1)))


def moments(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(b n f) -> mean and standard deviation (b f) over the steps that exist."""
    here = mask[..., None]
    count = here.sum(1)
    mean = (x * here).sum(1) / count
    return mean, ((x - mean[:, None]).square() * here).sum(1).div(count).add(1e-4).sqrt()


class EmotionEmbedder(ModelMixin, ConfigMixin):
    """Voice, face, both together, or music -> :class:`Gaussian` -> :class:`Reading`."""

    @register_to_config
    def __init__(self, space: int = 256, width: int = 96, pooled: int = 128, dropout: float = 0.2):
        super().__init__()
        dilations = {"voice": (1, 3), "face": (1, 2), "music": (1, 3)}
        sizes = features.SIZES
        self.encoders = nn.ModuleDict({n: Encoder(sizes[n], width, dilations[n], dropout) for n in MODALITIES})
        self.pools = nn.ModuleDict({n: Pool(sizes[n], width, pooled) for n in MODALITIES})
        self.cross = nn.ModuleDict({n: Attention(width, 4) for n in ("voice", "face")})
        self.head = nn.Sequential(nn.LayerNorm(pooled), nn.ReLU(), nn.Dropout(dropout), nn.Linear(pooled, 2 * space))
        nn.init.constant_(self.head[-1].bias[space:], -3.0)  # samples begin near their means
        self.terms = nn.Linear(space, len(TERMS))
        self.quadrants = nn.Linear(space, 4)
        self.vad = nn.Linear(space, 3)
        self.register_buffer("temperature", torch.ones(2))  # of the terms (speech) and of the quadrants (music)
        self.register_buffer("middle", torch.zeros(space))
        self.register_buffer("spread", torch.eye(space))  # makes the clips of one emotion vary alike in all directions
        for n in MODALITIES:
            self.register_buffer(f"{n}_centre", torch.zeros(sizes[n]))
            self.register_buffer(f"{n}_scale", torch.ones(sizes[n]))

    def forward(self, **given: tuple[Tensor, Tensor]) -> Gaussian:
        """``voice=``, ``face=`` or ``music=``: steps (b n f) and mask (b n) bool; voice and face may come together."""
        mu, log_var = self.head(self.encode(**given)).chunk(2, -1)
        mu = (F.layer_norm(mu, mu.shape[-1:]) - self.middle) @ self.spread.T
        var = log_var.clamp(*LOG_VAR).exp() @ self.spread.square().T
        return Gaussian(mu, var.log())

    def whiten(self, middle: Tensor, spread: Tensor) -> None:
        """Move the origin (e,) and the axes (e e) of the space; what the heads say stays as it is."""
        for head in (self.terms, self.quadrants, self.vad):
            head.bias += head.weight @ middle
            head.weight.copy_(torch.linalg.solve(spread.T, head.weight.T).T)
        self.middle.copy_(middle)
        self.spread.copy_(spread)

    def encode(self, **given: tuple[Tensor, Tensor]) -> Tensor:
        """What the encoders hand to the head (b, pooled)."""
        rows = {n: (steps - self.get_buffer(f"{n}_centre")) * self.get_buffer(f"{n}_scale")
                for n, (steps, _) in given.items()}  # fmt: skip
        mask = {n: pair[1] for n, pair in given.items()}
        x = {n: self.encoders[n](rows[n], mask[n]) for n in given}
        if len(x) == 2:
            voice, face = x["voice"], x["face"]
            x["voice"] = voice + self.cross["voice"](voice, self.cross["voice"].remember(face, mask["face"]))
            x["face"] = face + self.cross["face"](face, self.cross["face"].remember(voice, mask["voice"]))
        return torch.stack([self.pools[n](x[n], rows[n], mask[n]) for n in given]).mean(0)

    def read(self, mu: Tensor) -> Reading:
        """Means (b, e) -> what they say."""
        return Reading(self.terms(mu), self.quadrants(mu), self.vad(mu).tanh())

    def probabilities(self, reading: Reading) -> tuple[Tensor, Tensor]:
        """Calibrated shares of TERMS (b, 10) and of the quadrants (b, 4)."""
        hot, cold = self.temperature
        return (reading.terms / hot).softmax(-1), (reading.quadrants / cold).softmax(-1)


def collate(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Steps (n f) of different lengths -> steps (b n f) and mask (b n)."""
    length = torch.tensor([len(row) for row in rows])
    padded = nn.utils.rnn.pad_sequence([row.float() for row in rows], batch_first=True)
    return padded, torch.arange(padded.shape[1]) < length[:, None]
