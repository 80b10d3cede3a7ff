"""Robustness of the watermark, its false alarm rate, and its level below the sound.

    python benchmarks/watermark.py SOUNDS... [--most 60] [--keys 40] [--out benchmarks/results/watermark.md]

SOUNDS are files or folders of recordings and of MIDI, rendered by the shipped piano. Each is marked, processed, and
tested whole and in crops of 5 s from random positions. False alarms: the unmarked crops, tested with the real pattern
and with those of other keys.
"""

import argparse
import io
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gen import media
from gen.marks import watermark

CROP, LONGEST, SHORTEST = 5.0, 20.0, 6.0  # seconds


def coded(codec: str, container: str, bits: int) -> Callable:
    """Encodes with a lossy codec and decodes, in memory."""
    import av

    def treat(samples: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=container) as out:
            stream = out.add_stream(codec, rate=rate, layout="mono", bit_rate=bits)
            frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
            frame.rate = rate
            for packet in (*stream.encode(frame), *stream.encode()):
                out.mux(packet)
        buffer.seek(0)
        with av.open(buffer) as source:
            convert = av.AudioResampler(format="fltp", layout="mono")
            parts = [part.to_ndarray()[0] for f in source.decode(audio=0) for part in convert.resample(f)]
        return np.concatenate(parts), rate

    return treat


def resampled(samples: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    import soxr

    return soxr.resample(soxr.resample(samples, rate, 16000), 16000, rate), rate


def rounded(samples: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    return np.round(np.clip(samples, -1, 1) * 32767) / 32767, rate


TREATMENTS = {
    "16-bit WAV": rounded,
    "AAC 96 kbit/s": coded("aac", "adts", 96_000),
    "MP3 128 kbit/s": coded("libmp3lame", "mp3", 128_000),
    "44.1 -> 16 -> 44.1 kHz": resampled,
    "AAC 64 kbit/s": coded("aac", "adts", 64_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sounds", type=Path, nargs="+")
    parser.add_argument("--most", type=int, default=60, help="sounds of each folder")
    parser.add_argument("--keys", type=int, default=40, help="patterns for the false alarms")
    parser.add_argument("--out", type=Path, help="also write the table there")
    options = parser.parse_args()
    dice, scores, level = np.random.default_rng(0), defaultdict(list), []
    for samples in sounds(options.sounds, options.most, dice):
        marked = watermark.embed(samples, 44100)
        level.append(below(samples, marked))
        for name, treat in TREATMENTS.items():
            treated, rate = treat(marked, 44100)
            scores[name, "whole"].append(watermark.detect(treated, rate).score)
            scores[name, "5 s"].append(watermark.detect(crop(treated, rate, dice), rate).score)
        plain = crop(samples, 44100, dice)
        scores["unmarked", "5 s"].append(watermark.detect(plain, 44100).score)
        scores["unmarked", "whole"].append(watermark.detect(samples, 44100).score)
        scores["other keys", "5 s"] += [watermark.detect(plain, 44100, key).score for key in range(options.keys)]
    text = table(scores, np.array(level))
    print(text)
    if options.out:
        options.out.write_text(f"{text}\n", encoding="utf-8")


def sounds(places: list[Path], most: int, dice: np.random.Generator):
    """Mono sounds at 44.1 kHz, from 6 s to 20 s; short recordings of a folder are concatenated."""
    for place in places:
        files = sorted(path for path in place.rglob("*") if path.suffix in (".wav", ".flac", ".ogg", ".opus", ".mid"))
        files, made, held = files or [place], 0, np.zeros(0, np.float32)
        for number in dice.permutation(len(files)):
            held = np.concatenate([held, heard(files[number])])
            if len(held) >= SHORTEST * 44100:
                yield held[: int(LONGEST * 44100)]
                made, held = made + 1, np.zeros(0, np.float32)
            if made == most:
                break


def heard(path: Path) -> np.ndarray:
    if path.suffix != ".mid":
        return media.read_audio(path, 44100)[0]
    from music import synth

    score = media.read_midi(path).to("second")
    score = score.clip(0, LONGEST - 2, clip_end=True)
    played = synth.render(score.to("tick"))
    return played if played.ndim == 1 else played.mean(0)


def crop(samples: np.ndarray, rate: int, dice: np.random.Generator) -> np.ndarray:
    """5 s from a random position with sound."""
    length = int(CROP * rate)
    for _ in range(20):
        at = int(dice.integers(0, max(1, len(samples) - length)))
        part = samples[at : at + length]
        if np.abs(part).max() > 0.05 * np.abs(samples).max():
            break
    return part


def below(samples: np.ndarray, marked: np.ndarray) -> float:
    """The level of the mark below the sound in dB."""
    return float(10 * np.log10(np.square(samples).sum() / np.square(marked - samples).sum()))


def table(scores: dict, level: np.ndarray) -> str:
    rows = ["| sound | length | n | found | median score | lowest |", "|---|---|---|---|---|---|"]
    for (name, length), values in scores.items():
        found = np.mean(np.array(values) >= watermark.FOUND)
        share = f"{found:.1%}" if found else f"0 (95 %: below {3 / len(values):.1e})"
        marked = name in TREATMENTS
        edge = f"{min(values):.1f}" if marked else f"highest {max(values):.1f}"
        rows.append(f"| {name} | {length} | {len(values)} | {share} | {np.median(values):.1f} | {edge} |")
    rows.append(
        f"\nThe mark is {np.median(level):.1f} dB below the sound (median; from {level.min():.1f} to "
        f"{level.max():.1f}); a tile of sound is {watermark.DEPTH} dB louder or softer."
    )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
