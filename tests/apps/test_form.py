"""The form of a kind comes from its task class, and its values come back as the task that YAML would give."""

import shutil
from pathlib import Path

import pytest
import yaml

pytest.importorskip("gradio")

from apps.studio import form
from gen.checkpoints import folder
from gen.errors import InputError
from gen.jobs.jobfile import JobFile
from gen.jobs.schema import parse_task
from music.task import MusicTask


def values(made: form.Form, **given):
    return [given.get(place.name, form.default(place.field)) for place in made.places]


def test_every_field_but_the_emotion_has_a_place():
    made = form.Form("music", ("bars", "seed"))
    assert [place.name for place in made.first] == ["bars", "seed"]
    names = {place.name for place in made.places}
    assert names == MusicTask.model_fields.keys() - {"kind", "emotion", "consent"}


def test_limits_and_choices_of_the_components():
    made = form.Form("music")
    parts = {place.name: form.component(place, kind="music") for place in made.places}
    assert (parts["bars"].minimum, parts["bars"].maximum, parts["bars"].value) == (1, 512, 16)
    assert parts["audio"].value is True
    assert form.takes("continue_from") == (".mid", ".midi", ".kar")
    assert [choice for _, choice in parts["model"].choices] == ["muser-compact"]


def test_every_model_that_is_here_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFEKT_CHECKPOINTS", str(tmp_path))
    shutil.copytree(folder("muser-compact"), tmp_path / "mine", ignore=shutil.ignore_patterns("*.safetensors"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    chosen = {}
    for kind, field in (("talk", "model"), ("music", "model"), ("scene", "face_model")):
        made = form.Form(kind)
        part = dict(zip((place.name for place in made.places), made.build(made.places, {})))[field]
        chosen[kind] = [choice for _, choice in part.choices]
    faces = ["emote-compact", "dice-compact"]
    assert chosen == {"talk": faces, "music": ["muser-compact", "mine"], "scene": faces}


def test_a_checkpoint_of_another_kind_is_no_model():
    found = form.models("voice", "voice-compact")
    assert found[0] == "voice-compact" and not {"face-basis", "kokoro", "piano"} & set(found)


def test_form_gives_the_task_of_the_same_yaml(tmp_path):
    made = form.Form("music")
    task = made.task("bar 0: sad, bar 4: happy @ 1.3", values(made, bars=6, seed=3))
    assert task == parse_task({"kind": "music", "emotion": "bar 0: sad, bar 4: happy @ 1.3", "bars": 6, "seed": 3})
    file = tmp_path / "job.yaml"
    file.write_text(form.to_yaml(task, "one"))
    assert JobFile(file).tasks["one"] == task
    assert yaml.safe_load(file.read_text())["jobs"][0].keys() == {"id", "kind", "emotion", "bars", "seed"}
    again, note = form.from_yaml(file, "music")
    assert again == task and note == "Loaded."
    assert made.values(again) == values(made, bars=6, seed=3)


def test_files_of_a_loaded_job_are_asked_for_again(tmp_path):
    made = form.Form("music")
    task = made.task("sad", values(made, continue_from=str(tmp_path / "mine.mid")))
    file = tmp_path / "job.yaml"
    file.write_text(form.to_yaml(task, "one"))
    assert yaml.safe_load(file.read_text())["jobs"][0]["continue"] == "mine.mid"
    again, note = form.from_yaml(file, "music")
    assert "mine.mid" in note and again.continue_from == Path(tmp_path, "mine.mid")
    assert made.values(again) == values(made)


@pytest.mark.parametrize("emotion", ["from: /etc/passwd", "follow: ../secret.wav", "from: x.mid"])
def test_no_path_is_opened_by_its_name(emotion):
    with pytest.raises(InputError, match="upload"):
        form.Form("music").task(emotion, values(form.Form("music")))


def test_a_job_of_another_kind_says_where_it_belongs(tmp_path, request):
    request.getfixturevalue("tone_kind")
    file = tmp_path / "job.yaml"
    file.write_text("jobs: [{id: a, kind: tone}]")
    with pytest.raises(InputError, match="tab of tone"):
        form.from_yaml(file, "music")


def test_what_is_missing_is_said_in_one_sentence():
    both = "Add a portrait and a recording first."
    for kind, sentence in (("talk", both), ("scene", both), ("voice", "Add a recording first.")):
        made = form.Form(kind)
        with pytest.raises(InputError) as caught:
            made.task("happy", values(made))
        assert str(caught.value) == sentence


def test_a_model_has_its_own_fields():
    assert form.used("talk", "steps", "dice-compact") and not form.used("talk", "steps", "emote-compact")
    assert not form.used("voice", "steps", "voice-compact") and form.used("voice", "plot", "voice-compact")
