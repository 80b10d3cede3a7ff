"""The networks: sizes as published, causality, masks, the regulariser, every quantizer with every conditioner."""

from itertools import product

import numpy as np
import pytest
import torch
from grids import VOCABULARY, random_grid

from gen import registry
from gen.emotion.spec import EmotionCurve
from gen.emotion.track import track
from gen.nn import lengths_to_mask
from music.muser.model import ORDERED, SLOTS, DimensionReducer, MusER
from music.muser.prior import FAR, Prior
from music.muser.sizes import AUTOENCODER, LINEAR, configs
from music.tokens import BAR, BEAT, CHORD, PITCH, TYPE, encode

QUANTIZERS = {
    "ema_vq": {"name": "ema_vq", "size": 32},
    "slot_vq": {"name": "slot_vq", "size": 16},
    "fsq": {"name": "fsq", "levels": [5, 5]},
    "fsq per slot": {"name": "fsq", "levels": [5, 5], "slots": 7},
    "fsp": {"name": "fsp", "levels": [5, 5]},
    "vp": {"name": "vp", "size": 16, "width": 4, "neighbours": 2},
}
PAPER_CLASSES = [56, 135, 18, 4, 87, 18, 42]  # of the published dictionary; ours has more tempi and pitches
CONDITIONERS = (*registry.SHIPPED["conditioner"][1], "quadrant")
kinds = pytest.mark.parametrize("kind", ["softmax", "linear"])


def tiny(kind="softmax", conditioner=None, quantizer=None, **changes):
    """Tiny models; ``quantizer`` is one of QUANTIZERS or a config."""
    torch.manual_seed(0)
    quantizer = QUANTIZERS[quantizer] if isinstance(quantizer, str) else quantizer
    autoencoder, prior = configs("tiny", conditioner, quantizer)
    layer = {"layer": LINEAR} if kind == "linear" else {}
    model = MusER(**autoencoder | layer | changes)
    book = model.codebook
    return model.eval(), Prior(size=book.size, slots=book.slots, **prior | layer).eval()


def some_rows(bars=2, seeds=(0, 1)):
    """Rows (b, n, 7) padded with zeros, mask (b, n)."""
    pieces = [torch.from_numpy(encode(random_grid(np.random.default_rng(s), bars, 0.2), VOCABULARY)) for s in seeds]
    rows = torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True).long()
    return rows, lengths_to_mask(torch.tensor([len(p) for p in pieces]), rows.shape[1])


def conditions(model, n, b=2, seed=0):
    return torch.randn(b, n, len(model.emotion.null), generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------- sizes


def millions(*modules):
    return sum(p.numel() for module in modules for p in module.parameters()) / 1e6


def test_the_paper_size_has_as_many_parameters_as_published():
    autoencoder, prior = configs("paper")
    with torch.device("meta"):
        m, p = MusER(**autoencoder | {"classes": PAPER_CLASSES}), Prior(size=512, **prior)
    counts = {
        "total": (millions(m), 68.07),
        "dimension reducer": (millions(m.reduce), 50.39),
        "used to generate": (millions(m) - millions(m.reduce), 17.68),
        "encoder": (millions(m.encoder_in, m.encoder_layers, m.encoder_norm, m.to_latent), 1.76),
        "global decoder": (millions(m.decoder_in, m.memory_in, m.decoder_layers, m.decoder_norm), 4.60),
        "element decoders": (millions(m.element_layers, m.element_norms), 11.06),
        "embeddings": (millions(m.embedding), 0.10),
        "heads": (millions(m.heads, m.with_type), 0.17),
        "prior": (millions(p.blocks, p.norm, p.enter), 6.38),
    }
    for name, (found, published) in counts.items():
        assert found == pytest.approx(published, abs=0.008), name
    assert len(m.codebook.codes) == 512 and m.codebook.codes.shape[1] == 7 * 16


@pytest.mark.parametrize("size", AUTOENCODER)
def test_every_size_knows_all_ids(size):
    assert configs(size)[0]["classes"] == list(VOCABULARY.sizes)


@pytest.mark.parametrize("size", ["tiny", "compact"])
def test_a_size_survives_its_folder(size, tmp_path):
    torch.manual_seed(0)
    autoencoder, prior = configs(size)
    model = MusER(**autoencoder).eval()
    prior = Prior(size=model.codebook.size, slots=model.codebook.slots, **prior).eval()
    for name, network in (("a", model), ("p", prior)):
        network.save_pretrained(tmp_path / name)
        again = type(network).from_pretrained(tmp_path / name)
        assert again.config.conditioner == network.config.conditioner
        for key, value in network.state_dict().items():
            torch.testing.assert_close(again.state_dict()[key], value, rtol=0, atol=0)


# ------------------------------------------------------------------ causality


@kinds
def test_a_row_is_predicted_from_earlier_rows_only(kind):
    model, _ = tiny(kind)
    rows, _ = some_rows()
    z = model.latents(model.codes(rows))
    inputs = torch.cat((model.embedding(rows), conditions(model, rows.shape[1])), -1).detach().requires_grad_()
    model.embedding.forward = lambda _: inputs[..., : inputs.shape[2] - 8]
    hidden = model.hidden(rows, inputs[..., -8:], model.remember(z))
    for step in (0, 3, 9):
        for element in (TYPE, PITCH):
            x = model.element(element, model.element_input(element, hidden, z))
            (grad,) = torch.autograd.grad(x[:, step].square().sum(), inputs, retain_graph=True)
            seen = grad.abs().sum(-1) > 0
            assert seen[:, : step + 1].all() and not seen[:, step + 1 :].any()


@kinds
def test_an_element_decoder_sees_its_own_slot_up_to_its_step(kind):
    model, _ = tiny(kind)
    rows, _ = some_rows()
    z = torch.randn(*rows.shape[:2], 7 * model.slot, requires_grad=True)
    hidden = torch.randn(*rows.shape[:2], 16)
    x = model.element(PITCH, model.element_input(PITCH, hidden, z))
    (grad,) = torch.autograd.grad(x[:, 5].square().sum(), z)
    seen = grad.unflatten(-1, (7, model.slot)).abs().sum((0, 3)) > 0  # (n, 7)
    assert seen[:6, PITCH].all() and not seen[6:].any() and not seen[:, [e for e in range(7) if e != PITCH]].any()


@kinds
def test_the_global_decoder_sees_all_codes_at_every_step(kind):
    model, _ = tiny(kind)
    rows, _ = some_rows()
    z = torch.randn(*rows.shape[:2], 7 * model.slot, requires_grad=True)
    hidden = model.hidden(rows, conditions(model, rows.shape[1]), model.remember(z))
    (grad,) = torch.autograd.grad(hidden[:, 0].square().sum(), z)
    assert (grad.abs().sum(-1) > 0).all()


@kinds
@pytest.mark.parametrize("quantizer", ["ema_vq", "slot_vq"])
def test_a_code_is_predicted_from_earlier_codes_only(kind, quantizer):
    _, prior = tiny(kind, quantizer=quantizer)
    slots = prior.config.slots
    codes = torch.randint(prior.config.size, (2, 9, slots))
    cond, left = conditions(prior, 9).requires_grad_(), torch.full((2, 9), 3)
    tables = [table(codes[..., i]).detach().requires_grad_() for i, table in enumerate(prior.tables)]
    for i, table in enumerate(prior.tables):
        table.forward = lambda _, i=i: tables[i]
    hidden = prior.hidden(codes, cond, left)
    for step in (0, 4):
        grads = torch.autograd.grad(hidden[:, step].square().sum(), [cond, *tables], retain_graph=True)
        for grad in grads:
            seen = grad.abs().sum(-1) > 0
            assert seen[:, : step + 1].all() and not seen[:, step + 1 :].any()


def test_a_slot_is_predicted_from_the_slots_before_it():
    _, prior = tiny(quantizer="slot_vq")
    hidden, chosen = torch.randn(2, 1, 16), torch.randint(prior.config.size, (2, 1, 7))
    other = chosen.clone()
    other[..., 3:] = (other[..., 3:] + 1) % prior.config.size
    for slot in range(7):
        same = torch.equal(prior.logits(hidden, chosen, slot), prior.logits(hidden, other, slot))
        assert same == (slot <= 3)


# ---------------------------------------------------------------------- masks


def spoiled(rows, mask):
    """The same rows where they count, others in the padding."""
    other = rows.clone()
    other[~mask] = torch.tensor([3, 3, 5, 2, 0, 0, 0])
    return other


@kinds
@pytest.mark.parametrize("quantizer", ["ema_vq", "slot_vq"])
def test_padded_rows_change_nothing(kind, quantizer):
    model, _ = tiny(kind, quantizer=quantizer)
    rows, mask = some_rows()
    assert not mask.all()
    other = spoiled(rows, mask)
    torch.testing.assert_close(model.encode(rows, mask)[mask], model.encode(other, mask)[mask])
    torch.testing.assert_close(model.codes(rows, mask)[mask], model.codes(other, mask)[mask])
    cond = conditions(model, rows.shape[1])
    found = []
    for given in (rows, other):
        torch.manual_seed(3)  # of the pairs that the regulariser draws
        found.append(model(given, mask, cond))
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two)


@kinds
def test_a_batch_is_as_good_as_its_items(kind):
    model, _ = tiny(kind)
    rows, mask = some_rows()
    cond = conditions(model, rows.shape[1])
    together = model(rows, mask, cond)
    alone = [model(rows[i : i + 1, mask[i]], mask[i : i + 1, mask[i]], cond[i : i + 1, mask[i]]) for i in (0, 1)]
    weight = mask.sum(1) / mask.sum()
    torch.testing.assert_close(together.nll, sum(w * a.nll for w, a in zip(weight, alone, strict=True)))


def test_padded_codes_change_nothing():
    _, prior = tiny()
    codes, mask = torch.randint(prior.config.size, (2, 9, 1)), lengths_to_mask(torch.tensor([5, 9]), 9)
    other = torch.where(mask[..., None], codes, 7)
    left = torch.full((2, 9), FAR)
    losses = [prior(c, mask, conditions(prior, 9), left) for c in (codes, other)]
    torch.testing.assert_close(*losses)


# ----------------------------------------------------------------- Bar's code


def test_bars_have_a_code_of_their_own_that_no_other_row_has():
    model, _ = tiny()
    rows, mask = some_rows()
    codes = model.codes(rows, mask)
    assert codes.shape == (*rows.shape[:2], 1)
    assert torch.equal((codes[..., 0] == model.bar)[mask], (rows[..., BEAT] == BAR)[mask])
    assert (model.latents(codes)[rows[..., BEAT] == BAR] == model.bar_code).all()


def test_slots_that_a_row_does_not_set_are_silent():
    model, _ = tiny(quantizer="slot_vq")
    rows, mask = some_rows()
    codes = model.codes(rows, mask)
    z = model.latents(codes).unflatten(-1, (7, model.slot))
    silent = (z == model.bar_code.view(7, model.slot)).all(-1)
    expected = (rows == 0) | (rows[..., BEAT, None] == BAR)
    assert torch.equal(silent[mask], expected[mask])
    assert ((codes == model.bar).sum(-1) == expected.sum(-1))[mask].all()


def test_training_and_generation_decode_from_the_same_latents(monkeypatch):
    for quantizer in ("ema_vq", "slot_vq", "fsq", "fsq per slot", "fsp"):
        model, _ = tiny(quantizer=quantizer)
        rows, mask = some_rows()
        kept = []
        remember = model.remember
        monkeypatch.setattr(model, "remember", lambda z, m, kept=kept, go=remember: kept.append(z) or go(z, m))
        model(rows, mask, conditions(model, rows.shape[1]))
        torch.testing.assert_close(kept[0][mask], model.latents(model.codes(rows, mask))[mask], msg=quantizer)


# ---------------------------------------------------------------- regulariser


def test_the_regulariser_wants_latents_in_the_order_of_their_values():
    model, _ = tiny()
    rows, mask = some_rows(bars=4)
    coded = mask & (rows[..., BEAT] != BAR)
    losses = {}
    for name, sign in (("rising", 1.0), ("flat", 0.0), ("falling", -1.0)):
        z = torch.zeros(*rows.shape[:2], 7, model.slot)
        for e in ORDERED:
            z[..., e, :] = 10 * sign * torch.nan_to_num(model.numbers[e])[rows[..., e]][..., None]
        torch.manual_seed(0)
        losses[name] = float(model.order_loss(rows, z.flatten(2), coded))
    assert losses["rising"] < losses["flat"] - 1 < losses["falling"] - 2


def test_the_regulariser_reads_chords_off_their_slot():
    model, _ = tiny()
    rows, mask = some_rows(bars=4)
    z = torch.zeros(*rows.shape[:2], 7 * model.slot, requires_grad=True)
    (grad,) = torch.autograd.grad(model.order_loss(rows, z, mask), z)
    told = grad.unflatten(-1, (7, model.slot))[..., CHORD, :].abs().sum(-1) > 0
    assert torch.equal(told, (rows[..., CHORD] > 1) & mask)


@kinds
def test_the_published_reducer_gives_a_value_a_step(kind):
    reducer = DimensionReducer(length=32, layers=2, heads=4, ffn=48, kind=kind).eval()
    slot = torch.randn(2, 20, 16)
    assert reducer(slot).shape == (2, 20)
    model, _ = tiny(kind)
    model.reduce = DimensionReducer(length=128, layers=1, heads=4, ffn=32, kind=kind)
    rows, mask = some_rows()
    model(rows, mask, conditions(model, rows.shape[1])).order.backward()
    assert all(p.grad is not None for p in model.reduce.parameters())


# -------------------------------------------------------- a code for each value


def test_fitted_codes_say_what_each_element_is():
    model, _ = tiny(encoder=None, quantizer=None)
    model = MusER(**dict(model.config) | {"quantizer": {"name": "slot_vq", "size": 140, "slots": 7}}).eval()
    model.fit_codebook()
    rows, mask = some_rows(bars=4)
    codes, set_ = model.codes(rows, mask), ~model.off(rows)[..., SLOTS]
    assert torch.equal(codes[set_ & mask[..., None]], rows[..., SLOTS][set_ & mask[..., None]])
    latents = model.silence(model.encode(rows, mask), model.off(rows))
    torch.testing.assert_close(model.latents(codes)[mask], latents[mask])


# --------------------------------------------------------------- combinations


def test_no_quantizer_is_forgotten():
    assert {config["name"] for config in QUANTIZERS.values()} == set(registry.SHIPPED["quantizer"][1])


@pytest.mark.parametrize(("quantizer", "conditioner"), [*product(QUANTIZERS, CONDITIONERS)])
def test_every_quantizer_and_conditioner_trains(quantizer, conditioner):
    model, prior = tiny(conditioner=conditioner, quantizer=quantizer)
    rows, mask = some_rows(bars=1)
    curves = [EmotionCurve.parse("happy"), EmotionCurve.parse("bar 0: sad, bar 1: anger @ 1.2")]
    for network in (model.train(), prior.train()):
        optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
        for _ in range(2):
            told = network.emotion(**network.emotion.prepare([track(c, range(rows.shape[1])) for c in curves]))
            if network is model:
                losses = model(rows, mask, told.tokens)
                loss = losses.nll + losses.quantizer + 0.1 * losses.order + told.loss
            else:
                with torch.no_grad():
                    codes = model.codes(rows, mask)
                loss = prior(codes, mask, told.tokens, torch.zeros_like(codes[..., 0])) + told.loss
            loss.backward()
            assert torch.isfinite(loss)
            optimiser.step()
            optimiser.zero_grad()
        assert all(p.isfinite().all() for p in network.parameters())
        network.eval()
