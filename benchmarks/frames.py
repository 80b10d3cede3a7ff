"""Fidelity of rendered frames to the photograph: sharpness of the face during speech, and stability of the background.

    python benchmarks/frames.py --audio examples/line.opus examples/grace_hopper.jpg ...

Sharpness is the variance of the Laplacian over the face's box, relative to the photograph's in the same frame.
The background is the area farther from the person than a twenty-fourth of the frame, beside a head that turns by nine
degrees and nods; its structural similarity (Wang et al. 2004) to the photograph and the mean difference are the worst
of nine frames. Prints a Markdown table.
"""

import argparse
from pathlib import Path

import numpy as np

TURNS = [[0.08 * np.sin(i), 0.16 * np.cos(0.8 * i), 0.05 * np.sin(1.7 * i)] for i in range(9)]


def sharpness(frame: np.ndarray, box: tuple[slice, slice]) -> float:
    """Variance of the Laplacian of a frame's (h, w, 3) ``box``, at 384 pixels a side."""
    from PIL import Image
    from scipy.ndimage import laplace

    gray = Image.fromarray(frame[box]).convert("L").resize((384, 384), Image.Resampling.BOX)
    return float(laplace(np.asarray(gray, np.float32)).var())


def similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Structural similarity of two frames (h, w, 3) at each pixel."""
    from scipy.ndimage import uniform_filter

    a, b = (x.mean(2) for x in (a, b))
    mean = lambda x: uniform_filter(x, 7)
    ma, mb = mean(a), mean(b)
    va, vb, both = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    c, d = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (2 * ma * mb + c) * (2 * both + d) / ((ma**2 + mb**2 + c) * (va + vb + d))


def measure(generator, path: Path, motion, size: int) -> tuple[float, ...]:
    """Sharpness; similarity and mean difference of the background with the person cut out, and without."""
    from scipy.ndimage import binary_dilation

    from gen import media
    from talking_head.face.points import OVAL
    from talking_head.render.film import film
    from talking_head.render.person import mask
    from talking_head.render.portrait import Portrait

    pixels = media.read_image(path)
    whole = generator.tracker.face(pixels)
    picture, face = generator.prepare(pixels, size)
    cut, plain = generator.portrait(pixels, size), Portrait(picture, face, generator.basis)
    low, high = (f(face.landmarks[OVAL, :2], 0).astype(int).clip(0) for f in (np.min, np.max))
    box = slice(low[1], high[1]), slice(low[0], high[0])
    shots = [sharpness(frame, box) for frame in film(cut, type(motion)(*(part[2::5] for part in motion)))]
    found = [float(np.median(shots)) / sharpness(picture, box)]
    person = mask(generator.matte, pixels, whole, picture, face).numpy() > 0.02
    away = ~binary_dilation(person, iterations=size // 24)
    for portrait in (cut, plain):
        frames = [portrait.frame(portrait.had, np.array(turn), 0.0, np.array([0.2, 0.1])) for turn in TURNS]
        found.append(min(float(similarity(frame, picture)[away].mean()) for frame in frames))
        found.append(max(float(np.abs(frame.astype(int) - picture)[away].mean()) for frame in frames))
    return tuple(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path, nargs="+")
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[320, 512])
    options = parser.parse_args()
    from gen import media
    from gen.emotion.spec import EmotionCurve
    from talking_head.pipeline import TalkGenerator

    generator = TalkGenerator.from_pretrained()
    motion = generator.speak(*media.read_audio(options.audio), EmotionCurve.parse("neutral"))
    print("| portrait | pixels | sharpness | background: SSIM, difference | without the mask |\n|---|---|---|---|---|")
    rows = {size: [] for size in options.sizes}
    for path in options.portraits:
        for size in options.sizes:
            rows[size].append(measure(generator, path, motion, size))
            _print(path.stem, size, rows[size][-1])
    for size, all_ in rows.items():
        _print(f"mean of {len(all_)}", size, np.mean(all_, 0))


def _print(name: str, size: int, row) -> None:
    sharp, ssim, off, bent, bent_off = row
    print(f"| {name} | {size} | {sharp:.2f} | {ssim:.4f}, {off:.2f} | {bent:.3f}, {bent_off:.1f} |", flush=True)


if __name__ == "__main__":
    main()
