"""Causality by zero gradients, masks, step-by-step decoding, and attention backends."""

import math
from itertools import pairwise

import pytest
import torch

from gen import nn as layers
from gen.errors import DeviceError
from gen.nn import (
    AdaLN,
    Attention,
    Block,
    FourierFeatures,
    by_column,
    lengths_to_mask,
    positions,
    rotate,
    set_attention_backend,
)

DIM, HEADS, N = 16, 4, 11
kinds = pytest.mark.parametrize("kind", ["softmax", "linear"])


def block(kind, **options):
    torch.manual_seed(0)
    return Block(DIM, HEADS, 32, kind, **options).eval()


def data(n=N, b=2, seed=0):
    return torch.randn(b, n, DIM, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks that do not divide the length, so that linear attention crosses their borders."""
    monkeypatch.setattr(layers, "CHUNK", 4)


@kinds
def test_a_causal_step_gets_no_gradient_from_later_ones(kind):
    net, x = block(kind), data().requires_grad_()
    for step in (0, 4, 7):
        (grad,) = torch.autograd.grad(net.causal(x)[:, step].square().sum(), x)
        seen = grad.abs().sum(-1) > 0
        assert seen[:, : step + 1].all()
        assert not seen[:, step + 1 :].any()


@kinds
def test_without_causality_every_step_attends_to_every_other(kind):
    net, x = block(kind), data().requires_grad_()
    (grad,) = torch.autograd.grad(net(x)[:, 3].square().sum(), x)
    assert (grad.abs().sum(-1) > 0).all()


@kinds
@pytest.mark.parametrize("norm_first", [True, False])
def test_step_by_step_decoding_equals_the_full_pass(kind, norm_first):
    net, x, context = block(kind, cross=True, norm_first=norm_first), data(), data(5, seed=1)
    memory = net.cross.remember(context)
    full = net.causal(x, memory=memory)
    state = net.attention.state(2, N)
    steps = [net.causal(x[:, i : i + 1], state, memory) for i in range(N)]
    torch.testing.assert_close(torch.cat(steps, 1), full, atol=1e-5, rtol=1e-4)
    assert state["at"] == N


@kinds
@pytest.mark.parametrize("cuts", [(6,), (1, 2, 9), (3, 4)])
def test_chunked_decoding_equals_the_full_pass(kind, cuts):
    net, x = block(kind), data()
    state = net.attention.state(2, N)
    pieces = [net.causal(x[:, a:b], state) for a, b in pairwise([0, *cuts, N])]
    torch.testing.assert_close(torch.cat(pieces, 1), net.causal(x), atol=1e-5, rtol=1e-4)


@kinds
def test_masked_items_equal_absent_items(kind):
    net, mask = block(kind), lengths_to_mask(torch.tensor([7, N]), N)
    x, other = data(), data()
    other[0, 7:] = 100.0
    torch.testing.assert_close(net(x, mask)[mask], net(other, mask)[mask])
    torch.testing.assert_close(net(x, mask)[:1, :7], net(x[:1, :7]), atol=1e-5, rtol=1e-4)


@kinds
def test_masked_memory_equals_absent_memory(kind):
    net, mask = block(kind, cross=True), lengths_to_mask(torch.tensor([3, 5]), 5)
    x, context, other = data(), data(5, seed=1), data(5, seed=1)
    other[0, 3:] = 100.0
    run = lambda c, m=None: net.causal(x[: len(c)], memory=net.cross.remember(c, m))
    torch.testing.assert_close(run(context, mask), run(other, mask))
    torch.testing.assert_close(run(context, mask)[:1], run(context[:1, :3]), atol=1e-5, rtol=1e-4)


@kinds
def test_items_of_a_batch_are_independent(kind):
    net, x = block(kind), data()
    torch.testing.assert_close(net(x)[1:], net(x[1:]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(net.causal(x)[1:], net.causal(x[1:]), atol=1e-5, rtol=1e-4)


def test_linear_attention_equals_the_weighted_mean_of_its_feature_map():
    torch.manual_seed(0)
    net, x = Attention(DIM, 1, "linear"), data()
    feature = lambda y: torch.nn.functional.elu(y) + 1
    query, key, value = net.qkv(x).chunk(3, dim=-1)
    weights = feature(query) @ feature(key).transpose(1, 2)
    for causal in (False, True):
        kept = weights.tril() if causal else weights
        expected = net.out(kept / kept.sum(-1, keepdim=True) @ value)
        got = net.causal(x) if causal else net(x, net.remember(x))
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def test_softmax_attention_is_the_textbook_formula():
    torch.manual_seed(0)
    net, x = Attention(DIM, 1), data()
    query, key, value = net.qkv(x).chunk(3, dim=-1)
    query, key = rotate(query[:, :, None])[:, :, 0], rotate(key[:, :, None])[:, :, 0]
    weights = (query @ key.transpose(1, 2) / math.sqrt(DIM)).softmax(-1)
    torch.testing.assert_close(net(x, net.remember(x)), net.out(weights @ value), atol=1e-5, rtol=1e-4)


def test_the_state_of_linear_attention_does_not_grow():
    net = Attention(DIM, HEADS, "linear")
    state = net.state(2, 10_000)
    assert sum(v.numel() for v in state.values() if isinstance(v, torch.Tensor)) == 2 * HEADS * (4 + 1) * (4 + 1)


def test_column_major_weights_give_equal_results():
    net = Block(8, 2, 16, "linear").eval()
    x = torch.randn(2, 5, 8)
    before = net.causal(x)
    by_column(net)
    assert not net.linear1.weight.is_contiguous() and net.linear1.weight.T.is_contiguous()
    torch.testing.assert_close(net.causal(x), before)


def test_rotary_products_depend_only_on_distance():
    query, key = data(1, 1).view(1, 1, 4, 4), data(1, 1, seed=1).view(1, 1, 4, 4)
    product = lambda i, j: (rotate(query, i) * rotate(key, j)).sum(-1)
    torch.testing.assert_close(product(9, 4), product(105, 100), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(product(9, 4), product(9, 5))
    torch.testing.assert_close(rotate(query, 50).norm(dim=-1), query.norm(dim=-1))


def test_positions_are_sine_and_cosine_of_falling_rates():
    table = positions(0, 5, torch.zeros(8))
    assert table.shape == (5, 8)
    torch.testing.assert_close(table[:, 0], torch.arange(5).sin())
    torch.testing.assert_close(table[:, 3], (torch.arange(5) / 10).cos())
    assert (table @ table.T).argmax(1).tolist() == list(range(5))


def test_lengths_to_mask():
    assert lengths_to_mask(torch.tensor([0, 2, 3]), 3).tolist() == [[False] * 3, [True, True, False], [True] * 3]


def test_adaln_starts_as_layer_norm_and_takes_one_condition_or_one_per_step():
    norm, x, one = AdaLN(DIM, 3), data(), torch.randn(2, 3)
    torch.testing.assert_close(norm(x, one), torch.nn.functional.layer_norm(x, (DIM,)))
    torch.nn.init.normal_(norm.modulate.weight)
    torch.testing.assert_close(norm(x, one), norm(x, one[:, None].expand(2, N, 3)))
    assert not torch.allclose(norm(x, one), norm(x, one + 1))


def test_fourier_features_separate_near_values():
    torch.manual_seed(0)
    net = FourierFeatures(2, 32)
    x = torch.tensor([[0.3, -0.2], [0.35, -0.2], [0.9, -0.2]])
    near, far = (net(x)[0] - net(x)[1]).norm(), (net(x)[0] - net(x)[2]).norm()
    assert net(torch.zeros(4, 7, 2)).shape == (4, 7, 32)
    assert 0 < near < far


@pytest.mark.skipif(torch.cuda.is_available(), reason="these need a GPU, and here there is one")
@pytest.mark.parametrize("name", ["xformers", "flash", "no such backend"])
def test_a_backend_that_cannot_run_here_is_refused_in_one_sentence(name):
    net = torch.nn.Sequential(Block(DIM, HEADS, 32))
    with pytest.raises(DeviceError, match=f"'{name}' does not run on cpu: use 'native'") as refusal:
        set_attention_backend(net, name)
    assert "\n" not in str(refusal.value)
    assert net[0].attention._attention_backend is None


def test_another_backend_gives_the_same_numbers():
    net, x = block("softmax"), data()
    expected = net.causal(x), net(x)
    set_attention_backend(net, "_native_math")
    torch.testing.assert_close((net.causal(x), net(x)), expected)


@kinds
def test_half_precision_stays_half(kind):
    net = block(kind, cross=True).bfloat16()
    x = data().bfloat16()
    assert net(x).dtype == torch.bfloat16
    out = net.causal(x, net.attention.state(2, N), net.cross.remember(x))
    assert out.dtype == torch.bfloat16
    assert out.isfinite().all()


def test_tables_cached_in_sampling_work_in_training():
    net, x = Attention(24, 2), torch.randn(2, 7, 24)
    with torch.inference_mode():
        net.causal(x)
    net.causal(x).sum().backward()
    assert net.qkv.weight.grad.abs().sum() > 0
