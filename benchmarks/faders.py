"""The variants of Music FaderNets' table and shares of labels, each trained for equal steps on the same bars.

    python -m benchmarks.faders --data DIR --out DIR

Equal steps, not equal time, so that machine load has no effect. Prints and writes ``benchmarks/results/faders.csv``,
and skips the rows that it has for these steps.
"""

import csv
from pathlib import Path

import numpy as np
import torch
import tyro

from music.evaluation.faders import reconstruction, repeated
from music.training.faders import VARIANTS, Bars, Batches, Learner, Settings, build, parts

NAMES = ("rhythm", "notes")
LABELS = (0.01, 0.1)  # share of EMOPIA's training songs; the other rows use all


def trained(
    learner: Learner, train: Bars, settings: Settings, steps: int, path: Path, labelled: float = 0.33
) -> Learner:
    """The learner after ``steps`` steps with a learning rate that decays to zero; saved in ``path``."""
    if path.exists():
        learner.load_state_dict(torch.load(path, weights_only=True))
        return learner.eval()
    torch.manual_seed(settings.seed)
    optimiser = torch.optim.AdamW(learner.parameters(), settings.rate, betas=(0.9, 0.98), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, steps, pct_start=0.1)
    batches = Batches(train, settings.batch, settings.seed, "cpu", labelled)
    for step in range(steps):
        loss, _ = learner(batches(), settings, min(step / (settings.warm * steps), 1.0))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
    torch.save(learner.state_dict(), path)
    return learner.eval()


@torch.inference_mode()
def accuracy(net, data) -> float:
    """Share of labelled held-out bars whose component in both spaces matches their arousal; 0 without labels."""
    if not net.config.mixture:
        return float("nan")
    batch = Batches(data, 1, 0, "cpu").of(np.flatnonzero(data.label >= 0))
    z = net.encode(batch["rows"], batch["lengths"]).mean
    return float((net.log_components(z).sum(1).argmax(-1) == batch["label"]).float().mean())


def main(
    data: Path, out: Path, steps: int = 1500, size: str = "small", batch: int = 64, pieces: int = 100, repeats: int = 3
) -> None:
    torch.set_num_threads(1)
    path = Path(__file__).parent / "results" / "faders.csv"
    runs = [(name, 1.0) for name in VARIANTS] + [("gm", share) for share in LABELS]
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["steps"] == str(steps)]
    known = {(row["variant"], float(row["labels"])) for row in rows}
    for variant, share in runs:
        if (variant, share) in known:
            continue
        settings, kept = Settings(size=size, variant=variant, labels=share, batch=batch), parts(data, out, share)
        kept_at = out / f"{variant}-{share:g}-{steps}.pt"
        net = trained(build(settings, kept["train"].attributes), kept["train"], settings, steps, kept_at).net
        found = repeated(net, kept["test"], kept["train"].attributes, pieces, repeats)
        count = sum(p.numel() for p in net.parameters())
        row = {"variant": variant, "labels": share, "steps": steps, "parameters": count}
        for measure, values in found.items():
            for i, name in enumerate(NAMES):
                row[f"{measure} {name}"] = f"{values[:, i].mean():.3f}"
                row[f"{measure} {name} sd"] = f"{values[:, i].std():.3f}"
        row["nats a note"] = f"{reconstruction(net, kept['test'], kept['train'].attributes):.2f}"
        row["arousal by component"] = f"{accuracy(net, kept['test']):.3f}"
        rows.append(row)
        print(row, flush=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    tyro.cli(main)
