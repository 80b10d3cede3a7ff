"""Sampling: always valid, the asked length, a seed's own piece; and the lazy decoder computes what a full pass does."""

from itertools import product

import numpy as np
import pytest
import torch
from devices import Homeless
from grids import VOCABULARY, random_grid, song
from test_muser import CONDITIONERS, QUANTIZERS, tiny

from gen.emotion.spec import EmotionCurve
from gen.emotion.track import track
from music import pipeline
from music.beats import Beats
from music.keys import some_bars
from music.labels import Labeller, features
from music.muser import generate, passes
from music.muser.generate import Choice, Prompt, draw, guided, randoms, sample_codes, spelled
from music.pipeline import MusicGenerator
from music.task import MusicTask
from music.tokens import BAR, BEAT, CHORD, CONTI, NOTE, PITCH, TEMPO, TYPE, decode, encode, violation
from music.training.corpus import tokenise

HAPPY, SAD = EmotionCurve.parse("happy"), EmotionCurve.parse("sad")
WIDE = {"name": "slot_vq", "size": 144, "slots": 7, "restart": False}
kinds = pytest.mark.parametrize("kind", ["softmax", "linear"])


def generator(kind="softmax", conditioner=None, quantizer=None, sharp=1.0, **changes):
    """A generator with random weights; ``sharp`` makes its choices more decided."""
    models = tiny(kind, conditioner, quantizer, **changes)
    with torch.no_grad():
        for model in models:
            for parameter in model.parameters():
                parameter.mul_(sharp if parameter.dim() > 1 else 1)
    return MusicGenerator(*models, VOCABULARY)


def bars_of(rows):
    return int((rows[:, BEAT] == BAR).sum())


def opening(bars=3, seed=0, density=0.3):
    return encode(random_grid(np.random.default_rng(seed), bars, density), VOCABULARY)


def empty(batch, width):
    return Prompt(torch.zeros(batch, 0, width, dtype=torch.long), torch.zeros(batch, dtype=torch.long))


@pytest.fixture
def exact():
    """Draws are compared between batches of other sizes: in double precision no rounding moves one."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def short_passes(monkeypatch):
    """Passes of four bars, of which two are context, so that short pieces take several."""
    monkeypatch.setattr(passes, "PASS", 4)
    monkeypatch.setattr(passes, "CONTEXT", 2)


# -------------------------------------------------------------------- validity


@pytest.mark.parametrize("sharp", [1.0, 3.0])
@pytest.mark.parametrize("quantizer", ["ema_vq", "slot_vq"])
@kinds
def test_every_piece_is_valid_and_as_long_as_asked(kind, quantizer, sharp):
    pieces = generator(kind, quantizer=quantizer, sharp=sharp).compose([HAPPY] * 8, 2, range(8))
    for piece in pieces:
        assert piece.valid(), violation(piece.tokens)
        assert bars_of(piece.tokens) == 2 == len(piece.bars) == len(piece.grid.tempo)
        ids = [piece.tokens[piece.tokens[:, e] > 0, e].max(initial=0) for e in range(7)]
        assert all(found < size for found, size in zip(ids, VOCABULARY.sizes, strict=True))
    assert len({piece.tokens.tobytes() for piece in pieces}) == 8


@pytest.mark.parametrize(("quantizer", "conditioner"), [*product(QUANTIZERS, CONDITIONERS)])
def test_every_quantizer_and_conditioner_generates(quantizer, conditioner):
    (piece,) = generator(conditioner=conditioner, quantizer=quantizer).compose([SAD], 1, [5])
    assert piece.valid() and bars_of(piece.tokens) == 1


@pytest.mark.parametrize("sharp", [1.0, 3.0])
def test_codes_that_are_ids_keep_to_the_grammar_themselves(sharp):
    model, prior = tiny(encoder=None, quantizer=WIDE)
    for parameter in prior.parameters():
        parameter.data.mul_(sharp)
    told, drawn = torch.zeros(6, 3, len(prior.emotion.null)), randoms(range(6), 300, 7)
    for code in sample_codes(prior, told, 3, 0, empty(6, 7), drawn, classes=model.config.classes):
        rows = spelled(code, prior.bar).numpy()
        assert violation(rows) is None and bars_of(rows) == 3
        assert rows[1, TEMPO] > CONTI and rows[1, CHORD] > CONTI


def test_codes_after_an_opening_know_what_it_holds():
    model, prior = tiny(encoder=None, quantizer=WIDE)
    model.fit_codebook()
    given = torch.from_numpy(opening(2)).long()
    codes = model.codes(given[None])
    np.testing.assert_array_equal(spelled(codes[0], prior.bar), given)
    prompt = Prompt(codes.expand(4, -1, -1), torch.full((4,), len(given)))
    told, drawn = torch.zeros(4, 4, len(prior.emotion.null)), randoms(range(4), 400, 7)
    for code in sample_codes(prior, told, 4, 0, prompt, drawn, classes=model.config.classes):
        rows = spelled(code, prior.bar)
        np.testing.assert_array_equal(rows[: len(given)], given)
        assert violation(rows.numpy()) is None and bars_of(rows) == 4


def test_notes_of_a_position_go_down_and_tempo_opens_bars():
    for piece in generator(sharp=2.0).compose([HAPPY] * 6, 3, range(6)):
        rows = piece.tokens
        first = np.append(False, rows[:-1, BEAT] == BAR)
        tempo = rows[:, TEMPO] > 1
        assert not tempo[~first].any() and tempo[1]
        low = 20  # where a position whose codes ask for notes below the keyboard may start over, in any key
        follows = np.append(False, (rows[:-1, TYPE] == NOTE) & (rows[:-1, PITCH] > low)) & (rows[:, TYPE] == NOTE)
        assert (rows[follows, PITCH] < rows[np.roll(follows, -1), PITCH]).all()


@kinds
def test_long_pieces_go_on_from_their_last_bars(kind, short_passes):
    pieces = generator(kind).compose([HAPPY, SAD], 7, [3, 4])
    assert all(piece.valid() and bars_of(piece.tokens) == 7 for piece in pieces)


@pytest.mark.parametrize("quantizer", ["ema_vq", "slot_vq"])
def test_an_opening_is_kept_and_gone_on_from(quantizer, short_passes):
    given = opening(5)
    for piece in generator(quantizer=quantizer).compose([HAPPY] * 3, 3, [0, 1, 2], opening=given):
        np.testing.assert_array_equal(piece.tokens[: len(given)], given)
        assert violation(piece.tokens) is None and bars_of(piece.tokens) == 8


def test_an_opening_may_be_denser_than_anything_generated():
    given = opening(3, density=1.0)
    given = np.concatenate([np.repeat(given, 1 + 3 * (given[:, TYPE] == NOTE), axis=0)])
    for row in range(1, len(given)):  # the repeated notes of a position go down
        if given[row, TYPE] == NOTE == given[row - 1, TYPE] and given[row, PITCH] >= given[row - 1, PITCH]:
            given[row, PITCH] = max(given[row - 1, PITCH] - 1, 1)
    assert len(given) > 5 * generate.BAR_ROWS
    (piece,) = generator().compose([HAPPY], 2, [0], opening=given)
    assert violation(piece.tokens) is None and bars_of(piece.tokens) == 5


def test_a_passage_that_goes_on_ends_where_the_next_bar_would_begin():
    _, prior = tiny()
    with torch.no_grad():
        prior.heads[0].bias[prior.bar] = 50.0  # bars as short as they may be
    args = empty(2, 1), randoms([1, 2], 300, 1)
    for codes in sample_codes(prior, torch.zeros(2, 5, 8), 5, 3, *args):
        assert codes[:, 0].eq(prior.bar).nonzero()[:, 0].tolist() == [0, 3, 6, 9, 12] and len(codes) == 15
    for codes in sample_codes(prior, torch.zeros(2, 5, 8), 5, 0, *args):  # there, an end of its own is waited for
        assert codes[:, 0].eq(prior.bar).nonzero()[:, 0].tolist() == [0, 3, 6, 9, 12] and len(codes) > 15


# ----------------------------------------------------------------------- seeds


@pytest.mark.usefixtures("exact")
def test_a_seed_gives_its_piece_alone_and_in_company():
    one, two, three = generator(sharp=2.0).compose([HAPPY] * 3, 2, [7, 8, 9])
    (alone,) = generator(sharp=2.0).compose([HAPPY], 2, [8])
    np.testing.assert_array_equal(alone.tokens, two.tokens)
    again = generator(sharp=2.0).compose([HAPPY] * 3, 2, [7, 8, 9])
    np.testing.assert_array_equal(again[2].tokens, three.tokens)
    assert one.tokens.tobytes() != two.tokens.tobytes()


@pytest.mark.usefixtures("exact")
def test_company_of_other_lengths_changes_nothing(short_passes):
    made = generator(sharp=2.0)
    (alone,), both = made.compose([HAPPY], 7, [8]), made.compose([HAPPY, SAD], 7, [8, 9])
    np.testing.assert_array_equal(alone.tokens, both[0].tokens)


@pytest.mark.usefixtures("exact")
def test_more_pieces_than_a_batch_are_made_in_several(monkeypatch):
    monkeypatch.setattr(pipeline, "BATCH", 2)
    told = []
    pieces = generator(sharp=2.0).compose([HAPPY] * 5, 1, range(5), progress=told.append)
    (last,) = generator(sharp=2.0).compose([HAPPY], 1, [4])
    assert len(pieces) == 5
    np.testing.assert_array_equal(pieces[4].tokens, last.tokens)
    assert told == sorted(told) and told[0] >= 0 and told[-1] <= 1


def played(quadrant, seed=0):
    """Rows (T, 7) of four bars in the manner of a quadrant."""
    return tokenise(song(4, 100, seed, quadrant), Beats(np.arange(17) * 0.6, 0), VOCABULARY)[0]


def choosing():
    """A generator whose codes are ids, and whose labeller knows the songs of tests."""
    made = generator(quantizer=WIDE, sharp=2.0, encoder=None)
    made.autoencoder.fit_codebook()
    x = np.array([features(song(4, 100, seed, q)) for q in (1, 2, 3, 4) for seed in range(4)])
    made.critic = Labeller(x, np.repeat([1, 2, 3, 4], 4))
    return made


def test_of_several_candidates_the_one_that_fits_its_emotion_stays():
    made = choosing()
    side_by_side = passes.Passes(made, [HAPPY, SAD], [0, 1], 4, 1.0, 1.0, candidates=4, returns={})
    told = [made.autoencoder.codes(torch.from_numpy(played(q)).long()[None])[0] for q in (2, 3, 1, 4, 2, 3, 1, 4)]
    happy, sad = side_by_side._fittest(told, 0, 4)
    assert happy is told[2] and sad is told[5]


@pytest.mark.usefixtures("exact")
def test_candidates_are_pieces_that_other_seeds_make_and_only_one_is_decoded(monkeypatch):
    made, heard = choosing(), []
    monkeypatch.setattr(MusicGenerator, "miss", lambda self, rows, *_: heard.append(rows) or -len(heard))
    (piece,) = made.compose([HAPPY], 1, [3], candidates=3)
    assert piece.valid() and len(heard) == 3
    monkeypatch.setattr(passes.Passes, "_fittest", lambda self, told, *_: told[2:])
    (last,) = made.compose([HAPPY], 1, [3], candidates=3)
    np.testing.assert_array_equal(piece.tokens, last.tokens)


@pytest.mark.usefixtures("exact")
def test_codes_that_spell_no_rows_leave_no_choice():
    made = choosing()
    other = generator(sharp=2.0)
    other.critic = made.critic
    (piece,), (alone,) = (other.compose([HAPPY], 1, [3], candidates=n) for n in (3, 1))
    np.testing.assert_array_equal(piece.tokens, alone.tokens)


def test_sampling_takes_one_thread_and_gives_the_others_back():
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(3)
    generator().compose([HAPPY], 1, [0], progress=lambda done: seen.append(torch.get_num_threads()))
    assert set(seen) == {1} and torch.get_num_threads() == 3
    torch.set_num_threads(before)


# -------------------------------------------------------------------- emotions


def test_a_curve_reaches_each_bar(short_passes, monkeypatch):
    made, seen = generator(conditioner="vad"), []
    keep = lambda *args, **more: seen.append((args, more)) or sample_codes(*args, **more)
    monkeypatch.setattr(passes, "sample_codes", keep)
    curve = EmotionCurve.parse("bar 0: sad, bar 6: happy @ 1.3")
    made.compose([curve], 6, [0])
    emotion = made.prior.emotion
    asked = track(curve, range(6))
    for which in (asked, asked.opposite()):
        wanted = emotion(**emotion.prepare([which])).tokens[0]
        told = [(args[1] if which is asked else more["against"])[0] for args, more in seen]
        assert [len(part) for part in told] == [4, 4]  # the second pass hears two bars again
        torch.testing.assert_close(told[0], wanted[:4])
        torch.testing.assert_close(told[1], wanted[2:])


def test_guidance_leads_away_from_the_opposite():
    point = lambda told: (told.vad[0] * told.intensity[0]).clip(-1, 1)
    for text in ("happy", "Q2 @ 1.5", "v=0.3 a=-0.8", "neutral"):
        asked = track(EmotionCurve.parse(text), [0.0])
        np.testing.assert_allclose(point(asked.opposite()), -point(asked), atol=1e-6)


def test_what_comes_later_does_not_change_earlier_codes():
    _, prior = tiny()
    conditions = torch.randn(1, 4, 8)
    other = conditions.clone()
    other[:, 2:] *= -2
    uniforms = randoms([1], 300, 1)
    one, two = (sample_codes(prior, c, 4, 0, empty(1, 1), uniforms)[0][:, 0] for c in (conditions, other))
    third = (one == prior.bar).nonzero()[2, 0]
    assert torch.equal(one[: third + 1], two[: third + 1])
    assert not torch.equal(one, two[: len(one)])


def test_the_end_comes_into_sight_only_with_the_last_bars():
    _, prior = tiny()
    seen = []
    prior.left.register_forward_pre_hook(lambda layer, given: seen.append(given[0].clone()))
    sample_codes(prior, torch.zeros(1, 3, 8), 3, 20, empty(1, 1), randoms([1], 300, 1))
    assert torch.cat([s[0] for s in seen]).unique().tolist() == [16]
    seen.clear()
    sample_codes(prior, torch.zeros(1, 3, 8), 3, 0, empty(1, 1), randoms([1], 300, 1))
    assert torch.cat([s[0] for s in seen]).unique().tolist() == [0, 1, 16]


def test_guidance_of_one_is_no_guidance():
    null, full = torch.randn(2, 3, 9)
    one = guided(torch.cat((null, full)), 1.0 + 1e-9)
    torch.testing.assert_close(one.softmax(-1), full.softmax(-1))
    assert guided(full, 1.0) is full
    more = guided(torch.cat((null, full)), 2.0).softmax(-1)
    wanted = (2 * full.log_softmax(-1) - null.log_softmax(-1)).softmax(-1)
    torch.testing.assert_close(more, wanted)


@pytest.mark.usefixtures("exact")
def test_guidance_changes_pieces_unless_there_is_nothing_to_lead_away_from():
    made = generator(conditioner="vad", sharp=2.0)
    pieces = lambda text, scale: [
        p.tokens.tobytes() for p in made.compose([EmotionCurve.parse(text)] * 2, 1, [0, 1], guidance=scale)
    ]
    assert pieces("happy", 1.0) != pieces("happy", 4.0)
    assert pieces("v=0 a=0", 1.0) == pieces("v=0 a=0", 4.0)


# ------------------------------------------------------------ one draw at a time


def test_draws_follow_the_nucleus():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    uniform = torch.linspace(0, 0.999, 1000)
    drawn = draw(logits.expand(1000, -1), Choice(1.0, 0.7), uniform)
    share = torch.bincount(drawn, minlength=4) / 1000
    torch.testing.assert_close(share, torch.tensor([0.625, 0.375, 0, 0]), atol=2e-3, rtol=0)
    assert draw(logits.expand(1000, -1), Choice(1e-6, 1.0), uniform).eq(0).all()
    share = torch.bincount(draw(logits.expand(1000, -1), Choice(1.0, 1.0), uniform), minlength=4) / 1000
    torch.testing.assert_close(share, logits.exp()[0], atol=2e-3, rtol=0)


def test_what_is_forbidden_is_never_drawn():
    logits = torch.full((100, 5), -1e9)
    logits[:, 3] = -4.0
    assert draw(logits, Choice(0.5, 0.9), torch.linspace(0, 1, 100)).eq(3).all()


# ------------------------------------------------------------------------ pieces


def test_a_piece_is_what_its_tokens_decode_to():
    (piece,) = generator().compose([HAPPY], 2, [0])
    np.testing.assert_array_equal(decode(piece.tokens, VOCABULARY).notes, piece.grid.notes)
    assert len(piece.notes) == (piece.tokens[:, TYPE] == NOTE).sum()
    broken = piece._replace(tokens=piece.tokens[:-1][:2])
    assert not broken.valid()


def test_phrases_return_and_are_drawn_on():
    (rows,) = generator(sharp=2.0).drawn([HAPPY], 16, [3])
    first, again = some_bars(rows, 0, 4), some_bars(rows, 8, 4)
    np.testing.assert_array_equal(first[:, PITCH], again[:, PITCH])
    assert not np.array_equal(some_bars(rows, 4, 4), some_bars(rows, 12, 4)) and bars_of(rows) == 16
    assert violation(rows) is None


@kinds
@pytest.mark.parametrize("quantizer", ["ema_vq", "slot_vq", "fsq"])
def test_half_precision_plays_too(kind, quantizer):
    """As on a GPU."""
    made = generator(kind, quantizer=quantizer)
    made = MusicGenerator(made.autoencoder.bfloat16(), made.prior.bfloat16(), VOCABULARY)
    (piece,) = made.compose([HAPPY], 1, [0], opening=opening(1), guidance=1.5)
    assert violation(piece.tokens) is None and bars_of(piece.tokens) == 2


@pytest.mark.parametrize(("emotion", "said"), [("v=0.3 a=0.2", 0), ("anger", 0), ("v=0.3 a=0.2 d=-0.8", 1)])
def test_a_points_dominance_is_left_out_and_said(emotion, said):
    task = MusicTask(emotion=EmotionCurve.parse(emotion))
    assert ["dominance" in text for text in task.notes] == [True] * said


@pytest.mark.parametrize("quantizer", ["ema_vq", "slot_vq"])
def test_the_sampling_loops_leave_no_tensor_behind(quantizer):
    made = generator(quantizer=quantizer)
    with Homeless() as watch:
        made.compose([SAD], 2, [5], guidance=1.5)
    assert not watch.places
