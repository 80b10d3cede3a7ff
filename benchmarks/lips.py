"""Lips in films: draws a film of each recording, tracks it again, and writes the manifest for outside judges.

    python benchmarks/lips.py --out FILMS --portraits a.jpg b.jpg -- one.wav two.wav ...

Each recording is said without emotion by one of the portraits in turn. Prints a Markdown table: the correlation of the
opening of the tracked lips with that of the motion, at the best delay, and the delay in frames. ``FILMS/films.csv`` has
the columns video, portrait, audio, emotion, intensity.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

WIDEST = 10  # frames
UPPER, LOWER, LEFT, RIGHT = 13, 14, 33, 263  # landmarks: the lips' inner middles, the eyes' outer corners


def opening(faces) -> np.ndarray:
    """(t,) opening of the lips in tracked faces, in distances of the eyes; lost frames are interpolated."""
    distance = lambda face, a, b: float(np.linalg.norm(face.landmarks[a, :2] - face.landmarks[b, :2]))
    found = {i: distance(f, UPPER, LOWER) / distance(f, LEFT, RIGHT) for i, f in enumerate(faces) if f is not None}
    return np.interp(np.arange(len(faces)), list(found), list(found.values()))


def best(a: np.ndarray, b: np.ndarray) -> tuple[float, int]:
    """Correlation of ``a`` with ``b`` at the best delay of ``a``, and the delay in frames."""
    inner = slice(WIDEST, len(b) - WIDEST)
    shifted = lambda k: a[inner.start + k : inner.stop + k]
    found = {k: float(np.corrcoef(shifted(k), b[inner])[0, 1]) for k in range(-WIDEST, WIDEST + 1)}
    return max((r, k) for k, r in found.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--portraits", nargs="+", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="emote-compact")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--fps", type=int, default=25, choices=(25, 30, 60))
    options = parser.parse_args()

    from gen import media
    from gen.emotion.spec import EmotionCurve
    from talking_head.motion.speaker import at_rate
    from talking_head.pipeline import TalkGenerator

    generator = TalkGenerator.from_pretrained(options.model)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = [("video", "portrait", "audio", "emotion", "intensity")]
    print("| recording | r | late by |\n|---|---|---|")
    for i, path in enumerate(options.recordings):
        samples, rate = media.read_audio(path)
        portrait = options.portraits[i % len(options.portraits)]
        motion = generator.speak(samples, rate, EmotionCurve.parse("neutral"))
        frames = list(generator.frames(media.read_image(portrait), motion, size=options.size, fps=options.fps))
        video = options.out / f"{path.stem}.mp4"
        media.write_video(video, frames, options.fps, samples, rate, {"ai_generated": True})
        moved = at_rate(generator.basis.lip_gap(motion.coefs), options.fps)
        r, late = best(opening(list(generator.tracker.video(frames))), moved)
        print(f"| {path.stem} | {r:.2f} | {late} |", flush=True)
        rows.append((video.name, portrait.resolve(), path.resolve(), "neutral", 1))
    with open(options.out / "films.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


if __name__ == "__main__":
    main()
