"""Many inputs: folders, patterns, tables and matrices over them, and the names of the results."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tone import Tone, ToneGenerator

from gen import registry
from gen.cli import main
from gen.errors import InputError
from gen.jobs.inputs import files, named, positional, table
from gen.jobs.jobfile import JobFile
from gen.jobs.plan import plan_file
from gen.jobs.schema import Task
from gen.media import read_audio, write_audio
from gen.notes import collect


class Clip(Tone):
    """A tone that follows a recording."""

    kind: str = "clip"
    source: Path
    parts: tuple[str, ...] = ()


class ClipGenerator(ToneGenerator):
    endings = (".wav",)

    def render(self, task: Clip, folder: Path, manifest: dict, progress) -> list[Path]:
        return super().render(task.model_copy(update={"before": task.source}), folder, manifest, progress)


@pytest.fixture
def clip_kind(monkeypatch):
    monkeypatch.setitem(registry._registered["task"], "clip", Clip)
    monkeypatch.setitem(registry._registered["generator"], "clip", ClipGenerator)
    monkeypatch.setitem(registry._registered["task"], "tone", Tone)
    monkeypatch.setitem(registry._registered["generator"], "tone", ToneGenerator)


NAMES = ("b.wav", "My song (1).wav", "Ärger.flac", "deep/er/c.wav", "note.txt", ".hidden.wav")


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "in"
    for name in NAMES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            path.write_text("no sound")
        else:
            write_audio(path, np.full(len(name) * 10, 0.1, np.float32), 8000)
    return folder


@pytest.fixture
def affekt(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str]:
        code = main([*arguments, "--device", "cpu"])
        return code, capsys.readouterr().err

    return call


def sounds(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.wav"))


def test_required_files_are_positional():
    assert positional(Clip) == ["source"]
    assert positional(Task) == []


def test_files_folders_and_patterns(recordings, tmp_path):
    with collect() as notes:
        found = files([str(recordings), str(recordings / "**" / "*.wav"), "else.wav"], "source")
    assert [(file.folder, file.stem) for file in found] == [
        ("", "My song (1)"),
        ("", "b"),
        ("deep/er", "c"),
        ("", "Ärger"),
        ("", "else"),
    ]
    assert notes == [f"{recordings}: skipped files that cannot be source: note.txt"]
    with pytest.raises(InputError, match=r"no file for source \(.wav"):
        files([str(tmp_path / "*.wav")], "source")


def test_files_of_equal_names_get_distinct_names(tmp_path):
    for name in ("a/x.wav", "b/x.wav", "b/x.flac", "b/X.mp3", "b/y.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with collect() as notes:
        found = files([str(tmp_path / "b")], "source")
        assert [file.stem for file in found] == ["X-mp3", "x-flac", "x-wav", "y"]
        found = files([str(tmp_path / "a" / "x.wav"), str(tmp_path / "b" / "x.wav")], "source")
        assert [(file.folder, file.stem) for file in found] == [("a", "x"), ("b", "x")]
    assert notes == [
        "several inputs are called X: their results are named after X-mp3, x-flac, x-wav",
        "several inputs are called x: their results are named after a/x, b/x",
    ]


def test_a_folder_on_the_command_line_keeps_names_and_subfolders(affekt, clip_kind, recordings, tmp_path):
    code, output = affekt("clip", "in", "--emotion", "sad", "--out", "sad")
    assert code == 0 and "note.txt" in output
    assert sounds(tmp_path / "sad") == ["My song (1).wav", "b.wav", "deep/er/c.wav", "Ärger.wav"]
    assert len(read_audio(tmp_path / "sad" / "b.wav")[0]) == len("b.wav") * 10 + 400
    assert affekt("clip", "in", "--out", "in")[0] == 4  # recordings are not replaced
    assert len(read_audio(recordings / "b.wav")[0]) == len("b.wav") * 10


def test_a_pattern_for_names(affekt, clip_kind, recordings, tmp_path):
    names = "made/{emotion}/{index}-{stem}-{seed}.wav"
    assert affekt("clip", "in", "--emotion", "sad @ 0.5", "--seed", "3", "--out", names)[0] == 0
    assert sounds(tmp_path / "made") == [
        "sad-0.5/1-My song (1)-3.wav",
        "sad-0.5/2-b-3.wav",
        "sad-0.5/4-Ärger-3.wav",
        "sad-0.5/deep/er/3-c-3.wav",
    ]
    code, output = affekt("clip", "in", "--out", "{emotion}")
    assert code == 2 and "put {stem} or {index} into --out" in output
    assert affekt("clip", "in/b.wav", "--emotion", "sad")[0] == 0 and sounds(tmp_path / "out") == ["clip-b-sad.wav"]


def test_an_unsupported_extension_is_refused(affekt, clip_kind, recordings, tmp_path):
    for name in ("x.mp3", "x.webm", "{stem}.flac"):
        code, output = affekt("clip", "in/b.wav", "--out", name)
        assert code == 2 and "clip cannot be written as" in output
    assert affekt("clip", "in/b.wav", "--out", "x.WAV")[0] == 0
    assert affekt("clip", "in/b.wav", "--out", "take.2")[0] == 0
    (tmp_path / "show.yaml").write_text("jobs: [{id: a, kind: clip, source: in/b.wav, out: y.mp3}]")
    code, output = affekt("render", "show.yaml")
    assert code == 2 and "show.yaml:1: a.out: clip cannot be written as .mp3: use y.wav" in output
    (tmp_path / "show.yaml").write_text("jobs: [{id: a, kind: clip, source: in/b.wav, out: y.wav}]")
    assert affekt("render", "show.yaml", "--out", "film.mp4")[0] == 2
    assert affekt("render", "show.yaml")[0] == 0 and (tmp_path / "out" / "y.wav").is_file()
    assert (tmp_path / "x.wav").is_file() and sounds(tmp_path / "take.2") == ["clip-b.wav"]


def test_a_job_over_a_folder_with_a_matrix(clip_kind, recordings, tmp_path):
    file = tmp_path / "show.yaml"
    file.write_text(
        "defaults: {kind: clip}\n"
        "jobs:\n"
        '- {id: a, source: in/, matrix: {emotion: [sad, happy @ 1.2]}, out: "{emotion}/{stem}-{index}"}\n'
        '- {id: b, source: "in/**/*.wav"}\n'
        "- {id: c, kind: tone, continue: {job: a, emotion: sad}}\n"
    )
    with pytest.raises(InputError, match="matches 4 items"):
        plan_file(file)
    file.write_text(file.read_text().split("- {id: c")[0])
    names = [item.name for item in plan_file(file).items]
    assert names[:3] == ["sad/My song (1)-1", "happy-1.2/My song (1)-2", "sad/b-3"]
    assert names[8:] == ["b/My song (1)", "b/b", "b/deep/er/c"] and "sad/deep/er/c-5" in names
    assert [str(task.source) for task in JobFile(file, reach=False).tasks.values()][::2] == [
        str(recordings),
        str(tmp_path / "in/**/*.wav"),
    ]
    file.write_text("jobs: [{id: a, kind: clip, source: in/, continue: in/}]")
    with pytest.raises(InputError, match="each stand for many files"):
        plan_file(file)


TABLE = """source,emotion,seed,soft,parts,take
in/b.wav,happy @ 1.2,3,true,a b,first

in/b.wav,,,,,second
"in/deep/er/c.wav","0: sad, 2: happy",,,,third
"""


def test_a_job_over_a_table(clip_kind, recordings, tmp_path):
    (tmp_path / "lines.csv").write_text(TABLE, encoding="utf-8-sig")
    file = tmp_path / "show.yaml"
    file.write_text(
        "defaults: {kind: clip, emotion: tender}\n"
        'jobs: [{id: a, source: {csv: lines.csv}, matrix: {frequency: [220, 440]}, out: "{take}/{stem}-{frequency}"},\n'
        "       {id: b, source: {csv: lines.csv}, continue: {job: a, frequency: 440}, out: '{index}-{take}'}]\n"
    )
    items = {item.name: item for item in plan_file(file).items}
    assert [*items] == [
        "first/b-220",
        "first/b-440",
        "second/b-220",
        "second/b-440",
        "third/c-220",
        "third/c-440",
        "1-first",
        "2-second",
        "3-third",
    ]
    first = items["first/b-220"].task
    assert (str(first.emotion), first.seed, first.soft, first.parts) == ("happy @ 1.2", 3, True, ("a", "b"))
    assert first.source == recordings / "b.wav" and str(items["second/b-220"].task.emotion) == "tender"
    assert items["2-second"].needs == (items["second/b-440"].id,)


def test_a_table_may_name_its_results(clip_kind, recordings, tmp_path):
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "lines.csv").write_text("source;id;out\n../in/b.wav;x1;\n../in/b.wav;x2;two/{id}-{seed}\n")
    (tmp_path / "show.yaml").write_text("jobs: [{id: a, kind: clip, source: {csv: list/lines.csv}, out: '{id}'}]")
    assert [item.name for item in plan_file(tmp_path / "show.yaml").items] == ["x1", "two/x2-0"]


@pytest.mark.parametrize(
    ("rows", "line", "words"),
    [
        ("source,secnds\nin/b.wav,1", 1, "no field 'secnds'"),
        ("recording,seconds\nin/b.wav,1", 1, "; source is needed"),
        ("source,seconds\nin/b.wav,0.1\nin/b.wav,x", 3, "a.seconds: Input should be a valid number"),
        ("source,emotion\nin/b.wav,hapy", 2, "hapy"),
        ("seconds\n1", 2, "a.source: this field is required"),
        ("source,source\nin/b.wav,in/b.wav", 1, "a name of its own"),
        ("source,seed\nin/b.wav,1,2", 2, "3 cells for 2 columns"),
        ("source\n", 1, "no rows"),
        ('source\n"in/b.wav', 2, "not valid CSV"),
        ("source,kind\nin/b.wav,clip", 1, "kind is also given in the job a"),
        ("source\nnone.wav", 2, "none.wav cannot be read"),
        ("source,out\nin/b.wav,../x", 2, "stay inside the output folder"),
        ("source,out\nin/b.wav,x\nin/b.wav,x", 3, "also has the name 'x'"),
    ],
)
def test_mistakes_in_a_table_name_its_line(clip_kind, recordings, tmp_path, rows, line, words):
    (tmp_path / "lines.csv").write_text(rows)
    (tmp_path / "show.yaml").write_text("jobs: [{id: a, kind: clip, source: {csv: lines.csv}}]")
    with pytest.raises(InputError) as caught:
        plan_file(tmp_path / "show.yaml")
    assert str(caught.value).startswith(f"{tmp_path / 'lines.csv'}:{line}: ") and words in str(caught.value)


def test_mistakes_in_naming_a_table(clip_kind, tmp_path):
    file = tmp_path / "show.yaml"
    file.write_text("jobs: [{id: a, kind: clip, source: {csv: none.csv}}]")
    with pytest.raises(InputError, match="with `affekt render`"):
        JobFile(file, reach=False)
    for source, words in (("{csv: none.csv}", "none.csv: cannot be read"), ("{csv: 3}", "{csv: lines.csv}")):
        file.write_text(f"jobs: [{{id: a, kind: clip, source: {source}}}]")
        with pytest.raises(InputError, match=words):
            plan_file(file)
    (tmp_path / "lines.csv").write_bytes(b"source\n\xff")
    with pytest.raises(InputError, match="UTF-8"):
        table(tmp_path / "lines.csv")


def test_a_path_is_never_read_as_a_reference(clip_kind, tmp_path):
    (tmp_path / "show.yaml").write_text('jobs: [{id: a, kind: tone, continue: "job:b"}]')
    with pytest.raises(InputError, match="job:b cannot be read"):
        plan_file(tmp_path / "show.yaml")
    (tmp_path / "show.yaml").write_text('jobs: [{id: a, kind: tone, continue: "\\0job:b"}]')
    with pytest.raises(InputError, match="null character"):
        plan_file(tmp_path / "show.yaml")


def test_names_stay_below_the_output_folder():
    assert named("{emotion}/{stem}", {"emotion": "a/b", "stem": "x"}.get, "one/two") == "a-b/one/two/x"
    with collect() as notes:
        assert named("{stem}", lambda field: 'a "b"?') == "a -b--" and len(notes) == 1
    for stem, folder in (("..", ""), (".x", ""), ("x", ".."), ("", ""), ("x" * 300, "")):
        with pytest.raises(InputError, match="stay inside the output folder"):
            named("{stem}", lambda field, stem=stem: stem, folder)


def test_rendering_a_table_on_the_command_line(affekt, clip_kind, recordings, tmp_path):
    (tmp_path / "lines.csv").write_text(TABLE)
    (tmp_path / "show.yaml").write_text("jobs: [{id: a, kind: clip, source: {csv: lines.csv}, out: '{take}-{stem}'}]")
    assert affekt("render", "show.yaml", "--report", "report.json")[0] == 0
    assert sounds(tmp_path / "out") == ["first-b.wav", "second-b.wav", "third-c.wav"]
    assert [row["emotion"] for row in json.loads((tmp_path / "report.json").read_text())] == [
        "happy @ 1.2",
        "neutral",
        "0: sad, 2: happy",
    ]
    shutil.rmtree(tmp_path / "out")
