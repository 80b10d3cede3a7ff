"""The expression layer: maps the tokens of an emotion conditioner to coefficients.

b batch, t frames, d width of the conditioner.
"""

import numpy as np
import torch
from torch import Tensor, nn

from gen.emotion.track import EmotionTrack
from gen.network import ConfigMixin, ModelMixin, register_to_config
from gen.registry import build
from talking_head.face.points import ARKIT


class Expression(ModelMixin, ConfigMixin):
    """Expression of an emotion without speech.

    ``conditioner`` is ``{"name": registered name, ...}``. Words give what the table of expressions says, clips and
    user-defined emotions by their place in the embedding.
    """

    @register_to_config
    def __init__(self, dim: int = 96, features: int = len(ARKIT), conditioner: dict | None = None):
        super().__init__()
        chosen = dict(conditioner or {"name": "gaussian"})
        self.emotion = build("conditioner", chosen.pop("name"), dim=dim, **chosen)
        self.show = nn.Linear(dim, features)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (b, t, d) of ``self.emotion`` -> coefficients (b, t, 52)."""
        return self.show(tokens)

    @torch.no_grad()
    def face(self, track: EmotionTrack, scale: float = 1.0) -> np.ndarray:
        """(t, 52) of a calibrated track; ``scale`` guides away from a face without emotion."""
        calm = self._shown(track.part(slice(0, 1)).at_intensity(np.zeros(1)))
        return scale * (self._shown(track) - calm)  # zero at intensity 0

    def _shown(self, track: EmotionTrack) -> np.ndarray:
        prepared = {name: value.to(self.device) for name, value in self.emotion.prepare([track]).items()}
        return self(self.emotion(**prepared).tokens)[0].float().cpu().numpy()
