"""The transformer layer: biases as published, and no difference between training and inference."""

import torch
from torch import nn

from talking_head.motion.emote.layers import BiasedLayer, nearness


def test_bias_is_that_of_flint_and_of_emote():
    near = nearness(70, 8, torch.device("cpu"))
    assert near.shape == (8, 70, 70) and near[0, 3, 5] == -1.0 and near[7, 0, 64] == -64 / 256
    slow = nearness(70, 8, torch.device("cpu"), period=30)
    assert slow[0, 0, 29] == 0 and slow[0, 0, 30] == -0.5 and slow[0, 61, 0] == -1.0


def published(ours: BiasedLayer, dim: int, heads: int, ffn: int) -> nn.TransformerEncoderLayer:
    theirs = nn.TransformerEncoderLayer(dim, heads, ffn, 0.0, "gelu", batch_first=True)
    state = {
        key.replace("in_proj.", "self_attn.in_proj_").replace("out_proj.", "self_attn.out_proj."): value
        for key, value in ours.state_dict().items()
    }
    theirs.load_state_dict(state)
    return theirs


def test_layer_is_the_published_one_in_training_and_at_inference():
    torch.manual_seed(0)
    ours, x = BiasedLayer(32, 8, 48), torch.randn(2, 24, 32)
    theirs = published(ours, 32, 8, 48).train()
    bias = nearness(24, 8, x.device).repeat(2, 1, 1)
    expected = theirs(x, src_mask=bias)
    torch.testing.assert_close(ours.train()(x), expected)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(x), expected)
