"""Faders on pieces: places in units, what stays, the command; with a real tiny network trained for a moment."""

import numpy as np
import pytest
import torch
from grids import random_grid, song

from gen import media
from gen.emotion.embedding.direction import DirectionSpace
from gen.jobs.schema import parse_task
from music.automation import automation
from music.controls import density, melody_likeness, tune, voices
from music.faders import segments
from music.faders.model import FaderNet
from music.faders.pipeline import FadersGenerator
from music.faders.play import Curve, Faders, decode, load_curves, save_curves
from music.faders.sizes import SIZES
from music.finish import in_reach
from music.labels import Labeller, features
from music.score import to_score
from music.tokens import apart


def labeller() -> Labeller:
    clips = [(song(6, 80 + 10 * q, seed, q), q) for q in (1, 2, 3, 4) for seed in range(4)]
    return Labeller(np.array([features(notes) for notes, _ in clips]), np.array([q for _, q in clips]))


def faders() -> Faders:
    torch.manual_seed(0)
    curve = Curve(np.linspace(-1, 1, 9), np.linspace(0.5, 4, 9), 0.5, 1.0)
    directions = DirectionSpace.from_gaussians(["low", "high"], torch.randn(2, 12), torch.ones(2, 12), neutral="low")
    arousal = Curve(np.linspace(-2, 2, 5), np.linspace(-2, 2, 5), 1.0, 1.0)
    curves = {"rhythm": curve, "notes": curve, "arousal": arousal}
    return Faders(FaderNet(**SIZES["tiny"]), curves, directions, labeller())


def piece(bars=6, seed=0):
    return in_reach(random_grid(np.random.default_rng(seed), bars, 0.4))[0]


def test_dials():
    assert automation("2.5").at(2, np.zeros(2)).tolist() == [2.5, 2.5]
    assert automation("+0.5").at(2, np.ones(2)).tolist() == [1.5, 1.5] and automation("-1").relative
    assert automation("0: 1, 4: 3").at(5, np.zeros(5)).tolist() == [1, 1.5, 2, 2.5, 3]
    assert not automation("-0.5", signed=True).relative
    for wrong in ("", "fast", "1, 2", "0: 1, 4: +3"):
        with pytest.raises(ValueError, match=r"number"):
            automation(wrong)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_decoded_keeps_the_grammar(temperature):
    net = faders().net
    known = net.known(torch.randn(64, 2, 6) * 3, torch.rand(64, 24))
    rows = decode(net, known, temperature, torch.Generator().manual_seed(0)).numpy()
    for bar in rows:
        notes = segments.notes_of(bar)
        assert 0 < len(notes) <= segments.MOST and notes[:, 0].max() < 16
        together = np.diff(notes[:, 0]) == 0
        assert np.all(np.diff(notes[:, 1])[together] < 0)


def test_what_is_not_asked_for_stays():
    made, grid = faders(), piece()
    same = made.moved(grid, {"rhythm": density(grid) * 0 + 1.0}, 0)
    assert len(same.tempo) == len(grid.tempo) and same.chords == grid.chords
    still = made.moved(grid, {"rhythm": automation("+0"), "notes": automation("+0")}, 0)
    np.testing.assert_array_equal(still.notes, apart(grid.notes))  # the piece itself is the best candidate


def test_more_is_more_and_less_is_less():
    made, grid = faders(), piece(8)
    thin, thick = (made.moved(grid, {"rhythm": value}, 1) for value in (0.5, 3.5))
    assert density(thin) < density(thick)
    few, many = (made.moved(grid, {"notes": value}, 1) for value in (1.0, 8.0))
    assert voices(few) < voices(many)


def test_a_seed_gives_the_same_and_arousal_changes():
    made, grid = faders(), piece()
    up = automation("0.9", signed=True)
    one, two, other = (made.moved(grid, {}, seed, up) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.notes, two.notes)
    assert one.notes.shape != other.notes.shape or not np.array_equal(one.notes, other.notes)
    assert len(one.tempo) == len(grid.tempo) and not np.array_equal(one.notes, grid.notes)


def test_curves_come_back_from_their_file(tmp_path):
    curves = faders().curves
    save_curves(curves, tmp_path)
    found = load_curves(tmp_path)
    assert found.pop("arousal").place(np.array([-9.0, 1.0])).tolist() == [-2, 1]
    for name, curve in found.items():
        np.testing.assert_allclose(curve.places, curves[name].places)
        assert curve.place(np.array([0.5, 4.0])).tolist() == [-1.0, 1.0]


def test_tunes_are_alike_in_any_key():
    grid = piece(8, 3)
    moved = grid._replace(notes=grid.notes + np.array([0, 5, 0, 0]))
    assert melody_likeness(tune(grid), tune(moved)) == 1.0
    assert melody_likeness(tune(grid), tune(piece(8, 9))) < 0.7


def test_a_task_is_rendered_and_says_what_was_measured(tmp_path):
    media.write_midi(tmp_path / "in.mid", to_score(piece()))
    task = parse_task({"kind": "faders", "midi": str(tmp_path / "in.mid"), "rhythm": "+0.5", "audio": False})
    paths = FadersGenerator(faders()).render(task, tmp_path, {"ai_generated": True}, lambda share, what: None)
    assert [path.name for path in paths] == ["faders.mid"] and media.read_midi(paths[0]).note_num()


@pytest.mark.parametrize("given", [{"rhythm": "9"}, {"notes": "fast"}, {"arousal": "2"}, {}])
def test_other_wishes_are_refused(given):
    from gen.errors import InputError

    with pytest.raises(InputError):
        parse_task({"kind": "faders", "midi": "a.mid"} | given)


@pytest.mark.slow
def test_training_writes_what_faders_load(tmp_path):
    from corpora import write_data

    from music.training.faders import VARIANTS, Batches, Settings, build, parts, train

    data, out = write_data(tmp_path / "data", songs=2), tmp_path / "out"
    train(data, out, 0.05, Settings(size="tiny", batch=32, device="cpu"))
    made = Faders.load(str(out / "checkpoint"))
    assert set(made.curves) == {"rhythm", "notes", "arousal"} and np.all(np.diff(made.curves["notes"].values) > 0)
    assert len(made.moved(piece(), {"rhythm": 1.0}, 0, automation("0.5", signed=True)).tempo) == 6
    attributes = parts(data, out)["train"].attributes
    for variant in VARIANTS:
        learner = build(Settings(size="tiny", variant=variant), attributes)
        loss, found = learner(Batches(parts(data, out)["train"], 16, 0, "cpu")(), Settings(), 1.0)
        loss.backward()
        assert np.isfinite(loss.item()) and found["event"] > 0
        silent = [name for name, p in learner.named_parameters() if p.grad is None]
        assert not [name for name in silent if not name.startswith("net.prior")], silent
