"""Emotion tokens of the video network: a vector attends to a bank of prototypes (DICE-Talk, ACM MM 2025)."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gen.emotion.conditioner import stacked
from gen.emotion.embedding.priors import Priors, bridge
from gen.emotion.resolve import resolve
from gen.emotion.spec import CANONICAL, EmotionCurve
from gen.emotion.track import track
from gen.network import ConfigMixin, ModelMixin, register_to_config

HEADS = 8
COMMITMENT = 0.25
BEYOND = 1.05  # an exaggerated mean is no longer than the longest prior times this
LEVELS = 3  # of intensity, of every emotion but neutral


class Tokens(ModelMixin, ConfigMixin):
    """A vector (..., size) -> context tokens (..., count, width). The speech projection of DICE-Talk and Sonic."""

    @register_to_config
    def __init__(self, size: int = 19200, hidden: int = 1024, count: int = 32, width: int = 1024):
        super().__init__()
        self.proj1, self.proj2 = nn.Linear(size, hidden), nn.Linear(hidden, hidden)
        self.proj3, self.norm = nn.Linear(hidden, count * width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj3(F.relu(self.proj2(F.relu(self.proj1(x)))))
        return self.norm(x.unflatten(-1, (self.config.count, -1)))


class Codebook(nn.Module):
    """Vectors (n, size) -> the nearest of ``entries`` prototypes (n, width), straight through, and the loss."""

    def __init__(self, size: int, entries: int, width: int):
        super().__init__()
        self.fc, self.codebook = nn.Linear(size, width), nn.Embedding(entries, width)

    def forward(self, mu: Tensor) -> tuple[Tensor, Tensor]:
        z = self.fc(mu)
        code = self.codebook(torch.cdist(z.float(), self.codebook.weight.float()).argmin(-1))
        loss = F.mse_loss(code, z.detach()) + COMMITMENT * F.mse_loss(z, code.detach())
        return z + (code - z).detach(), loss


class Aggregation(nn.Module):
    """Queries (n, q, d) over keys (n or 1, k, d): multi-head attention without output projection."""

    def __init__(self, width: int):
        super().__init__()
        self.fc_q, self.fc_k, self.fc_v = (nn.Linear(width, width) for _ in range(3))

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        apart = lambda x: rearrange(x, "n t (h d) -> n h t d", h=HEADS)
        q, k, v = apart(self.fc_q(query)), apart(self.fc_k(keys)), apart(self.fc_v(keys))
        k, v = (x.expand(len(q), -1, -1, -1) for x in (k, v))
        return rearrange(F.scaled_dot_product_attention(q, k, v), "n h t d -> n t (h d)")


class Classifier(nn.Module):
    """Features (n, d) of the mid block -> logits of emotion and level (n, classes): the discrimination objective."""

    def __init__(self, sizes: Sequence[int]):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = (nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.fc1, self.fc2):
            x = F.dropout(F.relu(layer(x)), 0.1, self.training)
        return self.fc3(x)


class Felt(NamedTuple):
    """Tokens of emotions (b, n, count, width), and the bank's training loss."""

    tokens: Tensor
    loss: Tensor


class EmotionModel(ModelMixin, ConfigMixin):
    """Emotion means (b, n, size) -> tokens. The zero vector means "no emotion given".

    Soft mode: the tokens of the mean attend to those of all prototypes. With ``retrieval``: of the nearest one.
    """

    @register_to_config
    def __init__(
        self,
        size: int = 256,
        hidden: int = 1024,
        count: int = 32,
        width: int = 1024,
        entries: int = 64,
        probe: tuple[int, ...] = (1280, 512, 256, 22),
    ):
        super().__init__()
        self.emo_linear = Tokens(size, hidden, count, width)
        self.kv_tokens_linear = Tokens(width, hidden, count, width)
        self.codebook = Codebook(size, entries, width)
        self.attention = Aggregation(width)
        self.classifier = Classifier(probe)

    def forward(self, mu: Tensor, retrieval: bool = False, unsaid: Tensor | None = None) -> Felt:
        """With ``retrieval``, where ``unsaid`` (b,) is true the prototype is the zero vector too, as in the
        authors' training (``emo_masked_hard``)."""
        flat = mu.flatten(0, 1)
        if retrieval:
            nearest, loss = self.codebook(flat)
            if unsaid is not None:
                nearest = nearest * ~unsaid.repeat_interleave(mu.shape[1])[:, None]
            keys = self.kv_tokens_linear(nearest)
        else:
            keys, loss = self.kv_tokens_linear(self.codebook.codebook.weight).flatten(0, 1)[None], mu.new_zeros(())
        tokens = self.attention(self.emo_linear(flat), keys)
        return Felt(tokens.unflatten(0, mu.shape[:2]), loss)


def class_of(emotion: str, level: int) -> int:
    """The class of a canonical emotion at level 1..3; neutral is 0, whatever its level."""
    at = CANONICAL.index(emotion)
    return 0 if at == 0 else 1 + LEVELS * (at - 1) + level - 1


def means(priors: Priors, curves: Sequence[EmotionCurve], times: np.ndarray, sharpen: float = 0.0) -> Tensor:
    """Curves at ``times`` (n,) seconds -> means (b, n, e): neutral moved along emotion directions by intensity.

    ``sharpen`` subtracts that share of the mean of all priors: upstream priors are close together.
    A mean never gets much longer than the longest prior.
    """
    tracks = [track(resolve(curve), times) for curve in curves]
    numbers = (stacked([getattr(one, n) for one in tracks]) for n in ("weights", "vad", "intensity"))
    beyond = stacked([one.beyond() for one in tracks]) @ bridge(priors)
    mu = priors(*numbers) + beyond - sharpen * priors.mean.mean(0)
    limit = BEYOND * priors.mean.norm(dim=-1).max()
    return mu * (limit / mu.norm(dim=-1, keepdim=True).clamp(min=1e-6)).clamp(max=1.0)
