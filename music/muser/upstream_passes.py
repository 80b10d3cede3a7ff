"""Generates with MusER's upstream weights (see :mod:`music.muser.upstream`), which have no bar counts.

The prior predicts codes from the emotion, given once; the decoder then writes rows with bar lines, under the same
grammar. A passage ends with the requested bars, where the decoder ends the piece, or with its last code; while bars are
missing, the next passage continues from the last ones.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gen.emotion.spec import EmotionCurve
from gen.emotion.track import track
from gen.notes import note
from music.keys import last_bars
from music.muser.generate import BAR_ROWS, Choice, Held, Player, Prompt, Teller, draw, draw_element, randoms
from music.muser.model import MusER
from music.muser.passes import BAR_LINE, CONTEXT
from music.muser.prior import Prior
from music.tokens import (
    APPLIES,
    BAR,
    BEAT,
    CHORD,
    DURATION,
    EOS,
    FIRST_BEAT,
    METRICAL,
    NOTE,
    PITCH,
    POSITIONS,
    START,
    TEMPO,
    TYPE,
    VELOCITY,
)

WHOLE = 1024  # steps of a passage, as in training
NUCLEUS = 0.9  # of codes
CHOICES = {  # temperature and nucleus of each element, as published
    TEMPO: Choice(1.2, 0.9),
    CHORD: Choice(1.0, 0.99),
    BEAT: Choice(1.2, 1.0),
    TYPE: Choice(1.0, 0.9),
    PITCH: Choice(1.0, 0.9),
    DURATION: Choice(2.0, 0.9),
    VELOCITY: Choice(5.0, 1.0),
}


class UpstreamPasses:
    """Pieces made side by side; a passage's emotion is that of its first new bar. No guidance, and no choice."""

    def __init__(
        self,
        generator,
        curves: Sequence[EmotionCurve],
        seeds: Sequence[int],
        bars: int,
        guidance: float,
        temperature: float,
        candidates: int,
        returns: Mapping,
    ):
        """``returns`` is empty: passages are drawn whole."""
        self.generator, self.curves, self.seeds, self.bars = generator, curves, seeds, bars
        self.temperature = temperature
        if guidance != 1:
            note("This model never learned music without an emotion, so guidance changes nothing.")
        if any(len(curve.keyframes) > 1 for curve in curves):
            note("This model is told an emotion once for each passage: that of the passage's first bar.")

    def run(self, opening: np.ndarray | None, progress: Callable[[float], None]) -> list[np.ndarray]:
        """Rows (T, 7) of each piece, the opening's included."""
        opening = np.zeros((0, 7), np.int64) if opening is None else opening.astype(np.int64)
        done, made = [opening] * len(self.seeds), [0] * len(self.seeds)
        while min(made) < self.bars:
            items = [i for i, bars in enumerate(made) if bars < self.bars]
            for i, rows in zip(items, self._next(items, done, made), strict=True):
                done[i] = np.concatenate((done[i], rows))
                made[i] += int((rows[:, BEAT] == BAR).sum())
            progress(min(made) / self.bars)
        return done

    def _next(self, items: list[int], done: list[np.ndarray], made: list[int]) -> list[np.ndarray]:
        """The next bars of some pieces, at least one each."""
        g = self.generator
        rows = [torch.from_numpy(np.concatenate((_context(done[i]), BAR_LINE))).to(g.device) for i in items]
        lengths = torch.tensor([len(r) for r in rows], device=g.device)
        wanted = torch.tensor([self.bars - made[i] for i in items], device=g.device)
        steps = min(WHOLE, int(lengths.max()) + int(wanted.max()) * (BAR_ROWS + 2))
        seeds = [self.seeds[i] * 1_000_003 + made[i] * 2 for i in items]
        told, drawn = [], []
        for stage, (model, width) in enumerate(((g.prior, 1), (g.autoencoder, 7))):
            prepared = model.emotion.prepare([track(self.curves[i], [float(made[i])]) for i in items])
            told.append(model.emotion(**{name: x.to(g.device) for name, x in prepared.items()}).tokens)
            drawn.append(randoms([seed + stage for seed in seeds], steps, width).to(g.device))
        codes = [g.autoencoder.codes(r[None])[0] for r in rows]
        prompt = Prompt(pad_sequence(codes, batch_first=True), lengths)
        codes = tell(g.prior, told[0], prompt, drawn[0], self.temperature)
        prompt = Prompt(pad_sequence(rows, batch_first=True), lengths)
        fresh = play(g.autoencoder, codes, told[1], prompt, wanted, drawn[1])
        return [r[n - 1 :].cpu().numpy() for r, n in zip(fresh, lengths.tolist(), strict=True)]


def _context(rows: np.ndarray) -> np.ndarray:
    """The last bars that a passage hears, half of it at most."""
    for count in range(CONTEXT, 0, -1):
        if len(heard := last_bars(rows, count)) <= WHOLE // 2:
            return heard
    return rows[:0]


def once(condition: Tensor, null: Tensor) -> Tensor:
    """Conditions (b, 1, c) -> (b, 2, c): of the first step, and of all others."""
    return torch.cat((condition, null.expand_as(condition)), 1)


@torch.inference_mode()
def tell(prior: Prior, condition: Tensor, prompt: Prompt, uniforms: Tensor, temperature: float) -> Tensor:
    """Codes (b, steps, 1): the prompt and what follows; condition (b, 1, c), uniforms (b, steps, 1)."""
    batch, steps, _ = uniforms.shape
    teller = Teller(prior, once(condition, prior.emotion.null), prior.emotion.null, 2, steps, guidance=1.0)
    start = prompt.ids.new_full((batch, 1, 1), prior.start)
    known = torch.cat((start, prompt.shared()), 1)
    first = torch.arange(known.shape[1], device=known.device).clamp_max(1) + 1  # "bar" 1, then "bar" 2 of two
    teller.advance(known, first.expand(batch, -1))
    codes = [*known.unbind(1)]
    for step in range(known.shape[1] - 1, steps):
        chosen = draw(teller.logits(0), Choice(temperature, NUCLEUS), uniforms[:, step, 0])[:, None]
        codes.append(prompt.force(step, chosen))
        if step + 1 < steps:
            teller.advance(codes[-1][:, None], first[:1].expand(batch, 1) + 1)
    return torch.stack(codes[1:], 1)


@torch.inference_mode()
def play(
    model: MusER,
    codes: Tensor,
    condition: Tensor,
    prompt: Prompt,
    wanted: Tensor,
    uniforms: Tensor,
    z: Tensor | None = None,
) -> list[Tensor]:
    """Rows (n_i, 7) of each item: its prompt, whose last row is a bar line, and what completes ``wanted`` (b,) bars or
    as many as come. Codes (b, steps, 1), condition (b, 1, c), uniforms (b, steps, 7); ``z`` (b, steps, 112) are latents
    in place of the codes'."""
    player, known = Player(model, list(codes), condition, 1.0, z), prompt.shared()
    later = model.emotion.null.expand(len(codes), codes.shape[1] - 1, -1)
    player.tell(torch.cat((condition, later), 1))
    start = torch.zeros_like(known[:, 0])
    start[:, TYPE] = START
    rows, held = [start, *known.unbind(1)], Held.nothing(wanted)
    for row in rows[1:]:
        held = held.after(row)
    player.advance(torch.stack(rows[:-1], 1))
    since, end = torch.zeros_like(wanted), torch.full_like(wanted, player.steps)
    bars = torch.ones_like(wanted)  # the prompt's last bar line opens the first
    for step in range(known.shape[1], player.steps):
        player.advance(rows[-1][:, None])
        row = prompt.force(step, _choose(player, held, since >= BAR_ROWS, uniforms[:, step]))
        rows.append(row)
        held = held.after(row)
        is_bar, new = row[:, BEAT] == BAR, step >= prompt.lengths
        bars, since = bars + (is_bar & new), torch.where(is_bar | ~new, 0, since + 1)
        over = new & ((row[:, TYPE] == EOS) | (bars > wanted))
        end = torch.where(over, end.clamp_max(step), end)
        if (end <= step).all():
            break
    made = torch.stack(rows[1:], 1)
    return [_complete(item, at, player.steps) for item, at in zip(made, end.tolist(), strict=True)]


def _complete(rows: Tensor, end: int, steps: int) -> Tensor:
    """The rows before ``end``, without the last bar if the passage had no room to end it."""
    return rows[:end] if end < steps else rows[: int((rows[:, BEAT] == BAR).nonzero()[-1])]


def _choose(player: Player, held: Held, full: Tensor, uniform: Tensor) -> Tensor:
    """One row (b, 7) under the grammar, a bar line or an end included; a ``full`` bar goes on with neither note nor
    position."""
    begun, after = held.previous == 0, held.previous == NOTE
    may_open = begun | (after & ~full & (held.beat < FIRST_BEAT + POSITIONS - 1))
    kinds = player.logits(TYPE)
    allowed = torch.zeros_like(kinds, dtype=torch.bool)
    allowed[:, METRICAL], allowed[:, EOS] = may_open | after, after
    allowed[:, NOTE] = (held.previous == METRICAL) | (after & ~full & (held.pitch > 1))
    kind = draw(kinds.masked_fill(~allowed, -1e9), CHOICES[TYPE], uniform[:, TYPE])
    row = torch.zeros(len(kind), 7, dtype=torch.long, device=kind.device)
    row[:, TYPE] = kind
    if (kind == METRICAL).any():
        beats = player.logits(BEAT, kind)
        ids = torch.arange(beats.shape[1], device=beats.device)
        later = may_open[:, None] & (ids > held.beat.clamp_min(BAR)[:, None])
        beats = beats.masked_fill(~(later | ((ids == BAR) & after[:, None])), -1e9)
        row[:, BEAT] = torch.where(kind == METRICAL, draw(beats, CHOICES[BEAT], uniform[:, BEAT]), 0)
    for due, elements in APPLIES.items():
        rows = (kind == due) & (row[:, BEAT] != BAR)
        for element in elements:
            if element != BEAT and rows.any():
                ids = draw_element(player, element, kind, held, uniform, CHOICES[element])
                row[:, element] = torch.where(rows, ids, 0)
    return row
