"""The contract of emotion conditioners as one function for test suites."""

import tempfile

import numpy as np
import torch
from torch import Tensor

from gen.emotion.spec import CANONICAL, EmotionCurve
from gen.emotion.track import EmotionTrack, track

FRAMES = (0.0, 1.0, 2.0, 3.0)
CURVES = (
    "0: sad, 3: happy @ 1.3",
    "anger 0.6 + fear 0.4 @ 0.7",
    "v=-0.4 a=-0.6",
    "0 hold: surprise, 2 smooth: -disgust",
)
STEP = 1e-3  # of intensity or weight, for continuity
JUMP = 0.05  # the largest change over such a step, relative to the tokens' norm


def check_conditioner(
    cls: type, dim: int = 16, continuous: bool = True, blind: bool = False, embeds: bool = False, **config
) -> None:
    """Builds ``cls(dim=dim, **config)`` and raises ``AssertionError`` for the first violated property.

    Shapes; masked frames have no effect; a batch equals its items; ``drop`` gives the null, which equals no emotion;
    emotions differ (unless ``blind``); gradients reach every parameter; intensity 0 is neutral; intensity and mix act
    continuously (unless not ``continuous``); saving and loading is bit-exact. With ``embeds``, the embedding of clips
    has an effect beyond the numbers.
    """
    torch.manual_seed(0)
    conditioner = cls(dim=dim, **config).eval()
    with torch.no_grad():
        _shapes(conditioner, dim)
        _mask(conditioner)
        _batch(conditioner)
        _null(conditioner, blind)
        _neutral(conditioner)
        if continuous:
            _continuity(conditioner)
        if embeds:
            _embeds(conditioner)
        _storage(conditioner)
    _gradients(conditioner)


def _prepare(conditioner, *texts: str) -> dict[str, Tensor]:
    return conditioner.prepare([_track(text) for text in texts])


def _track(text: str, push: float = 0.0) -> EmotionTrack:
    """A curve's track; ``push`` moves its embedding, as clips would."""
    found = track(EmotionCurve.parse(text), FRAMES)
    way = np.cos(np.arange(found.embedding.shape[1])).astype(np.float32)
    moved = found.embedding + push * found.intensity[:, None] * way
    return found._replace(embedding=moved, known=np.full(len(FRAMES), min(abs(push), 1.0), np.float32))


def _run(conditioner, *texts: str):
    return conditioner(**_prepare(conditioner, *texts))


def _shapes(conditioner, dim: int) -> None:
    prepared = _prepare(conditioner, *CURVES)
    for name, value in prepared.items():
        assert value.shape[:2] == (len(CURVES), len(FRAMES)), f"prepare returned {name} of shape {tuple(value.shape)}"
        assert value.device.type == "cpu", f"prepare returned {name} on {value.device}, not on the CPU"
    tokens, mask, pooled, loss = conditioner(**prepared)
    assert tokens.shape == (len(CURVES), len(FRAMES), dim), f"tokens are {tuple(tokens.shape)}"
    assert mask.shape == tokens.shape[:2], f"the mask is {tuple(mask.shape)}"
    assert mask.dtype == torch.bool, f"the mask is {mask.dtype}"
    assert mask.all(), "without a mask all frames must exist"
    assert pooled.shape == (len(CURVES), dim), f"pooled is {tuple(pooled.shape)}"
    assert loss.shape == (), f"the loss is {tuple(loss.shape)}"
    assert torch.isfinite(tokens).all(), "tokens are not finite"
    again = conditioner(**prepared)
    assert torch.equal(tokens, again.tokens), "equal inputs gave different tokens: use no randomness outside training"


def _mask(conditioner) -> None:
    prepared = _prepare(conditioner, *CURVES)
    mask = torch.ones(len(CURVES), len(FRAMES), dtype=torch.bool)
    mask[0, 2:], mask[1, :] = False, False
    seen = conditioner(mask=mask, **prepared)
    other = {name: torch.where(mask.view(*mask.shape, *[1] * (v.dim() - 2)), v, 1 - v) for name, v in prepared.items()}
    unseen = conditioner(mask=mask, **other)
    assert torch.equal(seen.mask, mask), "the condition's mask is not the mask given"
    assert torch.equal(seen.tokens, unseen.tokens), "masked frames change the tokens"
    assert torch.equal(seen.pooled, unseen.pooled), "masked frames change the pooled vector"
    assert not seen.tokens[~mask].any(), "tokens of masked frames are not zero"


def _batch(conditioner) -> None:
    together = _run(conditioner, *CURVES)
    for index, text in enumerate(CURVES):
        alone = _run(conditioner, text)
        assert torch.allclose(together.tokens[index], alone.tokens[0], atol=1e-5), f"{text!r} depends on its batch"


def _null(conditioner, blind: bool) -> None:
    prepared = _prepare(conditioner, *CURVES)
    drop = torch.tensor([True, False, True, False])
    dropped, kept = conditioner(drop=drop, **prepared), conditioner(**prepared)
    null = conditioner.null.expand_as(dropped.tokens[drop])
    assert torch.equal(dropped.tokens[drop], null), "a dropped item differs from the null"
    assert torch.equal(dropped.tokens[~drop], kept.tokens[~drop]), "dropping an item changes another"
    emotions = _run(conditioner, *CANONICAL).tokens[:, 0]
    assert (emotions - conditioner.null).norm(dim=-1).min() > 1e-3, "the null equals an emotion"
    if not blind:
        assert torch.pdist(emotions).min() > 1e-3, "two emotions give the same tokens"


def _neutral(conditioner) -> None:
    neutral = _run(conditioner, "neutral").tokens
    for text in ("happy", "-sad", "v=-0.4 a=0.8", "anger 0.6 + fear 0.4", "wistful"):
        still = _run(conditioner, f"{text} @ 0").tokens
        assert torch.allclose(still, neutral, atol=1e-5), f"{text!r} at intensity 0 is not neutral"


def _continuity(conditioner) -> None:
    steps = [k / 8 for k in range(9)]
    sweeps = [(f"fear @ {2 * s:.6f}", f"fear @ {abs(2 * s - STEP):.6f}") for s in steps]
    sweeps += [(_pair(s), _pair(abs(s - STEP))) for s in steps]
    here = _run(conditioner, *(one for one, _ in sweeps)).tokens
    near = _run(conditioner, *(other for _, other in sweeps)).tokens
    size = here.norm(dim=-1).max()
    jump = (here - near).norm(dim=-1).max()
    assert jump < JUMP * size, f"a step of {STEP} in intensity or mix moves the tokens by {jump / size:.0%}"


def _pair(share: float) -> str:
    return f"happy {share:.6f} + anger {1 - share:.6f}"


def _embeds(conditioner) -> None:
    here, near, there, still = (
        conditioner(**conditioner.prepare([_track(text, push)])).tokens
        for text, push in (("sad", 0.5), ("sad", 0.5 + STEP), ("sad", -0.5), ("sad @ 0", 0.5))
    )
    assert (here - there).norm(dim=-1).min() > 1e-3, "two embeddings of the same numbers give the same tokens"
    assert torch.allclose(still, _run(conditioner, "neutral").tokens, atol=1e-5), "clips have an effect at intensity 0"
    jump = (here - near).norm(dim=-1).max() / here.norm(dim=-1).max()
    assert jump < JUMP, f"a step of {STEP} in the embedding moves the tokens by {jump:.0%}"


def _storage(conditioner) -> None:
    with tempfile.TemporaryDirectory() as folder:
        conditioner.save_pretrained(folder)
        loaded = type(conditioner).from_pretrained(folder).eval()
    for name, tensor in conditioner.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), f"{name} changes when saved and loaded"
    here, there = _run(conditioner, *CURVES), _run(loaded, *CURVES)
    assert torch.equal(here.tokens, there.tokens), "the tokens change when the conditioner is saved and loaded"


def _gradients(conditioner) -> None:
    conditioner.train()
    drop = torch.tensor([False] * len(CURVES) + [True])
    tracks = [_track(text, push=0.3) for text in (*CURVES, "happy")]
    condition = conditioner(drop=drop, **conditioner.prepare(tracks))
    target = torch.randn_like(condition.tokens)
    ((condition.tokens - target).square().mean() + condition.pooled.square().mean() + condition.loss).backward()
    for name, parameter in conditioner.named_parameters():
        assert parameter.grad is not None, f"no gradient reaches {name}"
        assert parameter.grad.abs().max() > 0, f"the gradient of {name} is zero"
