"""One Gaussian space for voices, faces and music (after the embedder of DICE-Talk, ACM MM 2025, sec. 3.2).

b batch, n steps, f features of a step (:mod:`gen.emotion.embedding.features`), d width, e = 256 width of the
space. An encoder per modality reads steps into one vector; a head that all share makes of it the mean and the spread of
an emotion, through a neck of a few dimensions: what tells emotions apart passes, little of who speaks does.

A voice is read twice over: as it is, and against a reference. That is the mean step of other recordings of the same
speaker where there are any, else of the clip itself; how many they are is told, too.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen.emotion.embedding import features
from gen.emotion.embedding.features import MODALITIES
from gen.emotion.lexicon import CANONICAL
from gen.network import ConfigMixin, ModelMixin, register_to_config
from gen.nn import Attention, Block

TERMS = (*CANONICAL, "calm", "bored")  # what the classifier tells apart; the last two are in some speech only
LOG_VAR = (-6.0, 2.0)
WELL_KNOWN = 4.0  # log of 55: so many recordings of a speaker count as 1


class Reference(NamedTuple):
    """What is known of the speakers of voices beside the clips themselves."""

    middle: Tensor  # (b, f) the mean step of other recordings, each counting alike
    count: Tensor  # (b,) how many they are; where it is 0 the middle says nothing


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
        self.block = Block(width, 4, 2 * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        x = self._drop(self.project(rows))
        for conv, norm in zip(self.convs, self.norms):
            y = conv((norm(x) * mask[..., None]).transpose(1, 2)).transpose(1, 2)
            x = x + self._drop(F.relu(y))
        return self._drop(self.block(x, mask))

    def _drop(self, x: Tensor) -> Tensor:
        """Channels drop out for all of a clip at once."""
        return x * self.dropout(torch.ones_like(x[:, :1]))


class Pool(nn.Module):
    """(b n d) and the steps they come from (b n f) -> (b, out): attention with the deviation of what it picks (Okabe et
    al., Interspeech 2018, sec. 2.2), and mean and deviation of both.
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


def moments(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(b n f) -> mean and standard deviation (b f) over the steps that exist."""
    here = mask[..., None]
    count = here.sum(1)
    mean = (x * here).sum(1) / count
    return mean, ((x - mean[:, None]).square() * here).sum(1).div(count).add(1e-4).sqrt()


class EmotionEmbedder(ModelMixin, ConfigMixin):
    """Voice, face, both together, or music -> :class:`Gaussian` -> :class:`Reading`."""

    @register_to_config
    def __init__(self, space: int = 256, width: int = 96, pooled: int = 128, neck: int = 16, dropout: float = 0.2):
        super().__init__()
        dilations = {"voice": (1, 3), "face": (1, 2), "music": (1, 3)}
        sizes = features.SIZES | {"voice": 2 * features.SIZES["voice"] + 1}
        self.encoders = nn.ModuleDict({n: Encoder(sizes[n], width, dilations[n], dropout) for n in MODALITIES})
        self.pools = nn.ModuleDict({n: Pool(sizes[n], width, pooled) for n in MODALITIES})
        self.cross = nn.ModuleDict({n: Attention(width, 4) for n in ("voice", "face")})
        self.narrow = nn.Sequential(nn.LayerNorm(pooled), nn.ReLU(), nn.Dropout(dropout), nn.Linear(pooled, neck))
        self.head = nn.Linear(neck, 2 * space)
        nn.init.orthogonal_(self.head.weight[:space])
        nn.init.constant_(self.head.bias[space:], -3.0)  # samples begin near their means
        self.terms = nn.Linear(space, len(TERMS))
        self.quadrants = nn.Linear(space, 4)
        self.vad = nn.Linear(space, 3)
        self.register_buffer("temperature", torch.ones(3))  # of terms, of terms with a reference, of quadrants
        self.register_buffer("middle", torch.zeros(space))
        self.register_buffer("spread", torch.eye(space))  # makes the clips of one emotion vary alike in all directions
        for n in MODALITIES:
            self.register_buffer(f"{n}_centre", torch.zeros(features.SIZES[n]))
            self.register_buffer(f"{n}_scale", torch.ones(features.SIZES[n]))

    def forward(self, reference: Reference | None = None, **given: tuple[Tensor, Tensor]) -> Gaussian:
        """``voice=``, ``face=`` or ``music=``: steps (b n f) and mask (b n) bool; voice and face may come together."""
        return self.place(self.encode(reference, **given))

    def place(self, seen: Tensor) -> Gaussian:
        """What the encoders hand over (b, pooled) -> where that lies in the space."""
        mu, log_var = self.head(self.narrow(seen)).chunk(2, -1)
        mu = (F.layer_norm(mu, mu.shape[-1:]) - self.middle) @ self.spread.T
        var = log_var.clamp(*LOG_VAR).exp() @ self.spread.square().T
        return Gaussian(mu, var.clamp(min=1e-8).log())

    def whiten(self, middle: Tensor, spread: Tensor) -> None:
        """Move the origin (e,) and the axes (e e) of the space; what the heads say stays as it is, but for what lies
        along axes that ``spread`` takes away.
        """
        for head in (self.terms, self.quadrants, self.vad):
            head.bias += head.weight @ middle
            head.weight.copy_(head.weight @ torch.linalg.pinv(spread, rtol=1e-4))
        self.middle.copy_(middle)
        self.spread.copy_(spread)

    def encode(self, reference: Reference | None = None, **given: tuple[Tensor, Tensor]) -> Tensor:
        """What the encoders hand to the neck (b, pooled)."""
        rows, mask = {n: self._even(n, steps) for n, (steps, _) in given.items()}, {n: m for n, (_, m) in given.items()}
        if "voice" in given:
            rows["voice"] = self._against(reference, rows["voice"], mask["voice"])
        x = {n: self.encoders[n](rows[n], mask[n]) for n in given}
        if len(x) == 2:
            voice, face = x["voice"], x["face"]
            x["voice"] = voice + self.cross["voice"](voice, self.cross["voice"].remember(face, mask["face"]))
            x["face"] = face + self.cross["face"](face, self.cross["face"].remember(voice, mask["voice"]))
        return torch.stack([self.pools[n](x[n], rows[n], mask[n]) for n in given]).mean(0)

    def _even(self, name: str, steps: Tensor) -> Tensor:
        return (steps - self.get_buffer(f"{name}_centre")) * self.get_buffer(f"{name}_scale")

    def _against(self, reference: Reference | None, rows: Tensor, mask: Tensor) -> Tensor:
        """Voices (b n f) beside what they are against a reference, and how much that is worth (b n 2f+1)."""
        base, worth = moments(rows, mask)[0], rows.new_zeros(len(rows), 1)
        if reference is not None:
            worth = reference.count[:, None].to(rows).log1p() / WELL_KNOWN
            base = torch.where(worth > 0, self._even("voice", reference.middle), base)
        return torch.cat((rows, rows - base[:, None], worth[:, None].expand(-1, rows.shape[1], -1)), -1)

    def read(self, mu: Tensor) -> Reading:
        """Means (b, e) -> what they say."""
        return Reading(self.terms(mu), self.quadrants(mu), self.vad(mu).tanh())

    def probabilities(self, reading: Reading, referred: bool = False) -> tuple[Tensor, Tensor]:
        """Calibrated shares of TERMS (b, 10) and of the quadrants (b, 4); ``referred`` to the speaker."""
        return (
            (reading.terms / self.temperature[int(referred)]).softmax(-1),
            (reading.quadrants / self.temperature[2]).softmax(-1),
        )


def collate(rows: list[Tensor], size: int | None = None) -> tuple[Tensor, Tensor]:
    """Steps (n f) of different lengths -> steps (b n f) and mask (b n), n the longest or ``size``."""
    padded = rows[0].new_zeros(len(rows), size or max(map(len, rows)), rows[0].shape[1], dtype=torch.float32)
    for own, row in zip(padded, rows):
        own[: len(row)] = row
    length = torch.tensor([len(row) for row in rows])
    return padded, torch.arange(padded.shape[1]) < length[:, None]
