"""Every draw is made from what one pass over the whole piece gives, though sampling goes step by step and lazily."""

import pytest
import torch
from test_generate import empty, kinds, opening
from test_muser import tiny

from music.muser import generate
from music.muser.generate import Prompt, randoms, sample_codes, sample_rows
from music.muser.prior import FAR
from music.tokens import START, TYPE


def full_logits(model, rows, codes, condition, element):
    """Logits (n, classes) of every step by one pass over the whole piece; condition per step (n, c)."""
    start = torch.zeros_like(rows[:1])
    start[:, TYPE] = START
    previous = torch.cat((start, rows[:-1]))[None]
    z = model.latents(codes[None])
    hidden = model.hidden(previous, condition[None], model.remember(z))
    x = model.element(element, model.element_input(element, hidden, z))
    return model.logits(element, x, rows[None, :, TYPE])[0]


@kinds
@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("prompted", [False, True])
@pytest.mark.parametrize("quantizer", ["ema_vq", "slot_vq"])
@torch.no_grad()
def test_rows_are_drawn_from_what_a_full_pass_gives(kind, scale, prompted, quantizer, monkeypatch):
    model, prior = tiny(kind, quantizer=quantizer)
    condition, seen = torch.randn(2, 3, 8), []
    logits = generate.Player.logits

    def watched(self, element, kind=None):
        found = logits(self, element, kind)
        seen.append((self.at - 1, element, kind, found.clone()))
        return found

    monkeypatch.setattr(generate.Player, "logits", watched)
    rows, codes = empty(2, 7), empty(2, prior.config.slots)
    if prompted:  # of different lengths, so that one item still repeats its prompt while the other draws
        given = torch.from_numpy(opening(1, density=0.3)).long()
        lengths = torch.tensor([len(given), 5])
        rows = Prompt(given.expand(2, -1, -1), lengths)
        codes = Prompt(model.codes(given[None]).expand(2, -1, -1), lengths)
    chosen = sample_codes(prior, condition, 3, 0, codes, randoms([1, 2], 220, prior.config.slots))
    made = sample_rows(model, chosen, condition, rows, randoms([3, 4], 220, 7), guidance=scale)
    assert {element for _, element, _, _ in seen} == set(range(7))
    for item in range(2):
        bar = ((chosen[item][:, 0] == model.bar).cumsum(0) - 1).clamp_min(0)
        given = condition[item, bar]
        full = {e: full_logits(model, made[item], chosen[item], given, e) for e in range(7)}
        null = {
            e: full_logits(model, made[item], chosen[item], model.emotion.null.expand_as(given), e) for e in range(7)
        }
        for step, element, kind, found in seen:
            known = kind is not None and step < len(made[item]) and kind[item] != made[item][step, TYPE]
            if step >= len(made[item]) or known:
                continue  # past its end, or asked for the other item's sake
            wanted = full[element][step]
            if scale != 1:
                wanted = wanted.log_softmax(-1) * scale + null[element][step].log_softmax(-1) * (1 - scale)
                found = found.log_softmax(-1) - found.log_softmax(-1)[:, :1] + wanted[0]
            torch.testing.assert_close(found[item], wanted, atol=2e-4, rtol=1e-3)


@kinds
@pytest.mark.parametrize("quantizer", ["ema_vq", "slot_vq"])
@torch.no_grad()
def test_codes_are_drawn_from_what_a_full_pass_gives(kind, quantizer, monkeypatch):
    model, prior = tiny(kind, quantizer=quantizer)
    condition, seen = torch.randn(1, 3, 8), []
    logits = generate.Teller.logits
    keep = lambda self, slot: seen.append((slot, logits(self, slot).clone())) or logits(self, slot)
    monkeypatch.setattr(generate.Teller, "logits", keep)
    given = torch.from_numpy(opening(1, density=0.2)).long()
    known = model.codes(given[None])
    prompt = Prompt(known, torch.tensor([len(given)]))
    (codes,) = sample_codes(prior, condition, 3, 2, prompt, randoms([1], 220, prior.config.slots))
    assert torch.equal(codes[: len(given)], known[0])
    begun = torch.cat((torch.zeros(1, dtype=torch.long), (codes[:, 0] == prior.bar).cumsum(0)))
    previous = torch.cat((torch.full_like(codes[:1], prior.start), codes))
    told = condition[:, (begun - 1).clamp_min(0)]
    left = torch.where(5 - begun > 1, FAR, 5 - begun)
    hidden = prior.hidden(previous[None], told, left[None])[:, :-1]
    steps = range(len(given), len(codes))  # but not the Bar that ends the passage
    for place, (slot, found) in enumerate(seen[: len(steps) * prior.config.slots]):
        step = steps[place // prior.config.slots]
        wanted = prior.logits(hidden, codes[None], slot)[0, step]
        torch.testing.assert_close(found[0], wanted, atol=1e-4, rtol=1e-3)
