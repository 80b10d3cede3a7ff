"""The JSON Schema of job files and ``affekt plan`` accept the same files; YAML booleans and anchors."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from gen.cli import main
from gen.errors import InputError
from gen.jobs.jsonschema import schema
from gen.jobs.plan import plan_file
from gen.media import write_audio

jsonschema = pytest.importorskip("jsonschema")
EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.usefixtures("tone_kind")

BASE = """
$schema: affekt.schema.json
defaults: {seed: 3}
jobs:
  - {id: a, kind: tone, emotion: happy @ 1.2, seconds: 0.5, count: 2, soft: true, out: "{id}-{seed}"}
  - {id: b, kind: tone, matrix: {emotion: [sad, {mix: {happy: 1.0}}], count: [1, 2]}}
  - {id: c, kind: tone, continue: {job: a}, emotion: {from: a.wav}}
  - {id: d, kind: voice, source: a.wav, emotion: [{at: 0, emotion: sad}, {at: 2, emotion: {vad: [0.1, 0.2]}}]}
  - {id: e, kind: tone, source: {csv: lines.csv}, out: "{take}"}
"""
UNSET = object()
CHANGES = [
    (("jobs",), []),
    (("jobs",), {}),
    (("jobs",), UNSET),
    (("jobs", 0), 3),
    (("jobs", 0, "id"), UNSET),
    (("jobs", 0, "id"), 7),
    (("jobs", 0, "id"), "a b"),
    (("jobs", 0, "id"), False),
    (("jobs", 0, "kind"), UNSET),
    (("jobs", 0, "kind"), "tune"),
    (("jobs", 0, "kind"), 3),
    (("jobs", 0, "out"), 3),
    (("jobs", 0, "x"), 3),
    (("jobs", 0, "seed"), -1),
    (("jobs", 0, "seed"), 2**32),
    (("jobs", 0, "seed"), 2**32 - 1),
    (("jobs", 0, "seed"), "1"),
    (("jobs", 0, "seed"), True),
    (("jobs", 0, "seed"), 1.5),
    (("jobs", 0, "seed"), None),
    (("jobs", 0, "count"), "2"),
    (("jobs", 0, "count"), True),
    (("jobs", 0, "count"), 0),
    (("jobs", 0, "count"), 10),
    (("jobs", 0, "count"), [1]),
    (("jobs", 0, "seconds"), "0.5"),
    (("jobs", 0, "seconds"), 0),
    (("jobs", 0, "seconds"), 1),
    (("jobs", 0, "seconds"), False),
    (("jobs", 0, "soft"), "true"),
    (("jobs", 0, "soft"), 1),
    (("jobs", 0, "soft"), None),
    (("jobs", 0, "voice"), None),
    (("jobs", 0, "voice"), 3),
    (("jobs", 0, "fault"), "never"),
    (("jobs", 0, "fault"), "none"),
    (("jobs", 0, "fault"), False),
    (("jobs", 0, "emotion"), False),
    (("jobs", 0, "emotion"), 3),
    (("jobs", 0, "emotion"), []),
    (("jobs", 0, "emotion"), {}),
    (("jobs", 0, "emotion"), {"mix": {"sad": 1}, "vad": [0, 0]}),
    (("jobs", 0, "emotion"), {"vad": {"v": 0.5}}),
    (("jobs", 0, "emotion"), {"vad": [2, 0]}),
    (("jobs", 0, "emotion"), {"mix": {"sad": 1}, "intensity": 3}),
    (("jobs", 0, "emotion"), {"mood": "sad"}),
    (("jobs", 0, "emotion"), {"keyframes": [{"at": 0, "emotion": "sad"}], "unit": "bars"}),
    (("jobs", 0, "emotion"), {"keyframes": [{"at": -1, "emotion": "sad"}]}),
    (("jobs", 0, "emotion"), [{"at": 0, "emotion": "sad", "ease": "jump"}]),
    (("jobs", 0, "emotion"), {"from": "a.wav", "follow": True, "reference": ["a.wav"]}),
    (("jobs", 0, "emotion"), {"from": 3}),
    (("jobs", 0, "emotion"), {"from": "a.wav", "loud": True}),
    (("jobs", 0, "continue"), "a.wav"),
    (("jobs", 0, "continue"), 3),
    (("jobs", 0, "before"), "a.wav"),
    (("jobs", 1, "matrix", "count"), 1),
    (("jobs", 1, "matrix", "count"), []),
    (("jobs", 1, "matrix", "count", 0), "1"),
    (("jobs", 1, "matrix", "count", 0), 0),
    (("jobs", 1, "matrix", "emotion", 0), False),
    (("jobs", 1, "matrix"), []),
    (("jobs", 1, "matrix", "size"), [1]),
    (("jobs", 2, "continue"), {}),
    (("jobs", 3, "source"), UNSET),
    (("jobs", 3, "source"), {"job": "a"}),
    (("jobs", 3, "tempo"), "slow"),
    (("jobs", 3, "tempo"), "keep"),
    (("jobs", 3, "steps"), 0),
    (("jobs", 4, "source"), {"csv": 3}),
    (("jobs", 4, "source"), {"csv": "a.csv", "x": 1}),
    (("defaults",), None),
    (("defaults",), []),
    (("defaults", "x"), 1),
    (("defaults", "kind"), "tone"),
    (("defaults", "kind"), "tune"),
    (("defaults", "seed"), "3"),
    (("defaults", "id"), "z"),
    (("defaults", "out"), 3),
    (("$schema",), 3),
    (("version",), 1),
]


@pytest.fixture
def folder(tmp_path):
    write_audio(tmp_path / "a.wav", np.full(8000, 0.1, np.float32), 8000)
    (tmp_path / "lines.csv").write_text("take,seconds\none,0.1\ntwo,0.2\n")
    return tmp_path


def verdicts(folder: Path, data) -> tuple[bool, bool, str]:
    """(accepted by the schema, accepted by the plan, error of the plan) for a file."""
    (folder / "show.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    valid = jsonschema.Draft202012Validator(schema()).is_valid(data)
    try:
        plan_file(folder / "show.yaml")
    except InputError as error:
        return valid, False, str(error)
    return valid, True, ""


def changed(data, where, value):
    if not where:
        return value
    copy = data.copy()
    if len(where) == 1 and value is UNSET:
        del copy[where[0]]
    else:
        copy[where[0]] = changed(data.get(where[0], {}) if isinstance(data, dict) else data[where[0]], where[1:], value)
    return copy


def test_the_schema_is_valid():
    jsonschema.Draft202012Validator.check_schema(schema())


ids = lambda part: "unset" if part is UNSET else str(part)[:50]


@pytest.mark.parametrize(("where", "value"), [((), None), *CHANGES], ids=ids)
def test_schema_and_plan_agree(folder, where, value):
    data = yaml.safe_load(BASE)
    data = changed(data, where, value) if where else data
    valid, planned, output = verdicts(folder, data)
    assert valid == planned, output
    assert where or planned


@pytest.mark.parametrize("job", ["{id: a}", "{id: a, matrix: {source: [a.wav]}}", "{id: a, emotion: sad}"])
def test_required_fields_may_be_in_the_defaults(folder, job):
    for defaults in ("{kind: voice, emotion: sad}", "{kind: voice, source: a.wav, emotion: sad}", "{emotion: sad}"):
        data = yaml.safe_load(f"defaults: {defaults}\njobs: [{job}]")
        valid, planned, output = verdicts(folder, data)
        assert valid == planned, (data, output)


def test_every_example_is_planned_and_valid():
    for path in sorted(EXAMPLES.glob("*.yaml")):
        assert plan_file(path).items
        jsonschema.validate(yaml.safe_load(path.read_text()), schema())


def test_the_command_prints_it(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema()


def test_words_that_yaml_reads_as_booleans(folder):
    (folder / "show.yaml").write_text("jobs:\n- id: a\n  kind: tone\n  emotion: no\n")
    with pytest.raises(InputError, match=r"show.yaml:4: a.emotion: YAML reads yes, no, on and off .* in quotes"):
        plan_file(folder / "show.yaml")


def test_merge_keys(folder):
    (folder / "show.yaml").write_text(
        "defaults: &all {kind: tone, seconds: 0.2}\n"
        "jobs:\n"
        "- &one {id: a, <<: *all, seed: 1, count: 2}\n"
        "- {<<: [*one, *all], id: b, count: 3}\n"
    )
    tasks = {item.id: item.task for item in plan_file(folder / "show.yaml").items}
    assert (tasks["a"].seconds, tasks["a"].count, tasks["b"].seed, tasks["b"].count) == (0.2, 2, 1, 3)
    for text, words in (("<<: 3", "<< needs another"), ("<<: [x]", "<< needs another")):
        (folder / "show.yaml").write_text(f"jobs:\n- {{id: a, kind: tone, {text}}}\n")
        with pytest.raises(InputError, match=words):
            plan_file(folder / "show.yaml")
    (folder / "show.yaml").write_text("jobs:\n- &x {id: a, <<: *x}\n")
    with pytest.raises(InputError, match="contain itself"):
        plan_file(folder / "show.yaml")
    (folder / "show.yaml").write_text("x: &x {count: x}\njobs:\n- {id: a, kind: tone, <<: *x}\n")
    with pytest.raises(InputError, match="only the fields `defaults` and `jobs`"):
        plan_file(folder / "show.yaml")
