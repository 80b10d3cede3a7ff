"""Music's networks on another device than the CPU: no tensor is left behind (``meta``, where one that is raises).

The sampling loops read what they draw, which meta tensors do not have: they are told the device of their inputs.
"""

import pytest
import torch
from test_muser import some_rows, tiny

from gen.emotion.spec import EmotionCurve
from gen.emotion.track import track


@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("quantizer", ["ema_vq", "slot_vq", "fsq"])
def test_networks_run_where_they_are(kind, quantizer):
    models = tiny(kind, "vad", quantizer)
    rows, mask = (x.to("meta") for x in some_rows(bars=1))
    asked = [track(EmotionCurve.parse(text), range(rows.shape[1])) for text in ("sad", "happy")]
    for model in models:
        model.to("meta").eval()
        prepared = model.emotion.prepare(asked)
        tokens = model.emotion(**{name: value.to("meta") for name, value in prepared.items()}).tokens
        assert tokens.device.type == "meta"
    autoencoder, prior = models
    latent = autoencoder.encode(rows, mask)  # codes() turns autocast off, which meta does not know
    codes = autoencoder.codebook.encode(latent)
    codes = codes[..., None] if codes.dim() == 2 else codes
    hidden = autoencoder.hidden(rows, tokens, autoencoder.remember(autoencoder.latents(codes), mask))
    found = autoencoder.element(3, autoencoder.element_input(3, hidden, latent))
    assert {latent.device.type, codes.device.type, hidden.device.type, found.device.type} == {"meta"}
    assert prior(codes, mask, tokens, torch.zeros_like(codes[..., 0])).device.type == "meta"
