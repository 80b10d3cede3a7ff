"""The speed of voice conversion: CPU seconds per second of speech, by candidates and rate, and the latency of a stream
of phrases.

python -m benchmarks.voice [--model voice-compact]: prints a table and writes benchmarks/results/voice.md.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import soxr

from gen import media
from gen.emotion.spec import EmotionCurve
from voice_conversion.pipeline import VoiceGenerator

SOURCE = Path(__file__).parent.parent / "examples" / "line.opus"
PHRASES = 4
ABOUT = """Processor seconds for a second of `examples/line.opus`, one thread, median of three runs after a first: pitch
tracking, candidates laid on, rendered at 22.05 kHz and listened to, the chosen one rendered at the recording's rate."""


def seconds(work, length: float) -> float:
    """CPU seconds per second of speech."""
    work()
    times = []
    for _ in range(3):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times) / length


def behind(generator: VoiceGenerator, samples, rate: int, curve: EmotionCurve) -> tuple[float, float]:
    """Seconds until the first of several phrases is ready, and the delay with which all are ready in time."""
    gap = np.zeros(rate // 2, np.float32)
    long = np.concatenate([part for _ in range(PHRASES) for part in (samples, gap)])[None]
    began, spoken, waits = time.process_time(), 0.0, []
    for part in generator.stream(long, rate, curve):
        waits.append(time.process_time() - began - spoken)
        spoken += part.shape[1] / rate
    return waits[0], max(waits)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="voice-compact")
    generator = VoiceGenerator.from_pretrained(parser.parse_args().model)
    samples, rate = media.read_audio(SOURCE)
    curve, rows = EmotionCurve.parse("angry"), []
    for candidates, at in ((1, 22_050), (8, 22_050), (8, 48_000), (16, 22_050), (32, 22_050), (48, 22_050)):
        sound = soxr.resample(samples, rate, at)
        work = lambda sound=sound, at=at, count=candidates: generator.convert(sound, at, curve, candidates=count)
        rows.append(f"| {candidates} | {at} | {seconds(work, len(sound) / at):.2f} |")
    table = "\n".join(["| candidates | rate, Hz | seconds |", "|---|---|---|", *rows])
    first, all_ = behind(generator, samples, rate, curve)
    late = f"A stream of {PHRASES} phrases: first after {first:.2f} processor seconds, all in time after {all_:.2f}."
    (Path(__file__).parent / "results" / "voice.md").write_text(f"{ABOUT}\n\n{table}\n\n{late}\n", encoding="utf-8")
    print(table, late, sep="\n\n")


if __name__ == "__main__":
    main()
