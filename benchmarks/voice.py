"""How fast a voice is converted: seconds of work for a second of speech, by candidates, rate and channels.

python -m benchmarks.voice [--model voice-compact]: prints a table and writes benchmarks/results/voice.md.
"""

import argparse
import statistics
import time
from pathlib import Path

import soxr

from gen import media
from gen.emotion.spec import EmotionCurve
from voice_conversion.pipeline import VoiceGenerator

SOURCE = Path(__file__).parent.parent / "examples" / "line.opus"
ABOUT = """Processor seconds for a second of `examples/line.opus`, one thread, median of three runs after a first: pitch
tracking, candidates laid on, rendered at 22.05 kHz and listened to, the chosen one rendered at the recording's rate."""


def seconds(work, length: float) -> float:
    """Processor seconds for a second of speech."""
    work()
    times = []
    for _ in range(3):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times) / length


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="voice-compact")
    generator = VoiceGenerator.from_pretrained(parser.parse_args().model)
    samples, rate = media.read_audio(SOURCE)
    curve, rows = EmotionCurve.parse("angry"), []
    for candidates, at in ((1, 22_050), (4, 22_050), (8, 22_050), (8, 48_000), (16, 22_050)):
        sound = soxr.resample(samples, rate, at)
        work = lambda sound=sound, at=at, count=candidates: generator.convert(sound, at, curve, candidates=count)
        rows.append(f"| {candidates} | {at} | {seconds(work, len(sound) / at):.2f} |")
    table = "\n".join(["| candidates | rate, Hz | seconds |", "|---|---|---|", *rows])
    (Path(__file__).parent / "results" / "voice.md").write_text(f"{ABOUT}\n\n{table}\n", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
