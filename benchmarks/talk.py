"""The speed of talking portraits: rendering only, and from a sound file to a finished MP4.

    python benchmarks/talk.py --portrait examples/grace_hopper.jpg --audio examples/line.opus

Each row is one size on one number of cores (torch threads and the process's affinity). Prints a Markdown table.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path


def measure(generator, portrait: Path, audio: Path, size: int) -> tuple[float, float, float]:
    """Milliseconds per rendered frame, rendered frames per second, seconds of sound per second from file to MP4."""
    from gen import media
    from gen.emotion.spec import EmotionCurve
    from talking_head.render.film import film
    from talking_head.task import TalkTask

    samples, rate = media.read_audio(audio)
    motion = generator.speak(samples, rate, EmotionCurve.parse("happy"))
    drawn = generator.portrait(media.read_image(portrait), size)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        count = sum(1 for _ in film(drawn, motion))
        times.append((time.perf_counter() - began) / count)
    task = TalkTask(portrait=portrait, audio=audio, emotion=EmotionCurve.parse("happy"), size=size)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        generator.render(task, Path(folder), {}, lambda done, text: None)
        whole = time.perf_counter() - began
    frame = min(times)
    return 1000 * frame, 1 / frame, len(samples) / rate / whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portrait", type=Path, required=True)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--model", default="emote-compact")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    import torch

    from talking_head.pipeline import TalkGenerator

    print("| pixels | cores | ms a frame | frames a second | sound / time, file to MP4 |\n|---|---|---|---|---|")
    allowed = sorted(os.sched_getaffinity(0))
    for cores in options.cores:
        os.sched_setaffinity(0, allowed[:cores])
        torch.set_num_threads(cores)
        generator = TalkGenerator.from_pretrained(options.model)
        for size in (256, 512, 1024):
            ms, fps, ratio = measure(generator, options.portrait, options.audio, size)
            print(f"| {size} | {cores} | {ms:.1f} | {fps:.0f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
