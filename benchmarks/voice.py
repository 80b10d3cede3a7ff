"""How fast a voice is converted: seconds of work for a second of speech, by steps and by what is side by side.

python -m benchmarks.voice [--model voice-compact]: prints a table and writes benchmarks/results/voice.md.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from gen.emotion.spec import EmotionCurve
from voice_conversion import features
from voice_conversion.emoreg.edit import edit
from voice_conversion.emoreg.score import Voice
from voice_conversion.features import RATE
from voice_conversion.pipeline import VoiceGenerator
from voice_conversion.task import NEUTRAL

SECONDS = 3.0
ABOUT = """Processor seconds for a second of speech, one thread, median of three runs after a first. A buzz stands for
speech. The whole path is pitch tracking, laying out the periods, encoder, decoder with guidance and filter; the decoder
alone also with eight recordings in one batch."""


def buzz() -> np.ndarray:
    t = np.arange(int(SECONDS * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(130 * 2 ** (0.3 * np.sin(t))) / RATE
    return (0.05 * sum(np.sin(k * phase) / k for k in range(1, 20)) * (np.sin(20 * t) > -0.5)).astype(np.float32)


def median(work) -> float:
    """Processor seconds for a second of speech."""
    work()
    times = []
    for _ in range(3):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times) / SECONDS


@torch.inference_mode()
def decoded(speaker: VoiceGenerator, sound: np.ndarray, steps: int, batch: int) -> float:
    """The decoder's seconds for a second of each of ``batch`` recordings."""
    plan = speaker.plan(features.cut(sound), EmotionCurve.parse("angry"), NEUTRAL, "keep")
    mel = features.mel(speaker.tensor(plan.samples))
    voices = speaker.voices(plan, slice(None), mel, torch.zeros(256))
    here, there = (Voice(*(part.expand(batch, *part.shape[1:]) for part in voice)) for voice in voices)
    seeds = [torch.Generator().manual_seed(i) for i in range(batch)]
    mels = mel.expand(batch, -1, -1)
    return median(lambda: edit(speaker.decoder, mels, here, there, steps, "pf", 2.5, generators=seeds)) / batch


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="voice-compact")
    options = parser.parse_args()
    torch.set_num_threads(1)
    speaker, sound, curve = VoiceGenerator.from_pretrained(options.model), buzz(), EmotionCurve.parse("angry")
    lines = [
        "| steps | whole path | through the network vocoder | decoder | decoder, batch of 8 |",
        "|---|---|---|---|---|",
    ]
    for steps in (4, 6, 10, 30):
        whole, network = (median(lambda n=steps, v=v: speaker.convert(sound, curve, steps=n, vocoder=v))
                          for v in ("recording", "network"))  # fmt: skip
        alone = (decoded(speaker, sound, steps, batch) for batch in (1, 8))
        lines.append(f"| {steps} | " + " | ".join(f"{value:.3f}" for value in (whole, network, *alone)) + " |")
        print(lines[-1])
    text = f"# Voice conversion\n\n{ABOUT}\n\n" + "\n".join(lines) + "\n"
    (Path(__file__).parent / "results" / "voice.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
