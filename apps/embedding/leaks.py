"""Measures what a mean reveals beyond emotion: the speaker and the modality."""

import numpy as np

from apps.embedding.batches import HOME
from apps.embedding.corpus import Clip
from apps.embedding.export import REFERENCE, embed, references
from apps.embedding.measures import probe
from gen.emotion.embedding.network import EmotionEmbedder
from gen.emotion.spec import QUADRANTS
from gen.evaluate.bootstrap import mean_of
from gen.evaluate.report import Report


def identity(report: Report, models: dict[str, tuple[EmotionEmbedder, list[Clip]]]) -> None:
    """``models``: each with the held-out voices encoded by its own encoder."""
    report.section("Identity", "A linear probe identifies held-out speakers, trained on their other takes.")
    rows = []
    for how, (model, chosen) in models.items():
        group, people, texts = (np.array([getattr(c, f) for c in chosen]) for f in ("group", "person", "key"))
        others = references(chosen)
        seen = {
            "mean": embed(model, "voice", chosen),
            f"mean, against {REFERENCE} others of its speaker": embed(model, "voice", chosen, reference=others),
            "encoder's features": embed(model, "voice", chosen, encoded=True),
        }
        for what, x in seen.items():
            for name in np.unique(group):
                own = group == name
                right = probe(x.numpy()[own], people[own], texts[own])
                value = mean_of(right, texts[own])
                rows.append([f"{what}, {how}, {name}", value, 1 / len(np.unique(people[own]))])
    report.table("Speaker identified", ["what", "share", "chance"], rows)


def modality(report: Report, model: EmotionEmbedder, held: dict) -> None:
    """A linear probe separates voices from music, balanced by quadrant, tested on people and songs that it was not
    trained on.
    """
    home, rng, rows = np.array(HOME)[held["voice"].of("term")], np.random.default_rng(0), []
    corner = {"voice": home, "music": held["music"].of("quadrant")}
    chosen = {"voice": [], "music": []}
    for k in range(len(QUADRANTS)):
        own = {kind: np.flatnonzero(at == k) for kind, at in corner.items()}
        size = min(map(len, own.values()))
        for kind, places in own.items():
            chosen[kind] += rng.choice(places, size, replace=False).tolist()
    few = {kind: held[kind].only(np.isin(np.arange(len(corner[kind])), own)) for kind, own in chosen.items()}
    kinds = np.repeat([*few], [len(own.clips) for own in few.values()])
    people = np.concatenate([own.of("person") for own in few.values()])
    seen = {"mean": [own.mu for own in few.values()]}
    seen["encoder's features"] = [embed(model, kind, own.clips, encoded=True).numpy() for kind, own in few.items()]
    for what, x in seen.items():
        right = probe(np.concatenate(x), kinds, people)
        rows.append([what, mean_of(right, people), 0.5])
    report.section("Modality", "The same probe separates voices from pieces of music, with balanced quadrants.")
    report.table("Modality identified", ["what", "share", "chance"], rows)
