"""EMOTE: speech features, an emotion per frame and a speaking style -> latents of the motion prior -> motion.

EMOTE (Danecek et al., SIGGRAPH Asia 2023), sec. 3.3. b batch, t frames, d width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.network import ConfigMixin, ModelMixin, register_to_config
from gen.registry import build
from talking_head.motion.emote.flint import SQUEEZE, MotionDecoder
from talking_head.motion.emote.layers import BiasedLayer

STYLES = ("voices", "grid")  # of many voices, and of the filmed speaker


class Emote(ModelMixin, ConfigMixin):
    """``conditioner`` is ``{"name": registered name, ...}``; its tokens and the style make the condition.

    Without ``attend`` there is no transformer layer: authors' checkpoints from before a bug fix (``post_bug_fix``)
    decode what should have been the layer's input.
    """

    @register_to_config
    def __init__(
        self,
        speech: int = 160,
        dim: int = 128,
        heads: int = 8,
        ffn: int = 256,
        features: int = 52,
        prior: int = 128,
        prior_ffn: int = 384,
        styles: int = len(STYLES),
        dropout: float = 0.0,
        conditioner: dict | None = None,
        attend: bool = True,
    ):
        super().__init__()
        chosen = dict(conditioner or {"name": "label"})
        self.emotion = build("conditioner", chosen.pop("name"), dim=dim, **chosen)
        self.listen = nn.Linear(speech, dim)
        self.style = nn.Embedding(styles, dim)
        layer = lambda: BiasedLayer(2 * dim, heads, ffn, period=30, dropout=dropout)
        self.layer = layer() if attend else nn.Identity()
        self.decode = nn.Linear(2 * dim, prior)
        self.squash = nn.Linear(SQUEEZE * prior, prior)
        self.decoder = MotionDecoder(features, prior, heads, prior_ffn)
        self.register_buffer("gain", torch.ones(features))

    def forward(self, speech: Tensor, tokens: Tensor, style: Tensor) -> Tensor:
        """speech (b, t, s), tokens (b, t, d) from ``self.emotion``, style (b,) long -> motion (b, t, f)."""
        t = speech.shape[1]
        condition = tokens + self.style(style)[:, None]
        x = self.decode(self.layer(torch.cat((self.listen(speech), condition), -1)))
        x = F.pad(x, (0, 0, 0, -t % SQUEEZE))
        latents = self.squash(x.unflatten(1, (-1, SQUEEZE)).flatten(2))
        return self.decoder(latents)[:, :t] * self.gain
