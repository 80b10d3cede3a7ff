"""Upstream weights generate valid pieces of the requested length, with the upstream sampling distribution."""

import numpy as np
import pytest
import torch
from grids import random_grid
from published import USED, write

from gen.convert import convert
from gen.emotion.spec import EmotionCurve
from gen.notes import collect
from music.muser import generate, upstream_passes
from music.muser.generate import Prompt, randoms
from music.muser.passes import BAR_LINE
from music.muser.upstream_passes import UpstreamPasses
from music.pipeline import MusicGenerator
from music.tokens import BAR, BEAT, EOS, NOTE, START, TYPE, encode, violation


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("ours") / "muser"
    convert("muser", write(tmp_path_factory.mktemp("release")), out)
    return MusicGenerator.from_pretrained(out)


def test_what_published_weights_cannot_follow_is_said(made):
    with collect() as notes:
        UpstreamPasses(made, [EmotionCurve.parse("sad")], [0], 1, 1.0, 1.0, 1, {})
        assert not notes
        UpstreamPasses(made, [EmotionCurve.parse("0: sad, 1: happy")], [0], 1, 2.0, 1.0, 1, {})
    assert [text.split()[2] for text in notes] == ["never", "is"] and "guidance" in notes[0]


def ending(model, bias, monkeypatch):
    """The decoder's tendency to end pieces."""
    head = model.heads[TYPE]
    changed = torch.where(torch.arange(len(head.bias)) == EOS, bias, head.bias)
    monkeypatch.setitem(head._parameters, "bias", torch.nn.Parameter(changed, requires_grad=False))


def bars_of(rows):
    return int((rows[:, BEAT] == BAR).sum())


def test_every_piece_is_valid_and_as_long_as_asked(made):
    curves = [EmotionCurve.parse(f"Q{1 + seed % 4}") for seed in range(8)]
    pieces = made.compose(curves, 2, range(8))
    for piece in pieces:
        assert piece.valid(), violation(piece.tokens)
        assert bars_of(piece.tokens) == 2
    assert len({piece.tokens.tobytes() for piece in pieces}) == 8
    (alone,) = made.compose(curves[3:4], 2, [3])
    np.testing.assert_array_equal(alone.tokens, pieces[3].tokens)


def test_passages_follow_each_other_until_the_bars_are_there(made, monkeypatch):
    monkeypatch.setattr(upstream_passes, "WHOLE", 160)
    told = []
    (piece,) = made.compose([EmotionCurve.parse("bar 0: Q3, bar 4: Q1")], 8, [0], progress=told.append)
    assert piece.valid() and bars_of(piece.tokens) == 8
    assert len(told) > 1 and told == sorted(told)


def test_an_end_of_the_decoders_own_ends_a_passage_and_not_the_piece(made, monkeypatch):
    ending(made.autoencoder, 50.0, monkeypatch)  # after every note
    (piece,) = made.compose([EmotionCurve.parse("Q2")], 3, [0])
    assert piece.valid() and bars_of(piece.tokens) == 3 and len(piece.tokens) == 9


@pytest.mark.parametrize("density", [0.2, 0.9])
def test_an_opening_is_kept_and_gone_on_from(made, density, monkeypatch):
    monkeypatch.setattr(upstream_passes, "WHOLE", 200)
    opening = encode(random_grid(np.random.default_rng(0), 4, density), made.vocabulary)
    (piece,) = made.compose([EmotionCurve.parse("Q4")], 2, [0], opening=opening)
    np.testing.assert_array_equal(piece.tokens[: len(opening)], opening)
    assert violation(piece.tokens) is None and bars_of(piece.tokens) == 6


@torch.no_grad()
def test_rows_are_drawn_from_what_a_full_pass_gives(made, monkeypatch):
    model, seen = made.autoencoder, []
    ending(model, -50.0, monkeypatch)
    logits = generate.Player.logits

    def watched(self, element, kind=None):
        found = logits(self, element, kind)
        seen.append((self.at - 1, element, kind, found.clone()))
        return found

    monkeypatch.setattr(generate.Player, "logits", watched)
    told = torch.randn(1, 1, len(model.emotion.null))
    line = torch.from_numpy(BAR_LINE)[None]
    codes = torch.randint(USED, (1, 150, 1), generator=torch.Generator().manual_seed(0))
    begin = Prompt(line, torch.tensor([1]))
    (rows,) = upstream_passes.play(model, codes, told, begin, torch.tensor([2]), randoms([1], 150, 7))
    previous = torch.cat((torch.zeros_like(rows[:1]), rows[:-1]))[None]
    previous[0, 0, TYPE] = START
    condition = model.emotion.null.expand(1, len(rows), -1).clone()
    condition[:, 0] = told[:, 0]
    hidden = model.hidden(previous, condition, model.remember(model.latents(codes)))
    z = model.latents(codes)[:, : len(rows)]
    assert len(rows) > 10 and {element for _, element, _, _ in seen} == set(range(7))
    for step, element, kind, found in seen:
        if step < len(rows):
            x = model.element(element, model.element_input(element, hidden, z))
            wanted = model.logits(element, x, None if kind is None else kind[:, None].expand(1, len(rows)))[:, step]
            torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_codes_are_drawn_from_what_a_full_pass_gives(made, monkeypatch):
    prior, seen = made.prior, []
    logits = generate.Teller.logits
    keep = lambda self, slot: seen.append(logits(self, slot).clone()) or seen[-1]
    monkeypatch.setattr(generate.Teller, "logits", keep)
    told = prior.emotion(quadrants=torch.tensor([[[0.0, 1, 0, 0]]])).tokens
    known = torch.tensor([[[3], [5]]])
    codes = upstream_passes.tell(prior, told, Prompt(known, torch.tensor([2])), randoms([1], 30, 1), 1.0)
    assert codes.shape == (1, 30, 1) and torch.equal(codes[:, :2], known) and codes.max() < USED
    previous = torch.cat((torch.full((1, 1, 1), prior.start), codes[:, :-1]), 1)
    condition = torch.cat((told, torch.zeros(1, 29, told.shape[2])), 1)
    full = prior.heads[0](prior.hidden(previous, condition, torch.zeros(1, 30, dtype=torch.long)))
    torch.testing.assert_close(torch.cat(seen), full[0, 2:], atol=1e-3, rtol=1e-3)


def test_notes_of_a_position_go_down(made):
    (piece,) = made.compose([EmotionCurve.parse("Q1")], 3, [1])
    notes = piece.grid.notes
    together = np.diff(notes[:, 0]) == 0
    assert together.any() and (np.diff(notes[:, 1])[together] < 0).all()
    assert (piece.tokens[:, TYPE] == NOTE).sum() == len(notes)
