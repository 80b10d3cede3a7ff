"""Music FaderNets: bars as rows, the network's promises, the published layout."""

import numpy as np
import pytest
import torch
from grids import grids, random_grid
from hypothesis import given, settings
from torch import nn

from gen.errors import CheckpointError
from music.faders import segments
from music.faders.model import FaderNet
from music.faders.sizes import EVENTS, SIZES
from music.faders.upstream import FILE, UNUSED, convert
from music.tokens import apart


def tiny(**other) -> FaderNet:
    torch.manual_seed(0)
    return FaderNet(**(SIZES["tiny"] | other)).eval()


def some_bars(count=6, seed=0):
    bars = segments.bars_of(random_grid(np.random.default_rng(seed), count + 4))
    return [bar for bar in bars if segments.may_be_moved(bar)][:count]


def tensors(bars):
    rows, lengths = segments.padded([segments.rows_of(bar) for bar in bars])
    return torch.from_numpy(rows), torch.from_numpy(lengths)


# ---------------------------------------------------------------- bars


@settings(max_examples=30, deadline=None)
@given(grids())
def test_bars_come_back_from_rows(grid):
    bars = segments.bars_of(grid)
    back = [segments.notes_of(segments.rows_of(bar)) for bar in bars]
    for bar, found in zip(bars, back, strict=True):
        np.testing.assert_array_equal(found[:, :3], bar[:, :3])
        assert np.all(np.abs(found[:, 3] - bar[:, 3]) <= segments.LOUDNESS / 2)
    again = segments.joined(bars, grid)
    np.testing.assert_array_equal(again.notes, apart(grid.notes))


def test_faders_say_onsets_a_beat_and_voices():
    bar = np.array([[0, 72, 4, 80], [0, 60, 16, 80], [4, 74, 4, 80], [8, 76, 8, 80]], float)
    rows, _ = segments.padded([segments.rows_of(bar)])
    rhythm, notes = (float(x[0]) for x in segments.attributes(rows))
    assert rhythm == 3 / 4 and notes == 2.0
    steps, counts = segments.rhythm(rows)
    assert list(np.flatnonzero(steps[0] == segments.ONSET)) == [0, 4, 8] and set(counts[0]) == {2}


def test_the_key_around_a_bar_is_told():
    scale = np.array([[i, p, 2, 70] for i, p in enumerate((60, 62, 64, 65, 67, 69, 71, 72))], float)
    for by in (0, 5):
        moved = scale + np.array([0, by, 0, 0])
        keys = segments.keys_of([moved] * 3)
        assert np.all(keys.argmax(1) == by) and np.allclose(keys.sum(1), 1) and np.all((keys > 0).sum(1) <= 3)


# ---------------------------------------------------------------- network


def test_a_batch_reads_bars_as_one_by_one():
    net, (rows, lengths) = tiny(), tensors(some_bars())
    whole = net.encode(rows, lengths).mean
    for i in range(len(rows)):
        torch.testing.assert_close(net.encode(rows[i : i + 1], lengths[i : i + 1]).mean[0], whole[i], atol=1e-5, rtol=0)


def test_what_is_decoded_does_not_know_what_comes():
    net, (rows, lengths) = tiny(), tensors(some_bars(2))
    known = net.known(torch.zeros(2, 2, 6), torch.zeros(2, 24))
    hidden, _ = net.hidden(rows, known)
    changed = rows.clone()
    changed[:, 3:, 1] = 5
    other, _ = net.hidden(changed, known)
    torch.testing.assert_close(hidden[:, :3], other[:, :3])
    assert not torch.allclose(hidden[:, 3:], other[:, 3:])
    assert net.nll(rows, lengths, known).shape == (2,)


def test_sub_decoders_see_the_steps_before_alone():
    net, classes = tiny(), torch.zeros(1, 16, dtype=torch.long)
    later = classes.clone()
    later[:, 8:] = 1
    z = torch.zeros(1, 6)
    a, b = net.tell(0, z, classes), net.tell(0, z, later)
    torch.testing.assert_close(a[:, :9], b[:, :9])
    assert not torch.allclose(a[:, 9:], b[:, 9:])


def test_step_by_step_is_all_at_once():
    net, (rows, _) = tiny(), tensors(some_bars(3))
    known = net.known(torch.randn(3, 2, 6), torch.rand(3, 24))
    whole, _ = net.hidden(rows, known)
    state, parts = None, []
    for step in range(rows.shape[1]):
        one, state = net.hidden(rows[:, step : step + 1], known, state)
        parts.append(one)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=0)


def test_components_are_told_apart():
    net = tiny()
    with torch.no_grad():
        net.prior_mean[:, 0], net.prior_mean[:, 1] = -1.0, 1.0
    z = torch.stack((torch.full((2, 6), -0.9), torch.full((2, 6), 0.9)))
    assert net.log_components(z).argmax(-1).tolist() == [[0, 0], [1, 1]]


# ---------------------------------------------------------------- the release


def published(roll, hidden, width, components=2):
    """A state dict in the upstream layout, at any size."""
    part = {}
    encoder = lambda: nn.GRU(roll, hidden, batch_first=True, bidirectional=True)
    for space, classes in (("r", 3), ("n", 16), ("c", 24)):
        part[f"gru_{space}"], part[f"gru_d_{space}"] = encoder(), nn.GRU(width + classes, hidden)
        part[f"mu_{space}"], part[f"var_{space}"] = nn.Linear(2 * hidden, width), nn.Linear(2 * hidden, width)
        part[f"linear_init_{space}"] = nn.Linear(width, hidden)
        part[f"linear_out_{space}"] = nn.Linear(hidden if space != "c" else width, classes)
    part |= {"c_r": nn.Linear(width, 3), "c_n": nn.Linear(width, 3)}
    part["linear_init_global"] = nn.Linear(2 * width + 24, hidden)
    part["grucell_g"], part["grucell_g_2"] = nn.GRUCell(2 * width + 24 + roll, hidden), nn.GRUCell(hidden, hidden)
    part["linear_out_g"] = nn.Linear(hidden, roll)
    for space in "rn":
        part[f"mu_{space}_lookup"], part[f"logvar_{space}_lookup"] = (nn.Embedding(components, width) for _ in range(2))
    return nn.ModuleDict(part)


@pytest.fixture
def release(tmp_path):
    torch.manual_seed(1)
    modules = published(20, 8, 6)
    torch.save(modules.state_dict(), tmp_path / FILE)
    return tmp_path / FILE, modules


def test_the_published_sizes():
    with torch.device("meta"):
        modules = published(EVENTS, 512, 128)
        net = FaderNet(**SIZES["paper"])
    state = modules.state_dict()
    assert sum(x.numel() for x in state.values()) == 15_553_415
    unread = sum(state[key].numel() for key in UNUSED)
    ours = sum(x.numel() for x in net.state_dict().values())
    assert (unread, ours) == (3_984_926, 15_553_415 - 3_984_926)


def test_a_release_plays_as_published(release, tmp_path):
    path, modules = release
    convert(path, tmp_path / "out")
    net = FaderNet.from_pretrained(tmp_path / "out").eval()
    events = torch.randint(20, (3, 100, 1), generator=torch.Generator().manual_seed(2))
    x = nn.functional.one_hot(events[..., 0], 20).float()
    found = net.encode(events, torch.full((3,), 100))
    for i, space in enumerate("rn"):
        end = modules[f"gru_{space}"](x)[1].transpose(0, 1).reshape(3, -1)
        torch.testing.assert_close(found.mean[:, i], modules[f"mu_{space}"](end))
        torch.testing.assert_close(found.std[:, i], modules[f"var_{space}"](end).exp())
    z = torch.cat((found.mean.flatten(1), torch.zeros(3, 24)), 1)
    before, one, two = torch.zeros(3, 20), modules["linear_init_global"](z), None
    before[:, -1] = 1
    for step in range(4):
        one = modules["grucell_g"](torch.cat((before, z), 1), one)
        two = modules["grucell_g_2"](one, one if two is None else two)
        before = x[:, step]
    previous = torch.cat((net.opening(3), events[:, :3]), 1)
    hidden, _ = net.hidden(previous, net.known(found.mean, torch.zeros(3, 24)))
    torch.testing.assert_close(net.logits(hidden[:, -1], events[:, 0], 0), modules["linear_out_g"](two))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("gru_r.weight_hh_l0_reverse"), "encoders.0.weight_hh_l0_reverse"),
        (lambda state: state.pop("gru_c.weight_ih_l0"), "gru_c.weight_ih_l0"),
        (lambda state: state.update({"more.weight": torch.zeros(2)}), "more.weight"),
        (lambda state: state.update({"mu_n.bias": torch.zeros(7)}), "means.1.bias"),
        (lambda state: state.pop("mu_r_lookup.weight"), "mu_r_lookup.weight"),
    ],
)
def test_another_layout_is_refused(release, tmp_path, change, named):
    path, modules = release
    state = modules.state_dict()
    change(state)
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=named):
        convert(path, tmp_path / "out")


def test_likelihood_of_packed_rows_is_that_of_each_row():
    net, (rows, lengths) = tiny(), tensors(some_bars())
    known = net.known(torch.randn(len(rows), 2, 6), torch.rand(len(rows), 24))
    found = net.nll(rows, lengths, known)
    for i, n in enumerate(lengths.tolist()):
        one = rows[i : i + 1, :n]
        hidden, _ = net.hidden(torch.cat((net.opening(1), one[:, :-1]), 1), known[i : i + 1])
        losses = [
            net.logits(hidden, one, field).log_softmax(-1).gather(-1, one[..., field, None])[0, : n - (field > 0)]
            for field in range(4)
        ]
        torch.testing.assert_close(found[i], -sum(x.sum() for x in losses), atol=1e-4, rtol=0)
