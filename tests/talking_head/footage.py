"""A tiny copy of the training material's layout: invented motion that follows an invented sound."""

import json
from pathlib import Path

import numpy as np
from faces import tone
from tiny_whisper import whisper

from gen import media
from talking_head.face.points import INDEX

FRAMES = 50


def motion(seed: int) -> np.ndarray:
    t = np.arange(FRAMES) / 25
    coefs = np.random.default_rng(seed).normal(0, 0.005, (FRAMES, 52))
    coefs[:, INDEX["jawOpen"]] += 0.15 * (0.5 - 0.5 * np.cos(6 * np.pi * t))
    return coefs


def write(folder: Path) -> Path:
    """GRID, FACEGOOD, other clips, MEAD, neurosync, acted and aligned speech, a clip or two of each; ``ears``."""
    (folder / "ears").mkdir()
    whisper(folder / "ears" / "model.bin")
    place = folder / "face" / "motion"
    place.mkdir(parents=True)
    many = [f"clip{i}" for i in range(30)]  # enough that some are held out
    takes = ["1114_2_01", "1114_3_15"]
    for file, names, sound in (
        ("grid_s1", many, "grid_s1_audio"),
        ("facegood", takes, "facegood_audio"),
        ("other_clips", ["someone"], "other_audio"),
    ):
        for name in names:
            (place / sound).mkdir(exist_ok=True)
            media.write_audio(place / sound / f"{name}.flac", tone(FRAMES / 25), 16_000)
            (place / sound / f"{name}.flac").rename(place / sound / f"{name}.opus")
        stack(place / f"{file}.npz", names)
    for file in ("mead_silent", "neurosync"):
        names = [
            f"{a}{e}"
            for a in "AB"
            for e in ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")
        ]
        stack(place / f"{file}.npz", names, emotion=[n[1:] for n in names], actor=[n[0] for n in names])
    acted = folder / "speech" / "emotional" / "emodb"
    acted.mkdir(parents=True)
    media.write_audio(acted / "one.flac", tone(2.0), 16_000)
    (acted / "one.flac").rename(acted / "one.opus")
    aligned(folder / "speech" / "aligned")
    return folder


def stack(path: Path, names: list[str], **facts) -> None:
    coefs = np.concatenate([motion(i) for i in range(len(names))])
    if "emotion" in facts:
        kinds = {name: i for i, name in enumerate(dict.fromkeys(facts["emotion"]))}
        for i, name in enumerate(facts["emotion"]):
            coefs[i * FRAMES : (i + 1) * FRAMES, 20 + kinds[name]] += 0.5 * (kinds[name] > 0)
    np.savez(
        path,
        coefs=coefs.astype(np.float16),
        clip_names=np.array(names),
        offsets=np.arange(len(names) + 1) * FRAMES,
        **{k: np.array(v) for k, v in facts.items()},
    )


def aligned(folder: Path) -> None:
    folder.mkdir(parents=True)
    rows = []
    for voice in ("af_one", "af_nova"):
        media.write_audio(folder / f"{voice}.flac", tone(2.0), 16_000)
        (folder / f"{voice}.flac").rename(folder / f"{voice}.opus")
        rows.append(
            {
                "file": f"{voice}.opus",
                "voice": voice,
                "phones": ["^", "b", "ɑ", "m", "^"],
                "frames": [10, 10, 30, 10, 20],
                "frame_s": 0.025,
                "seconds": 2.0,
            }
        )
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
