"""The bank of prototypes: attention, quantisation, and unused entries."""

import torch

from gen.emotion.embedding.bank import EmotionBank


def queries(seed=0, b=4, n=8, dim=16):
    return torch.randn(b, n, dim, generator=torch.Generator().manual_seed(seed))


def test_soft_mode_mixes_all_entries():
    torch.manual_seed(0)
    bank = EmotionBank(entries=8, dim=16, heads=2).eval()
    out = bank(queries())
    assert out.tokens.shape == (4, 8, 16)
    assert out.loss == 0
    out.tokens.square().sum().backward()
    assert (bank.entries.grad.abs().sum(1) > 0).all()


def test_hard_mode_takes_the_nearest_entry_straight_through():
    torch.manual_seed(0)
    bank = EmotionBank(entries=8, dim=16, mode="hard").eval()
    query = queries().requires_grad_()
    out = bank(query)
    nearest = (query[..., None, :] - bank.entries).norm(dim=-1).argmin(-1)
    assert torch.equal(out.index, nearest)
    torch.testing.assert_close(out.tokens, bank.to_value(bank.entries[nearest]))
    gradient = torch.autograd.grad(out.tokens.sum(), query, retain_graph=True)[0]
    torch.testing.assert_close(gradient, bank.to_value.weight.sum(0).expand_as(query))
    error = (bank.entries[nearest] - query).square().mean()
    torch.testing.assert_close(out.loss, 1.25 * error)


def test_the_loss_pulls_entries_to_the_queries():
    torch.manual_seed(0)
    bank = EmotionBank(entries=4, dim=16, mode="hard").eval()
    optimiser = torch.optim.Adam([bank.entries], 0.1)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = bank(queries()).loss
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_dead_entries_are_replaced_by_queries():
    torch.manual_seed(0)
    bank = EmotionBank(entries=32, dim=16, mode="hard", decay=0.5)
    with torch.no_grad():
        bank.entries[1:] += 100  # only the first is near anything
    for seed in range(12):
        bank(queries(seed))
    bank.reset_usage()
    bank(queries(99))
    assert bank.usage()["used"] > 8
    assert bank.entries.norm(dim=1).max() < 50


def test_evaluation_changes_no_state():
    bank = EmotionBank(entries=8, dim=16, mode="hard").eval()
    before = {name: tensor.clone() for name, tensor in bank.state_dict().items()}
    bank(queries())
    assert all(torch.equal(before[name], tensor) for name, tensor in bank.state_dict().items())


def test_usage_counts_attention():
    bank = EmotionBank(entries=8, dim=16, mode="soft")
    bank(queries())
    assert bank.usage()["used"] == 8
    assert 4 < bank.usage()["perplexity"] <= 8.001
    bank.reset_usage()
    assert bank.usage()["used"] == 0


def test_bfloat16_training_counts_in_float32():
    bank = EmotionBank(entries=4, dim=8).train()
    with torch.autocast("cpu", torch.bfloat16):
        bank(torch.randn(2, 3, 8)).tokens.float().sum().backward()
    assert bank.share.dtype == bank.mass.dtype == torch.float32
    torch.testing.assert_close(bank.mass.sum(), torch.tensor(6.0), atol=0.05, rtol=0)
