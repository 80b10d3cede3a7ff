"""Sampling from MusER: codes from the prior, then rows from the two-level decoder, one step at a time from a state.

The grammar holds by masks, so every piece is valid: a bar opens with a position, a position has notes, notes of a chord
go down, an end comes after the last bar asked for. Batched; each item has random numbers of its own, so a seed
gives the same piece in any batch (up to rounding).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gen.diffusion import guide
from gen.nn import lengths_to_mask
from music.muser.model import MusER
from music.muser.prior import FAR, Prior
from music.tokens import (
    APPLIES,
    BAR,
    BEAT,
    CHORD,
    CONTI,
    FIRST_BEAT,
    METRICAL,
    NOTE,
    PITCH,
    POSITIONS,
    START,
    TEMPO,
    TYPE,
)  # fmt: skip

BAR_ROWS = 64  # rows after which a bar is closed whatever the prior says
Progress = Callable[[float], None]


class Prompt(NamedTuple):
    """What each item begins with: ids (b, p, ...) of which the first ``lengths`` (b,) exist."""

    ids: Tensor
    lengths: Tensor

    def force(self, step: int, chosen: Tensor) -> Tensor:
        """``chosen`` (b, k), or the prompt where it still lasts."""
        if step >= self.ids.shape[1]:
            return chosen
        return torch.where((step < self.lengths)[:, None], self.ids[:, step], chosen)


class Choice(NamedTuple):
    """How one kind of id is drawn: softmax temperature and nucleus mass."""

    temperature: float = 1.0
    nucleus: float = 0.95


CODE = Choice(1.0, 0.95)
ROW = Choice(0.5, 0.9)  # the code has made the choice; at 1 one note in nineteen falls out of its key, at 0.5 one in 45


def draw(logits: Tensor, choice: Choice, uniform: Tensor) -> Tensor:
    """Logits (b, k), uniform numbers (b,) -> ids (b,) from the smallest set of mass ``nucleus``."""
    p, order = (logits.float() / max(choice.temperature, 1e-4)).softmax(-1).sort(-1, descending=True)
    mass = p.cumsum(-1)
    p = torch.where(mass - p < choice.nucleus, p, 0.0)
    mass = p.cumsum(-1)
    place = (mass < (uniform * mass[:, -1])[:, None]).sum(-1)
    return order.gather(1, place[:, None].clamp_max(p.shape[1] - 1))[:, 0]


def randoms(seeds: list[int], steps: int, each: int) -> Tensor:
    """(b, steps, each) uniform numbers, row i from seed i alone."""
    return torch.stack([torch.rand(steps, each, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def branches(condition: Tensor, null: Tensor, scale: float) -> Tensor:
    """Conditions (b, ..., c) -> the batch to run: themselves, or with the null's copies before them when guiding."""
    return condition if scale == 1 else torch.cat((null.expand_as(condition), condition))


def guided(logits: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return logits
    null, full = logits.float().log_softmax(-1).chunk(2)
    return guide({"null": null, "emotion": full}, {"emotion": scale})


@torch.inference_mode()
def sample_codes(
    prior: Prior, condition: Tensor, bars: int, more: int, prompt: Prompt, uniforms: Tensor, *, guidance: float = 1.0,
    temperature: float = 1.0, progress: Progress = lambda done: None,
) -> list[Tensor]:  # fmt: skip
    """Codes (n_i, s) of each item: its ``prompt`` of codes and what follows until ``bars`` bars are complete.

    ``condition`` (b, bars, c) per bar, of the prompt's bars too; ``more`` bars are to follow this passage, so the
    end comes in sight only when the music's own end is near. ``uniforms`` (b, steps, s).
    """
    scale, batch, slots = guidance, len(condition), prior.config.slots
    conditions = branches(condition, prior.emotion.null, scale)
    copies = len(conditions) // batch
    states = [block.attention.state(len(conditions), uniforms.shape[1] + 1) for block in prior.blocks]
    previous = torch.full((batch, slots), prior.start, dtype=torch.long, device=condition.device)
    begun, since = (torch.zeros(batch, dtype=torch.long, device=condition.device) for _ in range(2))
    ended = torch.zeros(batch, dtype=torch.bool, device=condition.device)
    codes = []
    for step in range(uniforms.shape[1]):
        bar, left = (begun - 1).clamp_min(0), bars - begun
        now = conditions.gather(1, bar.repeat(copies)[:, None, None].expand(-1, 1, conditions.shape[2]))
        to_go = (left + more).repeat(copies)[:, None]
        hidden = prior.hidden(previous.repeat(copies, 1)[:, None], now, to_go.clamp_max(FAR), states)
        chosen = previous.new_zeros(batch, slots)
        for slot in range(slots):
            logits = guided(prior.logits(hidden, chosen.repeat(copies, 1)[:, None], slot)[:, 0], scale)
            first = chosen[:, 0] if slot else None
            _allow_codes(prior, logits, begun, since, left, first)
            chosen[:, slot] = draw(logits, Choice(temperature, CODE.nucleus), uniforms[:, step, slot])
        chosen = prompt.force(step, chosen)
        is_bar, is_end = chosen[:, 0] == prior.bar, chosen[:, 0] == prior.end
        begun, since = begun + is_bar.long(), torch.where(is_bar, 0, since + 1)
        ended |= is_end
        codes.append(chosen)
        previous = chosen
        progress(float(begun.min()) / bars)
        if ended.all():
            break
    return [item[: _length(item[:, 0] == prior.end)] for item in torch.stack(codes, 1)]


def _allow_codes(
    prior: Prior, logits: Tensor, begun: Tensor, since: Tensor, left: Tensor, first: Tensor | None
) -> None:
    """Forbid in place (b, k): a bar or an end before a position and a note, a bar too many, an end too soon."""
    if first is not None:  # the other slots of a step follow its first
        special = first >= prior.bar
        logits[:, : prior.bar] = logits[:, : prior.bar].masked_fill(special[:, None], -torch.inf)
        marks = torch.arange(prior.bar, prior.bar + 2, device=logits.device)
        logits[:, prior.bar :] = logits[:, prior.bar :].masked_fill(marks != first[:, None], -torch.inf)
        logits[special, first[special]] = 0.0
        return
    short, none = (since < 2) & (begun > 0), begun == 0
    full = since >= BAR_ROWS
    logits[:, prior.bar].masked_fill_(short | ((left <= 0) & ~none), -torch.inf)
    logits[:, prior.end].masked_fill_(short | (left > 0) | none, -torch.inf)
    logits[:, : prior.bar] = logits[:, : prior.bar].masked_fill((none | full)[:, None], -torch.inf)


def _length(end: Tensor) -> int:
    return int(end.float().argmax()) if end.any() else len(end)


class Held(NamedTuple):
    """What a batch of unfinished pieces stands at; all (b,)."""

    previous: Tensor  # kind of the last row: 0 bar, METRICAL, NOTE
    beat: Tensor  # id of the last position of this bar, 1 when it has none
    pitch: Tensor  # id of the last note of this position, 0 when it has none
    fresh: Tensor  # no position yet in the piece


@torch.inference_mode()
def sample_rows(
    model: MusER, codes: list[Tensor], condition: Tensor, prompt: Prompt, uniforms: Tensor, *, guidance: float = 1.0,
    progress: Progress = lambda done: None,
) -> list[Tensor]:  # fmt: skip
    """Rows (n_i, 7) that spell the codes (n_i, s) of each item; the first are its ``prompt``.

    ``condition`` (b, bars, c) per bar; ``uniforms`` (b, steps, 7).
    """
    player = Player(model, codes, condition, guidance)
    batch = len(codes)
    rows = torch.zeros(batch, player.steps, 7, dtype=torch.long, device=condition.device)
    held = Held(*(rows.new_zeros(batch) for _ in range(3)), torch.ones(batch, dtype=torch.bool, device=rows.device))
    previous = rows[:, 0].clone()
    previous[:, TYPE] = START
    for step in range(player.steps):
        heads = player.advance(step, previous)
        row = _choose(player, heads, step, held, uniforms[:, step])
        row = prompt.force(step, row)
        is_bar, is_note = row[:, BEAT] == BAR, row[:, TYPE] == NOTE
        held = Held(
            torch.where(is_bar, 0, row[:, TYPE]),
            torch.where(is_bar, BAR, torch.where(is_note, held.beat, row[:, BEAT])),
            torch.where(is_note, row[:, PITCH], 0),
            held.fresh & ~((row[:, TYPE] == METRICAL) & ~is_bar),
        )
        rows[:, step] = previous = row
        if step % 16 == 0:
            progress(step / player.steps)
    return [item[: len(code)] for item, code in zip(rows, codes, strict=True)]


class Player:
    """The decoder's side of sampling: states, the conditions of each step, and which element decoders are due.

    An element decoder is only asked for at rows that set its element, but must have read every row. Its inputs wait
    until then and are read in one go, which gives the same numbers for less work.
    """

    def __init__(self, model: MusER, codes: list[Tensor], condition: Tensor, guidance: float):
        self.model, self.scale = model, guidance
        self.steps = max(len(code) for code in codes)
        padded = torch.nn.utils.rnn.pad_sequence(codes, batch_first=True)  # (b, n, s)
        mask = lengths_to_mask(torch.tensor([len(c) for c in codes], device=padded.device), self.steps)
        self.is_bar = (padded[..., 0] == model.bar) & mask
        self.last = ~torch.cat((mask[:, 1:], mask.new_zeros(len(codes), 1)), 1)
        self.before_bar = torch.cat((self.is_bar[:, 1:], mask.new_ones(len(codes), 1)), 1) | self.last
        bar = (self.is_bar.cumsum(1) - 1).clamp_min(0)
        steps = condition.gather(1, bar[..., None].expand(-1, -1, condition.shape[2]))
        self.condition = branches(steps, model.emotion.null, guidance)
        self.copies = len(self.condition) // len(codes)
        z = model.latents(padded if padded.shape[2] > 1 else padded[..., 0])
        self.z = z.repeat(self.copies, 1, 1)
        self.memory = model.remember(self.z, mask.repeat(self.copies, 1))
        size = len(self.condition)
        self.states = [block.attention.state(size, self.steps) for block in model.decoder_layers]
        self.element_states = [[b.attention.state(size, self.steps) for b in layers] for layers in model.element_layers]
        self.waiting: list[list[Tensor]] = [[] for _ in range(7)]

    def advance(self, step: int, previous: Tensor) -> Tensor:
        """Rows (b, 7) before this step -> the hidden state (b', 1, width), queued for every element decoder."""
        now = self.condition[:, step : step + 1]
        hidden = self.model.hidden(previous.repeat(self.copies, 1)[:, None], now, self.memory, self.states)
        for element in range(7):
            self.waiting[element].append(self.model.element_input(element, hidden, self.z[:, step : step + 1]))
        return hidden

    def logits(self, element: int, kind: Tensor | None = None) -> Tensor:
        """Logits (b, classes) of an element for this step; reads all that waits for its decoder."""
        x = self.model.element(element, torch.cat(self.waiting[element], 1), self.element_states[element])[:, -1:]
        self.waiting[element] = []
        kind = None if kind is None else kind.repeat(self.copies)[:, None]
        return guided(self.model.logits(element, x, kind)[:, 0], self.scale)


def _choose(player: Player, hidden: Tensor, step: int, held: Held, uniform: Tensor) -> Tensor:
    """One row (b, 7) under the grammar."""
    is_bar, closing = player.is_bar[:, step], player.before_bar[:, step]
    row = torch.zeros(len(is_bar), 7, dtype=torch.long, device=is_bar.device)
    must_open = held.previous == 0
    may_open = must_open | ((held.previous == NOTE) & (held.beat < FIRST_BEAT + POSITIONS - 1) & ~closing)
    may_sound = (held.previous == METRICAL) | ((held.previous == NOTE) & ((held.pitch > 1) | ~may_open))
    kinds = player.logits(TYPE)
    allowed = torch.zeros_like(kinds, dtype=torch.bool)
    allowed[:, METRICAL], allowed[:, NOTE] = may_open, may_sound
    kind = draw(kinds.masked_fill(~allowed, -torch.inf).nan_to_num(neginf=-1e9), ROW, uniform[:, TYPE])
    kind = torch.where(is_bar, METRICAL, kind)
    row[:, TYPE] = kind
    for due, elements in APPLIES.items():
        rows = (kind == due) & ~is_bar
        if rows.any():
            for element in elements:
                logits = player.logits(element, kind)
                _allow(element, logits, held, must_open)
                ids = draw(logits, ROW, uniform[:, element])
                row[:, element] = torch.where(rows, ids, 0)
    row[is_bar, BEAT] = BAR
    return row


def _allow(element: int, logits: Tensor, held: Held, opens_bar: Tensor) -> None:
    """Forbid in place (b, k) what the grammar forbids for one element of a row that sets it."""
    ids = torch.arange(logits.shape[1], device=logits.device)
    forbidden = (ids == 0).expand(logits.shape).clone()
    if element == BEAT:
        forbidden |= ids <= held.beat.clamp_min(BAR)[:, None]
    elif element == TEMPO:  # a tempo stands at the first position of a bar, and at the first of all it must
        forbidden |= (~opens_bar[:, None] & (ids != CONTI)) | (held.fresh[:, None] & (ids == CONTI))
    elif element == CHORD:
        forbidden |= held.fresh[:, None] & (ids == CONTI)
    elif element == PITCH:
        forbidden |= (ids >= held.pitch[:, None]) & (held.pitch[:, None] > 1)
    logits.masked_fill_(forbidden, -torch.inf)
    logits.nan_to_num_(neginf=-1e9)
