"""The command line: options of a kind come from its task, errors are one line with an exit code."""

import csv
import json
import logging
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import gen
from gen import checkpoints, registry
from gen.cli import main
from gen.evaluate.report import Report
from gen.generator import Bar
from gen.media import read_audio


@pytest.fixture
def affekt(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        output = capsys.readouterr()
        return code, output.out, output.err

    return call


def test_version(affekt):
    assert affekt("version") == (0, f"{gen.__version__}\n", "")


def test_one_task_from_options(affekt, tone_kind, tmp_path):
    options = ["--emotion", "happy @ 1.4", "--seed", "3", "--soft", "--device", "cpu"]
    code, out, _ = affekt("tone", *options)
    assert (code, out) == (0, "out/tone-happy-1.4-seed-3.wav  sound\n")
    assert affekt("tone", *options, "--count", "2", "--out", "there")[1] == (
        "there/tone-happy-1.4-seed-3-count-2/1.wav  sound\nthere/tone-happy-1.4-seed-3-count-2/2.wav  sound\n"
    )
    affekt("tone", "--continue", "out/tone-happy-1.4-seed-3.wav", "--device", "cpu", "--out", "more", "--no-soft")
    (found,) = (tmp_path / "more").glob("*.wav")
    assert found.name == "tone-continue-tone-happy-1.4-seed-3.wav"
    assert len(read_audio(found)[0]) == 800


@pytest.mark.parametrize(
    "emotion", ["-sad @ 0.5", "-sad", "v=0.6 a=-0.3", "0: sad, 2: happy", "Q2", "happy 0.7 + fear 0.3"]
)
def test_every_form_of_emotion_is_an_argument(affekt, tone_kind, emotion):
    assert affekt("tone", "--emotion", emotion, "--device", "cpu")[0] == 0


def test_without_arguments_it_prints_help(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 0 and "render a job file" in capsys.readouterr().out


def test_help_of_a_kind_shows_its_fields(tone_kind, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["tone", "--help"])
    output = capsys.readouterr().out
    assert caught.value.code == 0 and "--frequency X" in output and "in Hz (default: 440.0)" in output
    faults = "--fault {none,raise,mistake,once,memory,die,die once}"
    for part in ("--soft, --no-soft", "--continue FILE", "--count N", "(default: neutral)", faults):
        assert part in output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["tone", "--seconds", "x"], 2, "seconds: Input should be a valid number"),
        (["tone", "--emotion", "hapy"], 2, "happy"),
        (["tone", "--continue", "none.wav"], 2, "none.wav cannot be read"),
        (["tone", "--voice", "none"], 3, "`affekt checkpoints list`"),
        (["tone", "--fault", "raise", "--device", "cpu"], 4, "1 of 1 items failed"),
        (["tone", "--wrong"], 2, "--wrong; see `affekt tone --help`"),
        (["render", "none.yaml"], 2, "none.yaml: cannot be read"),
        (["render", "none.yaml", "--shard", "3/2"], 2, "a share such as 2/5"),
        (["render", "none.yaml", "--shard", "-1/2"], 2, "not -1/2;"),
        (["render", "none.yaml", "--workers", "0"], 2, "a number of at least 1"),
        (["render", "none.yaml", "--workers", "-2"], 2, "not -2;"),
        (["render", "none.yaml", "--report", "r.txt"], 2, "the extension .csv or .json"),
        (["render", "none.yaml", "--overwrite", "--skip-existing"], 2, "not allowed with"),
        (["tone", "--fault", "-x"], 2, "invalid choice: '-x'"),
        (["train", "music", "--data", ".", "--out", ".", "--minutes", "-x"], 2, "'-x'"),
        (["train", "nothing", "--data", ".", "--out", "."], 2, "affekt train --help"),
        (["train", "music", "--data", ".", "--out", ".", "--set", "width"], 2, "width=256"),
        (["checkpoints", "pull", "none"], 3, "cannot be pulled"),
        (["checkpoints", "verify", "none"], 3, "no checkpoint"),
        (["checkpoints", "convert", "none", "--from", "none"], 2, "none does not exist"),
        (["unknown"], 2, "affekt --help"),
    ],
)
def test_mistakes_are_one_line_and_an_exit_code(affekt, tone_kind, arguments, code, words):
    found, out, err = affekt(*arguments)
    last = err.splitlines()[-1]
    assert found == code and last.startswith("affekt: ") and words in last and out == "" and last.isprintable()


def test_plan_and_render_and_json(affekt, tone_kind, tmp_path):
    (tmp_path / "show.yaml").write_text(
        "jobs:\n- {id: a, kind: tone, matrix: {seed: [1, 2]}}\n- {id: b, kind: tone, continue: {job: a, seed: 1}}\n"
    )
    code, out, _ = affekt("plan", "show.yaml")
    assert code == 0 and out.splitlines()[1:] == [
        "a    tone  2      0       -            -",
        "b    tone  1      0       -            a",
        "3 items, 0 cached, 3 to render",
    ]
    events = [json.loads(line) for line in affekt("render", "show.yaml", "--device", "cpu", "--json")[1].splitlines()]
    assert [(e["event"], e["id"]) for e in events if e["event"] != "progress"] == [
        ("rendered", "a.1"),
        ("rendered", "a.2"),
        ("rendered", "b"),
    ]
    assert events[-1]["files"] == ["out/b.wav", "out/b.wav.json"]
    assert "3 items, 3 cached, 0 to render" in affekt("plan", "show.yaml")[1]
    rows = [json.loads(line) for line in affekt("plan", "show.yaml", "--json")[1].splitlines()]
    assert [row["cached"] for row in rows] == [True] * 3 and rows[2]["needs"] == ["a.1"]
    shares = [affekt("plan", "show.yaml", "--json", "--shard", f"{n}/2")[1].splitlines() for n in (1, 2)]
    assert sum(map(len, shares)) == 3


def test_reports_as_csv_and_json(affekt, tone_kind, tmp_path):
    (tmp_path / "show.yaml").write_text(
        "jobs:\n- {id: a, kind: tone, emotion: sad, seed: 3, remark: 'left out; too high', count: 2}\n"
        "- {id: b, kind: tone, fault: mistake}\n- {id: c, kind: tone, continue: {job: b}}\n"
    )
    given = ["--device", "cpu", "--report", "r.csv", "--report", "r.json"]
    assert affekt("render", "show.yaml", *given)[0] == 4
    rows = json.loads((tmp_path / "r.json").read_text())
    assert [(row["index"], row["id"], row["state"], row["error"]) for row in rows] == [
        (1, "a", "rendered", ""),
        (2, "b", "failed", "turn the oscillator on"),
        (3, "c", "blocked", "needs b, which failed"),
    ]
    assert rows[0]["files"] == ["out/a/1.wav", "out/a/2.wav"] and rows[0]["notes"] == ["left out; too high"]
    assert (rows[0]["emotion"], rows[0]["seed"], rows[1]["files"]) == ("sad", 3, [])
    with (tmp_path / "r.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["id"], row["state"], row["error"]) for row in table] == [
        (row["id"], row["state"], row["error"]) for row in rows
    ]
    assert table[0]["files"] == "out/a/1.wav; out/a/2.wav"
    code = affekt("render", "show.yaml", "--device", "cpu", "--skip-existing", "--report", "r.csv")[0]
    assert code == 4 and "state" in (tmp_path / "r.csv").read_text() and "skipped" in (tmp_path / "r.csv").read_text()


def test_incompatible_libraries_log_nothing(affekt):
    affekt("version")
    assert not logging.getLogger("xformers").isEnabledFor(logging.WARNING)


def test_training_and_evaluation_call_the_registered_functions(affekt, monkeypatch, tmp_path):
    calls = []

    class Measuring:
        def __init__(self, settings: dict[str, str], out: Path):
            calls.append((out, settings))

        def run(self) -> Report:
            return Report("a title", "a lead")

        def summary(self) -> list[Bar]:
            return [Bar("a measure", 0.5)]

    def train(data: Path, out: Path, minutes: float | None, settings: dict[str, str]) -> None:
        calls.append((data, out, minutes, settings))

    (tmp_path / "d").mkdir()
    monkeypatch.setitem(registry._registered["trainer"], "music", train)
    monkeypatch.setitem(registry._registered["evaluator"], "music", Measuring)
    assert affekt("train", "music", "--data", "d", "--out", "o", "--minutes", "2", "--set", "a=1", "b=x=y")[0] == 0
    assert affekt("evaluate", "music", "--out", "o", "--set", "a=1", "--set", "b=2")[0] == 0
    assert calls == [(Path("d"), Path("o"), 2.0, {"a": "1", "b": "x=y"}), (Path("o"), {"a": "1", "b": "2"})]
    assert json.loads((tmp_path / "o" / "report.json").read_text())["bars"][0]["measured"] == 0.5
    assert affekt("train", "music", "--data", "d", "--out", "o", "--stage", "first")[0] == 0
    assert [call[3] for call in calls[2:]] == [{"stage": "first"}]
    assert affekt("train", "music", "--out", "o")[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "output"),
    [
        ("train voice --data . --stage decoder", "train voice has no setting stage: use seed, speaker, whisper,"),
        ("evaluate voice", "evaluate voice needs data: give it with --set data=VALUE"),
        (
            "evaluate talk --set data=nowhere",
            "evaluate talk cannot use data=nowhere: path does not point to a directory",
        ),
        ("train music --data . --set nonsense=1", "train music has no setting nonsense: use size, conditioner, "),
        ("train emotion --data . --set steps=abc", "train emotion cannot use steps=abc: it should be a valid integer"),
        ("train music --data nowhere", "nowhere is not a folder"),
        (
            "train dice --data . --set size=tiny compile=maybe",
            "train dice cannot use compile=maybe: it should be a valid",
        ),
        ("ablate scene --data . --minutes 1 --conditioners vad", "no trainer 'scene'"),
        ("evaluate voice --set data=. nonsense=1", "evaluate voice has no setting nonsense: use data, model, "),
        ("ablate voice --data . --minutes 1 --conditioners vad", "`affekt train voice` has no setting conditioner"),
        ("ablate talk --data . --minutes 1 --conditioners vad,lable", "no conditioner 'lable'; the nearest are label"),
        ("ablate music --data . --minutes 1 --conditioners quadrant --set batch=x", "train music cannot use batch=x"),
        ("ablate emotion --data . --minutes 1 --conditioners vad", "`affekt train emotion` has no setting conditioner"),
    ],
)
def test_mistakes_in_research_commands_are_one_line(affekt, tmp_path, asked, output):
    code, _, err = affekt(*asked.split(), "--out", "o")
    assert code == 2 and err.count("\n") == 1 and output in err, err
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
def test_missing_training_data_is_named(affekt):
    code, _, err = affekt("train", "music", "--data", ".", "--out", "o")
    assert code == 2 and "emopia/labels.csv is missing: docs/reference/data.md lists" in err.splitlines()[-1]


def test_emotion_describe(affekt, tmp_path):
    code, out, _ = affekt("emotion", "describe", "-sad @ 0.5")
    assert code == 0 and out.startswith("emotion ") and "-sad @ 0.5" in out
    found = json.loads(affekt("emotion", "describe", "happy", "--json", "--plot", "x.png")[1])
    assert found["quadrant"] == "Q1" and (tmp_path / "x.png").stat().st_size > 1000
    assert affekt("emotion", "describe", "hapy")[0] == 2


def test_checkpoints_list_and_verify(affekt):
    code, out, _ = affekt("checkpoints", "list")
    assert code == 0 and out.split()[:5] == ["name", "MB", "licence", "state", "origin"]
    rows = [row for row in json.loads(affekt("checkpoints", "list", "--json")[1]) if row["state"] != "not here"]
    assert affekt("checkpoints", "verify") == (
        0,
        "".join(f"{row['name']}: all files match the index\n" for row in rows),
        "",
    )


def test_a_folder_in_the_working_directory_is_no_checkpoint(affekt, tmp_path):
    (tmp_path / "muser-compact").mkdir()
    (tmp_path / "muser-compact" / "junk.txt").write_text("junk")
    code, _, err = affekt("checkpoints", "verify", "./muser-compact")
    assert code == 3 and "cannot be verified" in err
    assert affekt("checkpoints", "verify", "muser-compact")[0] == 0
    assert checkpoints.folder("muser-compact") == checkpoints.roots()[0] / "muser-compact"
    (tmp_path / "mine").mkdir()
    code, _, err = affekt("checkpoints", "verify", "mine")
    assert code == 3 and "no checkpoint 'mine'" in err
    assert "the folder of that name in the working directory is ./mine" in err


def test_help_is_fast_and_does_not_import_torch():
    code = "import sys; from gen.cli import main\ntry: main(['--help'])\nfinally: sys.exit('torch' in sys.modules)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and "render a job file" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


@pytest.mark.slow
def test_a_missing_device_is_refused(affekt, tone_kind):
    import torch

    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    code, _, err = affekt("tone", "--device", "cuda")
    assert code == 5 and "cuda is not available: give --device cpu" in err
