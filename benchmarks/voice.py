"""How fast a voice is converted: seconds of work for a second of speech, by steps and by what is side by side.

    python benchmarks/voice.py [--model voice-compact] [--threads 2]

A buzz of ten seconds with syllables stands for speech; the median of three runs after one that warms up.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from gen.emotion.spec import EmotionCurve
from voice_conversion.features import RATE
from voice_conversion.pipeline import SPEAKER, VoiceGenerator

SECONDS = 10.0


def buzz() -> np.ndarray:
    t = np.arange(int(SECONDS * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(130 * 2 ** (0.3 * np.sin(t))) / RATE
    return (0.05 * sum(np.sin(k * phase) / k for k in range(1, 20)) * (np.sin(20 * t) > -0.5)).astype(np.float32)


def median(work) -> float:
    work()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="voice-compact")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    speaker, sound, curve = VoiceGenerator.load([options.model, SPEAKER]), buzz(), EmotionCurve.parse("angry")
    print(f"{'what':34} {'seconds a second':>16}")
    for steps in (4, 6, 10, 30):
        taken = median(lambda n=steps: speaker.convert(sound, curve, steps=n))
        print(f"{f'{steps} steps':34} {taken / SECONDS:16.3f}")
    taken = median(lambda: [speaker.convert(sound, curve, steps=10) for _ in range(8)]) / 8
    print(f"{'10 steps, eight recordings in a row':34} {taken / SECONDS:16.3f}")


if __name__ == "__main__":
    main()
