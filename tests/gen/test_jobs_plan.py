"""Job files: defaults, matrix, references, names, keys, order, and errors that name the line."""

import importlib
import re
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.errors import AffektError, InputError
from gen.jobs.cache import Cache
from gen.jobs.inputs import slug
from gen.jobs.plan import plan_file, plan_tasks
from gen.jobs.schema import canonical, parse_task, with_paths

pytestmark = pytest.mark.usefixtures("tone_kind")

SHOW = """
    defaults:
      kind: tone
      seconds: 0.1
    jobs:
      - id: line
        matrix:
          emotion: [happy @ 1.2, sad]
          seed: [1, 2]
        out: "{id}/{emotion}-{seed}"
      - id: more
        matrix: {emotion: [sad, happy @ 1.2]}
        continue: {job: line, seed: 2}
      - id: alone
        frequency: 220
"""


PARSED = yaml.safe_load(SHOW)
TWO = "defaults: {kind: tone}\njobs:\n- {id: a, matrix: {count: [1, 2]}}\n"


@pytest.fixture
def write(tmp_path):
    def to_file(text: str) -> Path:
        path = tmp_path / "show.yaml"
        path.write_text(textwrap.dedent(text))
        return path

    return to_file


def mistake(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        plan_file(path)
    return str(caught.value).removeprefix(f"{path}:")


def test_matrix_defaults_and_names(write):
    items = {item.id: item for item in plan_file(write(SHOW)).items}
    assert [items[f"line.{n}"].name for n in (1, 2, 3, 4)] == [
        "line/happy-1.2-1",
        "line/happy-1.2-2",
        "line/sad-1",
        "line/sad-2",
    ]
    assert items["line.4"].task.seed == 2 and str(items["line.4"].task.emotion) == "sad"
    assert {item.task.seconds for item in items.values()} == {0.1}
    assert items["more.1"].name == "more-sad"


def test_references_match_shared_axes(write):
    items = {item.id: item for item in plan_file(write(SHOW)).items}
    assert items["more.1"].needs == ("line.4",) and items["more.2"].needs == ("line.2",)


def test_order_puts_dependencies_first_and_groups_together(write, tmp_path):
    jobs = "\n".join(f"  - {{id: j{n}, kind: tone, seed: {n}, voice: {tmp_path / 'ab'[n % 2]}}}" for n in range(6))
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
    plan = plan_file(write("jobs:\n" + jobs + "\n  - {id: last, kind: tone, continue: {job: j5}}\n"))
    assert [item.id for item in plan.items] == ["j0", "j2", "j4", "j1", "j3", "j5", "last"]
    groups = [item.group for item in plan.items]
    assert len(set(groups)) == 1 + sum(a != b for a, b in pairwise(groups))


def test_equal_emotions_have_one_key_independent_of_names(write):
    plan = plan_file(write("jobs: [{id: a, kind: tone, emotion: happy 1.0}, {id: b, kind: tone, emotion: happy}]"))
    assert len({item.key for item in plan.items}) == 1


def test_key_follows_input_file_content_and_upstream(write, tmp_path):
    text = """
        jobs:
          - {id: a, kind: tone, continue: song.wav}
          - {id: b, kind: tone, continue: {job: a}}
    """
    song = tmp_path / "song.wav"
    song.write_bytes(b"one")
    before = {item.id: item.key for item in plan_file(write(text)).items}
    assert before == {item.id: item.key for item in plan_file(write(text)).items}
    song.write_bytes(b"three")
    after = {item.id: item.key for item in plan_file(write(text)).items}
    assert before["a"] != after["a"] and before["b"] != after["b"]


def test_key_follows_checkpoint(write, tmp_path, monkeypatch):
    from gen import checkpoints

    voice = tmp_path / "voice"
    voice.mkdir()
    (voice / "config.json").write_text("1")
    task = parse_task({"kind": "tone", "voice": str(voice)})
    first = plan_tasks({"x": task}).items[0].key
    (voice / "config.json").write_text("22")
    checkpoints.digest.cache_clear()  # it is cached per process
    assert plan_tasks({"x": task}).items[0].key != first


def test_key_follows_the_code(write, monkeypatch, tmp_path, request):
    from gen import provenance, registry

    request.addfinalizer(provenance.code.cache_clear)  # later tests need the real hash

    def keys() -> list[str]:
        provenance.code.cache_clear()
        return [plan_tasks({"x": parse_task({"kind": kind})}).items[0].key for kind in ("tone", "duet")]

    class Duet(registry.get("task", "tone")):
        kind: str = "duet"

    class DuetGenerator(registry.get("generator", "tone")):
        parts = ("tone",)

    (tmp_path / "duets").mkdir()
    for name in ("__init__", "pipeline"):
        (tmp_path / "duets" / f"{name}.py").touch()
    copy = tmp_path / "tone.py"
    copy.write_text(Path(registry.get("generator", "tone").render.__code__.co_filename).read_text())
    monkeypatch.setattr(sys.modules["tone"], "__file__", str(copy))
    monkeypatch.syspath_prepend(tmp_path)
    DuetGenerator.__module__ = importlib.import_module("duets.pipeline").__name__
    monkeypatch.setitem(registry._registered["task"], "duet", Duet)
    monkeypatch.setitem(registry._registered["generator"], "duet", DuetGenerator)
    first = keys()
    assert keys() == first
    (tmp_path / "duets" / "pipeline.py").write_text("RATE = 2")
    second = keys()
    assert second[0] == first[0] and second[1] != first[1]
    copy.write_text(copy.read_text() + "\nRATE = 4000\n")  # a duet's parts are tones
    third = keys()
    assert third[0] != second[0] and third[1] != second[1]
    (tmp_path / "duets" / "training").mkdir()
    (tmp_path / "duets" / "training" / "train.py").write_text("STEPS = 3")
    assert keys() == third


def test_shards_cover_each_item_once(write):
    text = "jobs: [{id: a, kind: tone, matrix: {seed: [" + ",".join(map(str, range(50))) + "]}}]"
    plan = plan_file(write(text))
    shares = [plan.shard(part, 3).wanted for part in (1, 2, 3)]
    assert sorted(id for share in shares for id in share) == sorted(plan.wanted)
    assert all(len(share) > 5 for share in shares)


def test_with_paths_keeps_values_without_paths(tone_kind):
    task = parse_task({"kind": "tone", "emotion": "0: sad, 2: happy"})
    assert with_paths(task, Path.absolute) is task
    moved = with_paths(parse_task({"kind": "tone", "continue": "x.wav"}), Path.absolute)
    assert moved.before == Path("x.wav").absolute()
    assert '"before": "here"' in canonical(moved, lambda path: "here")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("jobs: []", 1, "at least one job"),
        ("- a", 1, "under `jobs:`"),
        ("jobs:\n- 3", 2, "mapping"),
        ("jobs:\n- kind: tone", 2, "its own name"),
        ("jobs:\n- id: no\n  kind: tone", 2, "in quotes"),
        ("jobs:\n- {id: a, kind: tone}\n- {id: a, kind: tone}", 3, "its own name"),
        ("jobs:\n- id: a\n  kind: tune", 3, "nearest are"),
        ("jobs:\n- id: a", 2, "give the job a kind"),
        ("jobs:\n- id: a\n  kind: tone\n  secnds: 3", 4, "a.secnds: unknown field; the nearest are seconds"),
        ("jobs:\n- id: a\n  kind: tone\n  seconds: -3", 4, "a.seconds: Input should be greater than 0, not -3"),
        ("jobs:\n- id: a\n  kind: tone\n  seconds: .nan", 4, "a.seconds"),
        ("jobs:\n- id: a\n  kind: tone\n  emotion: hapy", 4, "happy"),
        ("jobs:\n- id: a\n  kind: tone\n  emotion:\n  - {at: 0, emotion: sad}\n  - {at: 1, emotion: 7}", 6, "emotion"),
        ("jobs:\n- id: a\n  kind: tone\n  matrix:\n    seed:\n    - 1\n    - x", 7, "a.seed"),
        ("jobs:\n- id: a\n  kind: tone\n  matrix: {seed: 3}", 4, "list of values"),
        ("jobs:\n- id: a\n  kind: tone\n  seed: 1\n  matrix: {seed: [3]}", 5, "elsewhere"),
        ("defaults:\n  secnds: 3\njobs:\n- {id: a, kind: tone}", 2, "defaults.secnds: no job"),
        ("defaults:\n  kind: tone\n  seconds: x\njobs:\n- {id: a}", 3, "a.seconds"),
        ("default: {}\njobs:\n- {id: a, kind: tone}", 1, "default: use only"),
        ("jobs:\n- id: a\n  kind: tone\n  kind: tone", 4, "given twice"),
        ("jobs:\n- id: a\n  kind: tone\n  seconds: !!python/object:os.system x", 4, "not valid YAML"),
        ("jobs:\n- id: a\n  kind: [tone", 4, "not valid YAML"),
        ("jobs: &a\n- *a", 1, "contain itself"),
        ("jobs:\n- id: a\n  kind: tone\n  ? [x]\n  : 3", 4, "must be text"),
        ("jobs:\n- id: a\n  kind: tone\n  seed: 2001-99-99", 4, "quotes"),
        ("jobs:\n- id: a\n  kind: tone\n  continue: none.wav", 2, "none.wav cannot be read (No such file"),
        ("jobs:\n- id: a\n  kind: tone\n  continue: {job: b}", 4, "no job 'b', only a"),
        ("jobs:\n- id: a\n  kind: tone\n  continue: {job: a}", 2, "depends on itself (a -> a)"),
        ("jobs:\n- id: a\n  kind: tone\n  frequency: {job: a}", 4, "a.frequency"),
        (TWO + "- {id: b, continue: {job: a, count: 3}}", 4, "matches 0 items"),
        (TWO + "- {id: b, continue: {job: a}}", 4, "matches 2 items"),
        ("jobs:\n- id: a\n  kind: tone\n  out: ../a", 4, "stay inside the output folder"),
        ("jobs:\n- id: a\n  kind: tone\n  out: /etc/a", 4, "stay inside the output folder"),
        ("jobs:\n- id: a\n  kind: tone\n  out: 'x/.a'", 4, "stay inside the output folder"),
        ("jobs:\n- id: a\n  kind: tone\n  out: 'x-{emotion.__class__}'", 4, "single value"),
        ("jobs:\n- id: a\n  kind: tone\n  matrix: {seed: [1, 2]}\n  out: x", 2, "also has"),
        ("jobs:\n- {id: a, kind: tone, out: x}\n- {id: b, kind: tone, out: X/y}", 3, "is below"),
    ],
)
def test_mistakes_name_line_and_field(write, text, line, words):
    found = mistake(write(text))
    assert found.startswith(f"{line}: ") and words in found and "\n" not in found


def test_several_mistakes_are_counted(write):
    assert "(and 1 more)" in mistake(write("jobs: [{id: a, kind: tone, seconds: x, frequency: y}]"))


def test_missing_and_binary_files(tmp_path):
    assert "cannot be read" in mistake(tmp_path / "none.yaml")
    (tmp_path / "show.yaml").write_bytes(b"jobs: \xff\xfe\x00")
    assert "not valid YAML" in mistake(tmp_path / "show.yaml")
    for deep in ("[" * 200_000, "jobs: " + "{a: " * 200_000, "- " * 100_000):
        (tmp_path / "show.yaml").write_text(deep)
        assert mistake(tmp_path / "show.yaml").startswith("1: nested more than 50 levels deep")


def test_slug_keeps_different_emotions_apart():
    names = [slug(text) for text in ("happy 0.7 + sad 0.3", "happy @ 1.2", "v=0.6 a=-0.3", "-sad @ 0.5")]
    assert names == ["happy-0.7+sad-0.3", "happy-1.2", "v=0.6-a=-0.3", "-sad-0.5"]


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["tone", "happy", "line", "job", "{emotion}", "../x", "sad @ 2", ".nan", "v=9", "\ud800"]),
)
fields = st.sampled_from(
    ["id", "kind", "seed", "seconds", "emotion", "continue", "before", "out", "matrix", "job", "count", "fault", "x"]
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=3), max_leaves=6
)


SIGNS = "abz019:-{}[]&*!|>'\"#,. \n\t\0é\ud800"


def mutated(draw, data):
    """The same structure with one node at any depth replaced, removed or renamed."""
    if isinstance(data, dict) and data and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(data)))
        rest = {name: value for name, value in data.items() if name != key}
        match draw(st.sampled_from(["inside", "inside", "remove", "rename"])):
            case "remove":
                return rest
            case "rename":
                return rest | {draw(fields): data[key]}
        return data | {key: mutated(draw, data[key])}
    if isinstance(data, list) and data and draw(st.booleans()):
        at = draw(st.integers(0, len(data) - 1))
        return [*data[:at], mutated(draw, data[at]), *data[at + 1 :]]
    return draw(values)


@settings(max_examples=120)
@given(data=st.data())
def test_any_mutation_is_a_plan_or_an_input_error_with_a_line(tmp_path_factory, data):
    show = PARSED
    for _ in range(data.draw(st.integers(1, 3))):
        show = mutated(data.draw, show)
    check_answer(tmp_path_factory, yaml.safe_dump(show, allow_unicode=True).encode(errors="surrogatepass"))


@settings(max_examples=120)
@given(data=st.data())
def test_any_damage_to_the_text_is_a_plan_or_an_input_error_with_a_line(tmp_path_factory, data):
    text = textwrap.dedent(SHOW)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.integers(start, min(len(text), start + 8)))
        text = text[:start] + data.draw(st.text(alphabet=SIGNS, max_size=5)) + text[stop:]
    check_answer(tmp_path_factory, text.encode(errors="surrogatepass"))


def check_answer(tmp_path_factory, content: bytes):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    try:
        plan = plan_file(path)
    except InputError as error:
        assert re.match(rf"{re.escape(str(path))}:\d+: .", str(error)) and "\n" not in str(error)
        return
    out = Path("/out")
    assert all((out / item.name).resolve().is_relative_to(out) for item in plan.items)
    assert len({item.name for item in plan.items}) == len(plan.items)
    seen: set[str] = set()
    for item in plan.items:
        assert set(item.needs) <= seen
        seen.add(item.id)


def test_unknown_kind_in_python(tone_kind):
    with pytest.raises(AffektError, match="nearest"):
        parse_task({"kind": "tune"})
    with pytest.raises(InputError, match=r"seconds: .*not 'x'"):
        parse_task({"kind": "tone", "seconds": "x"})


def test_cache_is_empty_at_first(tmp_path):
    assert "0" * 64 not in Cache(tmp_path)
