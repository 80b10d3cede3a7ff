"""Sounds that tests need: a voice made of harmonics, and the networks of the voice at their smallest."""

import csv
import json

import numpy as np
import torch

from gen import media
from gen.emotion.calibration import Calibration
from voice_conversion.average_voice import AverageVoice
from voice_conversion.emoreg.score import Score
from voice_conversion.features import RATE
from voice_conversion.pipeline import VoiceGenerator
from voice_conversion.prosody import SIZE, Prosody
from voice_conversion.speaker import SpeakerEncoder
from voice_conversion.vocoder import Vocoder

SHIFTS = {"happy": (0.4, 0.2, 0.1), "sad": (-0.2, -0.3, -0.3), "anger": (0.5, 0.2, 0.0)}


def voice(seconds=1.0, hz=140.0, seed=0, glide=0.2):
    """(s,) a buzz with two formants that rises by ``glide`` octaves, syllables apart."""
    t = np.arange(int(seconds * RATE)) / RATE
    track = hz * 2 ** (glide * t / max(seconds, 1e-6))
    phase = 2 * np.pi * np.cumsum(track) / RATE
    waves = sum(np.sin(k * phase) * (np.exp(-((k * hz - 600) / 300) ** 2) + 0.5 * np.exp(-((k * hz - 1500) / 400) ** 2))
                for k in range(1, int(4000 / hz)))  # fmt: skip
    syllables = np.clip(np.sin(2 * np.pi * 3 * t) + 0.6, 0, 1)
    noise = np.random.default_rng(seed).normal(0, 0.001, len(t))
    return (0.1 * waves * syllables + noise).astype(np.float32)


def table():
    from gen.emotion.spec import CANONICAL

    rows = np.zeros((len(CANONICAL), SIZE))
    for name, shift in SHIFTS.items():
        rows[CANONICAL.index(name), : len(shift)] = shift
    return rows


def models():
    """Encoder, decoder, vocoder and speaker encoder with random weights."""
    torch.manual_seed(0)
    decoder = Score(16, 2, 3, 8, "label")
    for weight in (decoder.out.weight, decoder.modulate.weight, *(block.mix.weight for block in decoder.blocks)):
        torch.nn.init.normal_(weight, std=0.2)
    return AverageVoice(4, 16, 2), decoder, Vocoder(16, 2, projections=2), SpeakerEncoder(16, 1)


def generator():
    return VoiceGenerator(*models(), Prosody(table()), Calibration.linear())


def write_data(place, acted, voices, seconds):
    """A data folder: ``acted`` rows of emotion, intensity, text and actor; one aligned clip for each of ``voices``."""
    emotional, aligned = place / "speech" / "emotional", place / "speech" / "aligned"
    emotional.mkdir(parents=True)
    aligned.mkdir()
    names = "file,set,language,emotion,intensity,speaker,gender,text,text_id,seconds,orig_label"
    with open(emotional / "labels.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(names.split(","))
        for i, (emotion, level, text, actor) in enumerate(acted):
            media.write_audio(emotional / f"{i}.wav", voice(seconds, 120 + 40 * (i % 3)), RATE)
            facts = ["ravdess", "en", emotion, level, f"ravdess:Actor_{actor}", "male", "words", f"{text}r0{i}"]
            table.writerow([f"{i}.wav", *facts, seconds, ""])
    share = [0.17, 0.25, 0.08, 0.04, 0.29, 0.17]  # of the length
    facts = {"text": "a b", "phones": ["^", "a", " ", "ˈ", "b", "^"], "frame_s": 0.025}
    with open(aligned / "rows.jsonl", "w") as file:
        for name in voices:
            media.write_audio(aligned / f"{name}.wav", voice(seconds), RATE)
            frames = [round(part * seconds / 0.025) for part in share]
            file.write(json.dumps({"file": f"{name}.wav", "voice": name, "frames": frames} | facts) + "\n")
    return place
