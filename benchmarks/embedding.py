"""Compares trainings of the shared embedding space: equal clips, voice encoder and steps.

    python benchmarks/embedding.py --data DATA --cache runs/emotion/cache [--steps 1000] [--seeds 0 1]

Each row changes one setting of ``affekt train emotion``; the voice encoder is the shipped one. Recall and mean average
precision are of held-out people and songs; ``who speaks`` is a linear probe's accuracy on EmoDB's two test speakers
(chance .5); ``axes`` counts the neck's axes with at least a hundredth of the strongest one's power.
Writes ``benchmarks/results/embedding.csv`` row by row, and resumes.
"""

import csv
from pathlib import Path

import numpy as np
import torch
import tyro

from apps.embedding import corpus, train
from apps.embedding.batches import middles
from apps.embedding.evaluate import Sound, found_across, predict, scores
from apps.embedding.export import learnt_from, references, whiten
from apps.embedding.measures import probe
from apps.embedding.speech import ACTED, Speech, prepare
from gen import checkpoints
from gen.emotion.embedding.network import EmotionEmbedder
from gen.emotion.spec import EMBEDDING

CANDIDATES = {
    "as shipped": {},
    "no contrast across people and arts": {"contrast": 0.0},
    "no alignment of the arts": {"alignment": 0.0},
    "relevance of axes": {"relevance": 0.3},
    "soft labels": {"soft": 0.3},
    "classes bound to points": {"dependence": 0.5},
}
COLUMNS = ("candidate", "seed", "voice", "voice, reference", "music", "face", "across", "who speaks", "axes")
RESULTS = Path("benchmarks/results/embedding.csv")


def measured(model: EmotionEmbedder, clips: dict[str, list[corpus.Clip]]) -> dict[str, str]:
    own = {kind: [clip for clip in some if clip.part == "test"] for kind, some in clips.items()}
    held = {kind: predict(model, kind, some) for kind, some in own.items()}
    held["referred"] = predict(model, "voice", own["voice"], references(own["voice"]))
    held["plainly"] = predict(model, "voice", own["voice"], references(own["voice"], 1, neutral=True))
    found = scores(held)
    german = held["voice"].only(held["voice"].of("group") == "emodb")
    named = probe(german.mu, german.of("person"), german.of("key")).mean()
    with torch.no_grad():
        vectors = torch.from_numpy(middles(learnt_from(clips)["voice"]))
        power = model.narrow(model.encode(heard=vectors)).square().mean(0)
    values = {
        "voice": found["voice alone, all sets"],
        "voice, reference": found["voice, 10 others of its speaker, all sets"],
        "music": found["music, quadrant"],
        "face": found["face, 8 classes, clips"],
    }
    row = {name: f"{value.value:.3f} ({value.low:.2f} to {value.high:.2f})" for name, value in values.items()}
    across = np.mean([value.value for value, _ in found_across(held).values()])
    return row | {
        "across": f"{across:.3f}",
        "who speaks": f"{named:.2f}",
        "axes": int((power > power.max() / 100).sum()),
    }


def main(data: Path, cache: Path, steps: int = 1000, seeds: tuple[int, ...] = (0, 1)) -> None:
    prepare(data, cache)
    speech, clips = Speech(cache), corpus.load(data, cache)
    encoder = checkpoints.load(EMBEDDING, EmotionEmbedder).float().voice
    sound = Sound(speech, cache)
    acted = sound.of(ACTED)
    heard = train.heard_clips(encoder, speech, "train")
    tested = speech.clips(acted, sound.heard(checkpoints.load(EMBEDDING, EmotionEmbedder).float(), acted))
    learnt = clips | {"voice": heard}
    done = set()
    if RESULTS.is_file():
        with open(RESULTS, newline="", encoding="utf-8") as file:
            done = {(row["candidate"], int(row["seed"])) for row in csv.DictReader(file)}
    for seed in seeds:
        for name, change in CANDIDATES.items():
            if (name, seed) in done:
                continue
            settings = train.Settings(steps=steps, seed=seed)._replace(**change)
            model, _ = train.space(learnt, settings, cache.parent / f"{name} {seed}", None, encoder)
            whiten(model, learnt)
            row = {"candidate": name, "seed": seed} | measured(model, clips | {"voice": heard + tested})
            print(row, flush=True)
            fresh = not RESULTS.is_file()
            with open(RESULTS, "a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS)
                if fresh:
                    writer.writeheader()
                writer.writerow(row)


if __name__ == "__main__":
    tyro.cli(main)
