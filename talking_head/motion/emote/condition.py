"""The condition of the published EMOTE: one linear map of emotion (8), intensity (3) and training speaker (32)."""

import torch
from torch import nn

from gen.emotion.conditioner import EmotionConditioner
from gen.emotion.embedding.priors import scale_weights
from gen.emotion.spec import CANONICAL
from gen.network import register_to_config
from gen.registry import register

LEVELS = 3


@register("conditioner", "emote")
class EmoteCondition(EmotionConditioner):
    """Emotion and intensity columns of the map; the speaker's columns are the style embedding of the model.

    Intensity 0 to 1 goes from neutral to the middle level, 1 to 2 from there to the strongest.
    """

    @register_to_config
    def __init__(self, dim: int):
        super().__init__(dim)
        self.map = nn.Linear(len(CANONICAL) + LEVELS, dim)

    def embed(self, weights, intensity, **track):
        felt = 1 - weights[..., 0].clamp(0, 1)
        mild, strong = intensity.clamp(0, 1) * felt, (intensity - 1).clamp(0, 1) * felt
        level = torch.stack((1 - mild, mild - strong, strong), -1)
        return self.map(torch.cat((scale_weights(weights, intensity.clamp(0, 1)), level), -1)), 0.0
