"""From recordings to a bank, how clear its performances are and what intensity means; and the evaluation of it."""

import csv
import json

import numpy as np
import pytest
from speech import bank, chooser, voice
from tiny_whisper import whisper

from gen import media
from gen.emotion.embedding.network import EmotionEmbedder
from gen.emotion.embedding.recogniser import Recogniser
from gen.evaluate.report import Report
from gen.generator import check_evaluator
from voice_conversion.evaluation import measures, report
from voice_conversion.evaluation.listener import Listener, PlainListener, judges
from voice_conversion.evaluation.report import VoiceEvaluator
from voice_conversion.features import RATE
from voice_conversion.performance.bank import Bank
from voice_conversion.performance.scorer import Scorer
from voice_conversion.training import bank as pairs
from voice_conversion.training import corpus as recordings
from voice_conversion.training import listener as heads
from voice_conversion.training import scorer, train

NAMES = "file,set,language,emotion,intensity,speaker,gender,text,text_id,seconds,orig_label"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two training speakers, one for validation, one for tests; neutral, happy (higher) and sad (slower)."""
    place = tmp_path_factory.mktemp("data")
    folder = place / "speech" / "emotional"
    folder.mkdir(parents=True)
    with open(folder / "labels.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(NAMES.split(","))
        for actor, hz in (("01", 115.0), ("03", 135.0), ("15", 125.0), ("17", 120.0)):
            for emotion, up, seconds in (("neutral", 1.0, 1.3), ("happy", 1.4, 1.3), ("sad", 0.9, 1.6)):
                for text in ("01", "02"):
                    name = f"03-{emotion}-{text}-01-{actor}.wav"
                    media.write_audio(folder / name, voice(seconds, hz * up, glide=0.1 * int(text)), RATE)
                    level = "normal" if emotion == "neutral" else "strong"
                    table.writerow(
                        [
                            name,
                            "ravdess",
                            "en",
                            emotion,
                            level,
                            f"ravdess:Actor_{actor}",
                            "male",
                            "words",
                            f"{text}r01",
                            seconds,
                            "",
                        ]
                    )
    return place


@pytest.fixture(scope="module")
def corpus(data, tmp_path_factory):
    return recordings.build(data, tmp_path_factory.mktemp("corpus"))


def test_a_corpus_is_read_once_and_knows_its_parts(corpus):
    assert len(corpus.clips) == 24 and {c.part for c in corpus.clips} == {"train", "valid", "test"}
    clip = corpus.clips[3]
    assert len(corpus.samples(clip)) == clip.frames * 256 and clip.text == "02" and clip.emotion == "happy"


def test_a_bank_knows_what_was_changed_and_no_test_speaker(corpus):
    made = pairs.build(corpus)
    assert len(made.performances) == 12 and "ravdess:Actor_17" not in made.medians
    for one in made.performances:
        wanted = {"happy": np.log2(1.4), "sad": np.log2(0.9)}[one.emotion]
        assert np.median(one.pitch) == pytest.approx(wanted, abs=0.2)
        assert np.exp(one.stretch).mean() == pytest.approx({"happy": 1.0, "sad": 1.6 / 1.3}[one.emotion], abs=0.15)
    assert made.means["happy"][0] == pytest.approx(np.log2(1.4), abs=0.1)


@pytest.mark.slow
def test_training_writes_what_the_generator_reads(data, tmp_path, monkeypatch):
    (tmp_path / "whisper").mkdir()
    whisper(tmp_path / "whisper" / "model.bin")
    monkeypatch.setattr(train.checkpoints, "load", lambda *_: chooser().known)
    monkeypatch.setattr(scorer.Recogniser, "load", classmethod(lambda cls: Recogniser(EmotionEmbedder().eval())))
    monkeypatch.setattr(scorer, "TOGETHER", 2)
    monkeypatch.setattr(heads, "STEPS", 20)
    told = train.Settings(tries=1, files=1, renderings=4, steps=2, refining=2, whisper=str(tmp_path / "whisper"))
    train.train(data, tmp_path, None, told)
    place = tmp_path / "checkpoint"
    made, reading = Bank.load(place), voice(1.0)
    for ear in (Scorer.load(place), Listener.load(place, str(tmp_path / "whisper")), PlainListener.load(place)):
        shares = ear.shares([voice(1.0, 190.0), reading], ear.reference(reading, RATE), RATE)
        assert shares.shape == (2, 7) and shares.sum(1) == pytest.approx(1, abs=1e-4)
    assert any(one.clarity for one in made.performances)
    assert all(lift in train.LIFTS and movement in train.MOVEMENTS for lift, movement in made.shares.values())
    strengths = json.loads((tmp_path / "checkpoint" / "calibration.json").read_text())["strength"]
    assert strengths["happy"][0] == 0 and strengths["happy"][-1] > 0
    monkeypatch.setattr(report, "judges", lambda folder: judges(folder, str(tmp_path / "whisper")))
    chosen = report.Settings(data=data, sources=1, candidates=1, levels="1", listener=str(place))
    VoiceEvaluator(chosen, tmp_path).run().write(tmp_path)
    assert "own judge" in (tmp_path / "report.html").read_text()


def test_the_contract_of_evaluators_is_kept(data):
    check_evaluator(VoiceEvaluator, {"data": str(data), "sources": "1", "candidates": "1", "corpora": "ravdess"})


def test_files_for_a_judge_and_tables_of_what_it_heard(data, tmp_path):
    chosen = report.Settings(data=data, files=str(tmp_path / "files"), sources=1, candidates=1, levels="0,1")
    VoiceEvaluator(chosen, tmp_path).run()
    with open(tmp_path / "files" / "made.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["emotion"] for row in rows} == {"happy", "sad"} and {row["intensity"] for row in rows} == {"0.0", "1.0"}
    assert all((tmp_path / "files" / row["output"]).is_file() for row in rows)
    same = {"heard_as": "happy", "p": 0.5, "mos": 3.0, "mos_source": 3.2, "speaker": 0.7}
    heard = [
        row | same | {"intensity": float(row["intensity"]), "words_wrong": 0.0, "words_wrong_source": 0.0}
        for row in rows
    ]
    (tmp_path / "heard.json").write_text(json.dumps({"files": heard}))
    made = VoiceEvaluator(chosen.model_copy(update={"heard": tmp_path / "heard.json"}), tmp_path).run()
    assert made.bars[0].measured == pytest.approx(0.5)
    assert isinstance(made, Report)


def test_measures_of_what_should_stay():
    samples = measures.plain(voice(1.0), RATE)
    assert measures.leaps(samples) < 0.02 and measures.louder(samples, 2 * samples, RATE) == pytest.approx(
        6.02, abs=0.1
    )
    hiss = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    hiss = np.diff(hiss, prepend=0).astype(np.float32)
    assert measures.sibilants(hiss, 2 * hiss) == pytest.approx(6.02, abs=0.2)
    assert bank().performances
