"""Shell completion, pipes and the manual page."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gen
from gen import media
from gen.cli import main

LINE = Path(__file__).parents[2] / "examples" / "line.opus"
PROGRAM = shutil.which("affekt", path=str(Path(sys.executable).parent))


def test_version_and_a_bare_command(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0 and capsys.readouterr().out == f"{gen.__version__}\n"
    with pytest.raises(SystemExit):
        main([])
    shown = capsys.readouterr().out
    assert all(f"\n    {name}" in shown for name in ("music", "render", "verify", "completion", "man", "studio"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(capsys, shell):
    pytest.importorskip("argcomplete")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "affekt" in script
    if there := shutil.which(shell):
        subprocess.run([there, "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(PROGRAM is None or not shutil.which("bash"), reason="the program is not installed")
@pytest.mark.parametrize(
    ("line", "wanted"),
    [("affekt mus", "music"), ("affekt music --temp", "--temperature"), ("affekt voice --format m", "mp3")],
)
def test_a_shell_completes(tmp_path, line, wanted):
    pytest.importorskip("argcomplete")
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "words"),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_IFS": "\n",
        "COMP_TYPE": "9",
    }
    subprocess.run([PROGRAM], env=os.environ | asked, check=True)
    words = [word.strip() for word in (tmp_path / "words").read_text().split("\n")]
    assert wanted in words and all(word.startswith(line.split()[-1]) for word in words if word)


def test_the_manual_page_has_every_command(capsys, tmp_path):
    pytest.importorskip("argparse_manpage")
    assert main(["man"]) == 0
    page = capsys.readouterr().out
    assert page.startswith(".TH AFFEKT") and "keep\\-tempo" in page and "affekt render" in page
    if shutil.which("man"):
        (tmp_path / "affekt.1").write_text(page)
        shown = subprocess.run(["man", "-l", tmp_path / "affekt.1"], capture_output=True, text=True, check=True)
        assert "affekt music" in shown.stdout


class Pipe:
    """A standard stream of bytes."""

    def __init__(self, content: bytes = b""):
        self.buffer = io.BytesIO(content)

    def write(self, text: str) -> int:
        return self.buffer.write(text.encode())

    def flush(self) -> None:
        """An empty input."""


def test_a_pipe_through_a_task(tone_kind, tmp_path, monkeypatch):
    """Sound from standard input is continued and written to standard output, without anything else."""
    monkeypatch.chdir(tmp_path)
    media.write_audio(tmp_path / "a.wav", media.read_audio(LINE, 8000)[0][:800], 8000)
    out = Pipe()
    monkeypatch.setattr(sys, "stdin", Pipe((tmp_path / "a.wav").read_bytes()))
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["tone", "--continue", "-", "--out", "-", "--device", "cpu", "--emotion", "happy"]) == 0
    (tmp_path / "b.wav").write_bytes(out.buffer.getvalue())
    assert len(media.read_audio(tmp_path / "b.wav")[0]) == 800 + 400
    assert {path.name for path in tmp_path.iterdir()} <= {"a.wav", "b.wav", "cache", "site"}


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="the program is not installed")
def test_a_voice_in_a_pipe(tmp_path):
    done = subprocess.run(
        [PROGRAM, "voice", "-", "--emotion", "sad", "--format", "mp3", "--out", "-"],
        input=LINE.read_bytes(),
        capture_output=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "a.mp3").write_bytes(done.stdout)
    assert media.length(tmp_path / "a.mp3") > 1


def test_standard_input_is_one_file(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["talk", "-", "-", "--emotion", "sad"]) == 2
    assert "standard input is one file" in capsys.readouterr().err
    assert main(["voice", "a.wav", "b.wav", "--emotion", "sad", "--out", "-"]) == 2
