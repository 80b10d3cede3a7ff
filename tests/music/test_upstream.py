"""Conversion of small upstream checkpoints: equal networks, and errors that name the problem."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from published import (
    CLASSES,
    EMBED,
    PAPER,
    SLOT,
    SMALL,
    USED,
    Formulas,
    dictionary,
    numbering,
    published_autoencoder,
    published_prior,
    write,
)

from gen.errors import CheckpointError
from gen.media import read_midi
from gen.nn import by_column
from gen.registry import get
from music.muser import upstream as subject
from music.muser.generate import Player, Teller
from music.muser.model import MusER
from music.muser.prior import Prior
from music.muser.upstream import convert
from music.muser.upstream_passes import once
from music.tokens import BAR, BEAT, ELEMENTS, TYPE, Vocabulary

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    source, out = tmp_path_factory.mktemp("release"), tmp_path_factory.mktemp("ours")
    convert(write(source), out)
    models = MusER.from_pretrained(out / "autoencoder"), Prior.from_pretrained(out / "prior")
    return *models, Vocabulary.load(out / "vocabulary.json")


def in_ours(vocabulary):
    """Per element the tensor that turns ids of the release into ours."""
    maps = []
    for element in ELEMENTS:
        theirs = dictionary()[element.replace("beat", "bar-beat")]
        ours = torch.empty(len(theirs), dtype=torch.long)
        for event, id_ in theirs.items():
            value = meaning(element, event)
            ours[id_] = vocabulary.values[element].index(value)
        maps.append(ours)
    return maps


def meaning(element, event):
    if event == 0 or element in ("chord", "beat", "type") or event == "CONTI":
        return event
    number = int(event.rsplit("_", 1)[1])
    return number if element != "duration" else number / 120 or 0.5


def random_rows(count=13, seed=5):
    """Ids of the release without emotion (n, 7), any at all: networks do not know the grammar."""
    random = torch.Generator().manual_seed(seed)
    sizes = [CLASSES[name] for name in list(EMBED)[:7]]
    return torch.stack([torch.randint(size, (count,), generator=random) for size in sizes], -1)


# ---------------------------------------------------------------------- tests


def test_the_encoder_is_the_published_one(converted):
    muser, _, vocabulary = converted
    rows = random_rows()
    ours = torch.stack([ids[rows[:, e]] for e, ids in enumerate(in_ours(vocabulary))], -1)
    found = muser.encode(ours[None])[0]
    torch.testing.assert_close(found, Formulas(published_autoencoder()).latent(rows), atol=1e-5, rtol=1e-5)


def test_the_codebook_keeps_the_codes_in_use(converted):
    muser, prior, vocabulary = converted
    compact, codes = numbering()
    book = published_autoencoder()["VQ.embeddings"]
    found = muser.latents(torch.arange(USED)[None, :, None])[0]
    torch.testing.assert_close(found, book[[codes[i] for i in range(USED)]])
    assert muser.codebook.size == prior.config.size == USED
    rows = random_rows(200)
    ours = torch.stack([ids[rows[:, e]] for e, ids in enumerate(in_ours(vocabulary))], -1)
    theirs = Formulas(published_autoencoder()).codes(rows)
    known = torch.isin(theirs, torch.tensor(list(compact)))
    assert (ours[known, BEAT] == BAR).any()  # which have ordinary codes there
    assert known.float().mean() > 0.3
    assert muser.codes(ours[None])[0, :, 0][known].tolist() == [compact[c] for c in theirs[known].tolist()]


def test_the_decoders_and_heads_are_the_published_ones(converted):
    muser, _, vocabulary = converted
    compact, _ = numbering()
    emotions = torch.tensor([3] + [0] * 12)  # the emotion is said once
    previous, target = random_rows(seed=6), random_rows(seed=7)
    chosen = torch.tensor(list(compact))[torch.randint(USED, (13,), generator=torch.Generator().manual_seed(8))]
    wanted = Formulas(published_autoencoder()).logits(
        torch.cat((previous, emotions[:, None]), 1), target[:, TYPE], chosen
    )
    maps = in_ours(vocabulary)
    ours = torch.stack([ids[previous[:, e]] for e, ids in enumerate(maps)], -1)
    condition = muser.emotion.null.expand(1, 13, -1).clone()
    condition[0, 0] = muser.emotion(quadrants=torch.tensor([[[0.0, 0, 1, 0]]])).tokens[0, 0]
    z = muser.latents(torch.tensor([[[compact[c]] for c in chosen.tolist()]]))
    hidden = muser.hidden(ours[None], condition, muser.remember(z))
    for e in range(7):
        x = muser.element(e, muser.element_input(e, hidden, z))
        found = muser.logits(e, x, maps[TYPE][target[:, TYPE]][None])[0]
        torch.testing.assert_close(found[:, maps[e]], wanted[e], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("quadrant", [1, 2, 3, 4])
def test_the_prior_is_the_published_one_at_its_temperature(converted, quadrant):
    _, prior, _ = converted
    codes = torch.randint(USED, (9,), generator=torch.Generator().manual_seed(9))
    wanted = Formulas(published_prior()).prior(torch.cat((torch.tensor([USED + quadrant]), codes))) / 0.3
    previous = torch.cat((torch.tensor([prior.start]), codes))
    condition = torch.zeros(1, 10, 16)
    condition[0, 0] = prior.emotion(quadrants=torch.eye(4)[quadrant - 1][None, None]).tokens[0, 0]
    hidden = prior.hidden(previous[None, :, None], condition, torch.zeros(1, 10, dtype=torch.long))
    found = prior.logits(hidden, previous[None, :, None], 0)[0]
    torch.testing.assert_close(found[:, :USED], wanted, atol=1e-5, rtol=1e-5)
    assert (found[:, USED:].softmax(-1) >= 0).all() and found.softmax(-1)[:, USED:].max() < 1e-12


def test_ids_come_out_in_musical_order(converted):
    _, _, vocabulary = converted
    for element, known in Vocabulary.default().values.items():
        names = [v for v in vocabulary.values[element] if isinstance(v, str)]
        assert names == [v for v in known if isinstance(v, str)]
        assert np.all(np.diff([v for v in vocabulary.values[element] if v and not isinstance(v, str)]) > 0)
    assert vocabulary.values["duration"] == Vocabulary.default().values["duration"]
    assert vocabulary.values["tempo"][:4] == [0, "CONTI", 32, 35]


def without(state, key):
    return {name: value for name, value in state.items() if name != key}


@pytest.mark.parametrize(
    "key",
    [
        "input_y_linear.weight",
        "pitch_emb.lut.weight",
        "VQ.ema_dw.hidden",
        "transformer_decoder.layers.1.cross_attention.key_projection.bias",
        "predict_tempo.bias",
        "beat_decoder.norm.weight",
    ],
)
def test_a_missing_key_is_named(tmp_path, key):
    write(tmp_path, main=without(published_autoencoder(), key))
    with pytest.raises(CheckpointError, match=rf"missing: {key}\)"):
        convert(tmp_path, tmp_path / "out")


def test_unexpected_and_missing_keys_are_all_named(tmp_path):
    prior = without(published_prior(), "input_linear.bias") | {"surplus": torch.zeros(1), "another": torch.zeros(1)}
    write(tmp_path, prior=prior)
    with pytest.raises(CheckpointError, match=r"missing: input_linear.bias; unexpected: another, surplus"):
        convert(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"slot": torch.zeros(24, SLOT + 1)}, r"does not fit \(of another shape: codebook.codes, "),
        ({"input": torch.zeros(16, 9)}, r"does not fit \(of another shape: encoder_in.weight"),
        ({"book": torch.zeros(4, 7 * SLOT)}, "The release has tensors of another shape"),
        ({"wide": torch.zeros(17, 24)}, "of another shape|wide, which 8 heads"),
        ({"lut": torch.zeros(CLASSES["pitch"] - 1, EMBED["pitch"])}, "events of pitch"),
        ({"pe": torch.zeros(1, 64, 24)}, "sine and cosine"),
    ],
)
def test_tensors_that_do_not_fit_are_told(tmp_path, change, said):
    name = {
        "slot": "subDecoder_linear.weight",
        "lut": "pitch_emb.lut.weight",
        "pe": "decoder_pos_embedd.0.pe",
        "input": "input_y_linear.weight",
        "book": "VQ.embeddings",
        "wide": "transformer_encoder.layers.0.linear1.weight",
    }
    state = published_autoencoder() | {name[key]: value for key, value in change.items()}
    with pytest.raises(CheckpointError, match=said):
        convert(write(tmp_path, main=state), tmp_path / "out")


class Touch:
    """A malicious pickle."""

    def __reduce__(self):
        return open, ("touched", "w")


@pytest.mark.parametrize("name", ["dictionary.pkl", "VQ_dict.data", "saved_models/prior/best.pt"])
def test_code_in_a_pickle_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (write(tmp_path) / name).write_bytes(pickle.dumps(Touch(), protocol=2))
    with pytest.raises(CheckpointError, match="plain"):
        convert(tmp_path, tmp_path / "out")
    assert not (tmp_path / "touched").exists()


def test_absent_and_foreign_files_are_told(tmp_path):
    write(tmp_path)
    (tmp_path / "VQ_dict.data").unlink()
    with pytest.raises(CheckpointError, match=r"no VQ_dict\.data"):
        convert(tmp_path, tmp_path / "out")
    (tmp_path / "saved_models" / "prior" / "best.pt").unlink()
    with pytest.raises(CheckpointError, match=r"0 \.pt files with predict_fc\.weight"):
        convert(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("tables", [({0: 0, 5: 2}, {0: 0, 2: 5}), ({0: 1, 1: 0}, {0: 0, 1: 1})])
def test_a_numbering_that_is_none_is_refused(tmp_path, tables):
    write(tmp_path, tables=tables)
    with pytest.raises(CheckpointError, match="is not a numbering"):
        convert(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("tables", [[1, 2, 3], {"a": 1}, 7, ({0: 0},)])
def test_a_numbering_of_another_kind_is_refused(tmp_path, tables):
    write(tmp_path, tables=tables)
    with pytest.raises(CheckpointError, match="is not a numbering"):
        convert(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "of tempo"),
        ({}, "of tempo"),
        (without(dictionary(), "bar-beat"), "of bar-beat"),
        (dictionary() | {"pitch": {0: 0, "Note_Pitch_22": 7}}, "of pitch"),
        (without(dictionary(), "emotion"), "of emotion"),
    ],
)
def test_a_dictionary_of_another_layout_is_refused(tmp_path, words, said):
    write(tmp_path)
    (tmp_path / "dictionary.pkl").write_bytes(pickle.dumps((words, {})))
    with pytest.raises(CheckpointError, match=f"numbers no events {said}: it is another format"):
        convert(tmp_path, tmp_path / "out")


def test_a_dictionary_of_another_kind_is_refused(tmp_path):
    words = dictionary()
    words["bar-beat"]["Beat_x"] = words["bar-beat"].pop("Beat_7")
    write(tmp_path, words=words)
    with pytest.raises(CheckpointError, match="'Beat_x' as beat"):
        convert(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(("size", "steps"), [(SMALL, 23), pytest.param(PAPER, 71, marks=pytest.mark.slow)])
@torch.inference_mode()
def test_codes_and_greedy_rows_are_those_of_the_published_networks(tmp_path, size, steps):
    convert(write(tmp_path / "release", size=size), tmp_path / "out")
    muser = MusER.from_pretrained(tmp_path / "out" / "autoencoder").eval()
    by_column(muser)  # as it is sampled from
    formulas, maps = Formulas(published_autoencoder(size)), in_ours(Vocabulary.load(tmp_path / "out/vocabulary.json"))
    back = [ids.argsort() for ids in maps]  # ours -> upstream
    in_order = lambda rows: torch.stack([ids[rows[..., e]] for e, ids in enumerate(maps)], -1)

    compact, _ = numbering(size=size)
    rows = random_rows(steps)
    theirs = [compact.get(code) for code in formulas.codes(rows).tolist()]
    known = [i for i, code in enumerate(theirs) if code is not None]
    assert len(known) > steps / 4
    assert muser.codes(in_order(rows)[None])[0, known, 0].tolist() == [theirs[i] for i in known]

    chosen = torch.tensor(list(compact))[torch.randint(size.used, (steps,), generator=torch.Generator().manual_seed(4))]
    told = muser.emotion(quadrants=torch.tensor([[[0.0, 1, 0, 0]]])).tokens
    player = Player(muser, [torch.tensor([[compact[c]] for c in chosen.tolist()])], told, guidance=1.0)
    player.tell(torch.cat((told, muser.emotion.null.expand(1, steps - 1, -1)), 1))
    theirs = torch.tensor([[0, 0, 0, 1, 0, 0, 0, 2]])  # a start, in an emotion
    for step in range(steps):
        player.advance(in_order(theirs[-1:, :7])[None])
        wanted = [x[step].argmax() for x in formulas.logits(theirs, None, chosen)]
        found = [player.logits(e, maps[TYPE][wanted[TYPE]][None])[0].argmax() for e in range(7)]
        assert [back[e][id_] for e, id_ in enumerate(found)] == wanted, f"step {step}"
        theirs = torch.cat((theirs, torch.stack([*wanted, wanted[0] * 0])[None]))


@pytest.mark.slow
@torch.inference_mode()
def test_the_prior_at_the_size_of_the_paper_tells_the_published_codes(tmp_path):
    convert(write(tmp_path / "release", size=PAPER), tmp_path / "out")
    prior = Prior.from_pretrained(tmp_path / "out" / "prior").eval()
    by_column(prior)
    formulas, told = Formulas(published_prior(PAPER)), prior.emotion(quadrants=torch.eye(4)[1][None, None]).tokens
    teller = Teller(prior, once(told, prior.emotion.null), prior.emotion.null, 2, 71, guidance=1.0)
    tokens, previous = [PAPER.used + 2], torch.tensor([[[prior.start]]])
    for step in range(71):
        teller.advance(previous, torch.tensor([[min(step, 1) + 1]]))
        code = int(teller.logits(0)[0].argmax())
        assert code == int(formulas.prior(torch.tensor(tokens))[-1].argmax()), f"step {step}"
        tokens, previous = [*tokens, code], torch.tensor([[[code]]])


@pytest.mark.slow
def test_published_weights_play_from_the_command_line_in_a_fresh_process(tmp_path):
    affekt = lambda *words: subprocess.run(
        [sys.executable, "-m", "gen.cli", *words],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
        env=ENVIRONMENT,
    )
    write(tmp_path / "release")
    done = affekt("checkpoints", "convert", "muser", "--from", "release", "--out", "muser")
    assert done.returncode == 0, done.stderr
    done = affekt("music", "--emotion", "Q1", "--model", "./muser", "--bars", "1", "--no-audio", "--out", "q1.mid")
    assert done.returncode == 0, done.stderr
    assert read_midi(tmp_path / "q1.mid").note_num() > 0


def test_the_registry_knows_the_converter():
    assert get("converter", "muser") is subject.convert
