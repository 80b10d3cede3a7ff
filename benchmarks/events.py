"""Events (compound words) per CPU second of MusER, compared with the upstream sampling loop on the same weights.

python -m benchmarks.events [--checkpoint NAME] [--repeats N]: random weights, or a checkpoint's for the compact size.
Prints tables and writes benchmarks/results/events.md.
"""

import argparse
import time
from pathlib import Path

import torch

from gen import checkpoints
from gen.emotion.spec import EmotionCurve
from gen.nn import by_column
from music.muser.generate import Prompt, randoms, sample_codes, sample_rows
from music.muser.model import MusER
from music.muser.prior import Prior
from music.muser.sizes import configs
from music.pipeline import MusicGenerator
from music.tokens import BAR, CONTI, FIRST_BEAT, METRICAL, NOTE, START, TYPE, Vocabulary

BARS = 8
WHOLE = 1024  # steps of the upstream networks
ABOUT = f"""Best of {{repeats}} runs of {BARS} bars. A bar is a Bar row, nine positions and eighteen notes, as an
average bar of EMOPIA: every sample is drawn, then replaced, so that the rows are typical for any weights. An event
is one row; CPU-seconds are those of the process, with one thread, without guidance (which doubles the batch).
The last columns are for batch 1: after each event the upstream loop runs all {WHOLE} steps of the global and the seven
element decoders again; this is measured on {{few}} events."""


class Overruled(Prompt):
    """A prompt that is applied step by step, not read at once."""

    def shared(self) -> torch.Tensor:
        return self.ids[:, :0]


def typical() -> torch.Tensor:
    """Rows (1, n, 7) of BARS average bars."""
    rows = []
    for bar in range(BARS):
        rows.append((0, 0, BAR, METRICAL, 0, 0, 0))
        for place, beat in enumerate((0, 2, 4, 5, 6, 8, 10, 12, 14)):
            opens = place == 0
            tempo, chord = 20 + bar if opens else CONTI, 5 + bar if opens else CONTI
            rows.append((tempo, chord, FIRST_BEAT + beat, METRICAL, 0, 0, 0))
            rows += [(0, 0, 0, NOTE, 50 + beat, 4, 20), (0, 0, 0, NOTE, 30, 8, 18)]
    return torch.tensor(rows)[None]


def networks(size: str, checkpoint: str | None) -> tuple[MusER, Prior]:
    if checkpoint:
        return tuple(
            checkpoints.load(checkpoint, kind, part).float().eval()
            for kind, part in ((MusER, "autoencoder"), (Prior, "prior"))
        )
    torch.manual_seed(0)
    autoencoder, prior = configs(size)
    model = MusER(**autoencoder | {"reducer": "mean"}).eval()
    return model, Prior(size=model.codebook.size, slots=model.codebook.slots, **prior).eval()


def seconds(run, repeats: int) -> float:
    """The minimum CPU time of several runs, after a warm-up run."""
    run()
    spent = []
    for _ in range(repeats):
        begun = time.process_time()
        run()
        spent.append(time.process_time() - begun)
    return min(spent)


def sampled(model: MusER, prior: Prior, batch: int, repeats: int) -> tuple[float, float]:
    """CPU seconds per event of the decoder and of the prior."""
    rows = typical().expand(batch, -1, -1)
    codes, length = model.codes(rows[:1]).expand(batch, -1, -1), torch.full((batch,), rows.shape[1])
    conditions = [torch.randn(batch, BARS, len(network.emotion.null)) for network in (model, prior)]
    uniforms = [randoms(list(range(batch)), rows.shape[1] + 1, width) for width in (7, codes.shape[2])]
    play = lambda: sample_rows(model, list(codes), conditions[0], Overruled(rows, length), uniforms[0])
    step_prior = lambda: sample_codes(prior, conditions[1], BARS, 1, Overruled(codes, length), uniforms[1])
    return tuple(seconds(run, repeats) / batch / rows.shape[1] for run in (play, step_prior))


@torch.inference_mode()
def recomputed(model: MusER, prior: Prior, few: int) -> tuple[float, float]:
    """CPU seconds per event of the decoder and of the prior if each event recomputes all steps."""
    rows = typical().repeat(1, -(-WHOLE // typical().shape[1]), 1)[:, :WHOLE]
    codes = model.codes(rows)
    conditions = [torch.randn(1, WHOLE, len(network.emotion.null)) for network in (model, prior)]
    previous = torch.cat((rows[:, :1] * 0, rows[:, :-1]), 1)
    previous[:, 0, TYPE] = START

    def play():
        z = model.latents(codes)
        hidden = model.hidden(previous, conditions[0], model.remember(z))
        for element in range(7):
            x = model.element(element, model.element_input(element, hidden, z))
            model.logits(element, x[:, -1:], rows[:, -1:, TYPE])

    def step_prior():
        hidden = prior.hidden(codes, conditions[1], torch.zeros_like(codes[..., 0]))
        for slot in range(prior.config.slots):
            prior.logits(hidden[:, -1:], codes[:, -1:], slot)

    return seconds(play, few), seconds(step_prior, few)


def piece(checkpoint: str | None) -> tuple[float, float, int]:
    """Wall and CPU seconds for one piece of 16 bars by a warm compact model, and its events."""
    torch.set_num_threads(2)
    made = (
        MusicGenerator.from_pretrained(checkpoint)
        if checkpoint
        else MusicGenerator(*networks("compact", None), Vocabulary.default())
    )
    happy = EmotionCurve.parse("happy")
    made.compose([happy], 1, [0])
    wall, spent = time.perf_counter(), time.process_time()
    (result,) = made.compose([happy], 16, [1])
    wall, spent = time.perf_counter() - wall, time.process_time() - spent
    torch.set_num_threads(1)
    return wall, spent, len(result.tokens)


def report(checkpoint: str | None, repeats: int, few: int = 3) -> str:
    lines = [
        "# Events per CPU-second",
        "",
        ABOUT.format(repeats=repeats, few=few),
        "",
        "| size | batch | decoder | prior | both | decoder, upstream loop | times faster | both, upstream loop | ",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size in ("paper", "compact"):
        model, prior = networks(size, checkpoint if size == "compact" else None)
        for one in (model, prior):
            by_column(one)
        for batch in (1, 16):
            play, step_prior = sampled(model, prior, batch, repeats)
            row = f"| {size} | {batch} | {1 / play:.0f} | {1 / step_prior:.0f} | {1 / (play + step_prior):.0f} |"
            if batch == 1:
                replay, replay_prior = recomputed(model, prior, few)
                row += f" {1 / replay:.2f} | {replay / play:.0f} | {1 / (replay + replay_prior):.2f} |"
            else:
                row += " | | |"
            lines.append(row)
    wall, spent, events = piece(checkpoint)
    lines += [
        "",
        f"A piece of 16 bars ({events} events) by the compact model, warm, with the default "
        f"settings, where torch may use two threads: {wall:.1f} s, {spent:.1f} CPU-seconds.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", help="of the compact size")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    text = report(options.checkpoint, options.repeats)
    print(text)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "events.md").write_text(text)


if __name__ == "__main__":
    main()
