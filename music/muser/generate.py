"""Sampling from MusER: codes from the prior, then rows from the two-level decoder, one step at a time from a state.

The grammar holds by masks, so every piece is valid: a bar opens with a position, a position has notes, notes of a chord
go down, an end comes after the last bar asked for. Batched; each item has random numbers of its own, so a seed
gives the same piece in any batch (up to rounding).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gen.diffusion import guide
from music.muser.condition import at_bar
from music.muser.model import SLOTS, MusER
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
)

ENDING = 1  # bars before the last in which the end is in sight; excerpts, all that EMOPIA has, never see theirs
BAR_ROWS = 64  # rows after which a bar is closed whatever the prior says
Progress = Callable[[float], None]


class Prompt(NamedTuple):
    """The prompt of each item: ids (b, p, ...) of which the first ``lengths`` (b,) exist."""

    ids: Tensor
    lengths: Tensor

    def shared(self) -> Tensor:
        """(b, p', ...) the steps that every item's prompt has: read at once, nothing to draw."""
        return self.ids[:, : int(self.lengths.min())]

    def force(self, step: int, chosen: Tensor) -> Tensor:
        """``chosen`` (b, k), or the prompt where it still lasts."""
        if step >= self.ids.shape[1]:
            return chosen
        return torch.where((step < self.lengths)[:, None], self.ids[:, step], chosen)


class Choice(NamedTuple):
    """Sampling of one kind of id: softmax temperature and nucleus mass."""

    temperature: float = 1.0
    nucleus: float = 0.95


CODE = Choice(1.0, 0.95)
ROW = Choice(0.5, 0.9)  # the code has made the choice, a row spells it out


def draw(logits: Tensor, choice: Choice, uniform: Tensor) -> Tensor:
    """Logits (b, k), uniform numbers (b,) -> ids (b,) from the smallest set of mass ``nucleus``."""
    p, order = (logits.float() / max(choice.temperature, 1e-4)).softmax(-1).sort(-1, descending=True)
    mass, last = p.cumsum(-1), p.shape[1] - 1
    kept = torch.searchsorted(mass, mass.new_full((len(mass), 1), choice.nucleus)).clamp_max(last)
    place = torch.searchsorted(mass, uniform[:, None] * mass.gather(-1, kept)).clamp_max(last)
    return order.gather(-1, place)[:, 0]


def randoms(seeds: list[int], steps: int, each: int) -> Tensor:
    """(b, steps, each) uniform numbers, row i from seed i alone."""
    return torch.stack([torch.rand(steps, each, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def branches(condition: Tensor, null: Tensor, scale: float) -> Tensor:
    """Conditions (b, ..., c) -> the batch to run: themselves, or with the null's copies before them when guiding."""
    return condition if scale == 1 else torch.cat((null.expand_as(condition), condition))


def copied(x: Tensor, copies: int) -> Tensor:
    return x if copies == 1 else torch.cat([x] * copies)


def summed(table: Tensor, ids: Tensor) -> Tensor:
    """Rows of a table (k, d) that ids (b, n, s) name, summed over s -> (b, n, d)."""
    return F.embedding_bag(ids.flatten(0, 1), table, mode="sum").unflatten(0, ids.shape[:2])


def guided(logits: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return logits
    null, full = logits.float().log_softmax(-1).chunk(2)
    return guide({"null": null, "emotion": full}, {"emotion": scale})


class Teller:
    """The prior's side of sampling: its states, the conditions of each bar, the bars that are to come.

    ``condition`` (b, bars, c) per bar, guided away from ``against`` (the like); ``bars`` until the music's own end,
    for up to ``steps`` steps.
    """

    def __init__(self, prior: Prior, condition: Tensor, against: Tensor, bars: int, steps: int, guidance: float):
        self.prior, self.bars, self.scale = prior, bars, guidance
        both = branches(condition, against, guidance)
        self.copies = len(both) // len(condition)
        self.ids, self.told = prior.entrance(both)
        self.first = torch.arange(prior.config.slots, device=both.device) * (prior.config.size + 3)
        self.states = [block.attention.state(len(both), steps) for block in prior.blocks]

    def advance(self, previous: Tensor, begun: Tensor) -> None:
        """Read the codes before each of n steps (b, n, s), and the bars begun by then (b, n)."""
        left = self.bars - begun
        left = torch.where(left > ENDING, FAR, left).clamp(0, FAR)
        said = summed(self.ids, previous + self.first) + self.prior.left(left)
        now = at_bar(self.told, copied((begun - 1).clamp_min(0), self.copies))
        self.hidden = self.prior.decode(copied(said, self.copies) + now, self.states)[:, -1]

    def logits(self, slot: int) -> Tensor:
        """(b, codes) of a slot of this step, when its earlier ones are chosen."""
        return guided(self.prior.heads[slot](self.hidden), self.scale)

    def choose(self, slot: int, code: Tensor) -> None:
        self.hidden = self.hidden + copied(self.prior.tables[slot](code), self.copies)


@torch.inference_mode()
def sample_codes(
    prior: Prior,
    condition: Tensor,
    bars: int,
    more: int,
    prompt: Prompt,
    uniforms: Tensor,
    *,
    guidance: float = 1.0,
    against: Tensor | None = None,
    temperature: float = 1.0,
    classes: list[int] | None = None,
    progress: Progress = lambda done: None,
) -> list[Tensor]:
    """Codes (n_i, s) of each item: its ``prompt`` of codes and what follows until ``bars`` bars are complete.

    ``condition`` (b, bars, c) per bar, of the prompt's bars too; ``more`` bars are to follow this passage, so the
    end comes in sight only when the music's own end is near, and the passage ends where one bar more would begin.
    ``uniforms`` (b, steps, s). ``guidance`` leads away from the conditions ``against``, or from no emotion. With
    ``classes``, the ids of each element, codes are ids, slot by slot, and keep to the grammar of rows already here.
    """
    batch, slots = len(condition), prior.config.slots
    against = prior.emotion.null if against is None else against
    teller = Teller(prior, condition, against, bars + more, uniforms.shape[1] + 1, guidance)
    start = torch.full((batch, 1, slots), prior.start, dtype=torch.long, device=condition.device)
    known = torch.cat((start, prompt.shared()), 1)
    begun = (known[..., 0] == prior.bar).cumsum(1)  # bars, before each step
    teller.advance(known, begun)
    since = (begun == begun[:, -1:]).sum(1) - 1  # steps after the last bar line
    begun, ended, codes = begun[:, -1], torch.zeros_like(begun[:, 0], dtype=torch.bool), [*known.unbind(1)]
    held = Held.nothing(begun) if classes else None
    for code in codes[1:] if classes else ():
        held = held.after(spelled(code, prior.bar))
    for step in range(known.shape[1] - 1, uniforms.shape[1]):
        chosen = _say(teller, begun, since, begun >= bars, more > 0, temperature, uniforms[:, step], held, classes)
        chosen = prompt.force(step, chosen)
        over = (chosen[:, :1] == prior.bar) & (begun >= bars)[:, None]
        chosen = torch.where(over, prior.end, chosen)
        held = held.after(spelled(chosen, prior.bar)) if classes else None
        is_bar = chosen[:, 0] == prior.bar
        begun, since = begun + is_bar, torch.where(is_bar, 0, since + 1)
        ended |= chosen[:, 0] == prior.end
        codes.append(chosen)
        progress(float(begun.min()) / bars)
        if ended.all():
            break
        teller.advance(chosen[:, None], begun[:, None])
    return [item[: _length(item[:, 0] == prior.end)] for item in torch.stack(codes[1:], 1)]


def _say(
    teller: Teller,
    begun: Tensor,
    since: Tensor,
    last: Tensor,
    goes_on: bool,
    temperature: float,
    uniform: Tensor,
    held: "Held | None",
    classes: list[int] | None,
) -> Tensor:
    """The codes (b, s) of one step, slot by slot; ``uniform`` (b, s); ``held`` and ``classes`` where codes are ids."""
    chosen = []
    for slot in range(uniform.shape[1]):
        logits = teller.logits(slot)
        if slot == 0:
            waits = torch.zeros_like(last) if held is None else held.previous == METRICAL
            _allow_codes(teller.prior, logits, begun, since, last, goes_on, waits)
            if held is not None:
                _allow_kinds(logits, held, teller.prior.bar)
        elif held is None:
            _follow(teller.prior, logits, chosen[0])
        else:
            _allow_ids(teller.prior, logits, SLOTS[slot], chosen[0], held, classes[SLOTS[slot]])
        chosen.append(draw(logits, Choice(temperature, CODE.nucleus), uniform[:, slot]))
        teller.choose(slot, chosen[slot])
    return torch.stack(chosen, 1)


def _allow_codes(
    prior: Prior, logits: Tensor, begun: Tensor, since: Tensor, last: Tensor, goes_on: bool, waits: Tensor
) -> None:
    """Forbid in place (b, k): a bar or an end before a position and a note, or where a position ``waits`` for one; an
    end before the ``last`` bar, a bar after it unless the music ``goes_on``, which is how such a passage ends."""
    short, none = (since < 2) & (begun > 0) | waits, begun == 0
    full = (since >= BAR_ROWS) & ~waits
    logits[:, prior.bar].masked_fill_(short if goes_on else short | (last & ~none), -torch.inf)
    logits[:, prior.end].masked_fill_(short | ~last | none | goes_on, -torch.inf)
    logits[:, : prior.bar] = logits[:, : prior.bar].masked_fill((none | full)[:, None], -torch.inf)


def _allow_kinds(logits: Tensor, held: "Held", bar: int) -> None:
    """Forbid in place (b, k) all types but a position where one may stand, and a note under the last one."""
    allowed = torch.zeros_like(logits[:, :bar], dtype=torch.bool)
    allowed[:, METRICAL] = (held.previous == 0) | (held.previous == NOTE) & (held.beat < FIRST_BEAT + POSITIONS - 1)
    allowed[:, NOTE] = (held.previous == METRICAL) | (held.previous == NOTE) & (held.pitch > 1)
    logits[:, :bar].masked_fill_(~allowed, -torch.inf)


def _allow_ids(prior: Prior, logits: Tensor, element: int, first: Tensor, held: "Held", count: int) -> None:
    """Forbid in place (b, k) those of the ``count`` ids of an element that may not come next, and all where the type
    ``first`` (b,) does not set it: such a slot says nothing, which is Bar's code."""
    (kind,) = (kind for kind, elements in APPLIES.items() if element in elements)
    due = first == kind
    logits[:, :count].masked_fill_(~due[:, None] | forbidden(element, held, count), -torch.inf)
    logits[:, count : prior.bar] = -torch.inf
    logits[:, prior.bar].masked_fill_(due | (first == prior.end), -torch.inf)
    logits[:, prior.end].masked_fill_(first != prior.end, -torch.inf)


def spelled(codes: Tensor, bar: int) -> Tensor:
    """Codes (b, 7) that are ids -> the rows (b, 7) that they name."""
    row = torch.where(codes < bar, codes, 0)[:, [SLOTS.index(e) for e in range(7)]]
    is_bar = codes[:, 0] >= bar
    row[:, BEAT] = torch.where(is_bar, BAR, row[:, BEAT])
    row[:, TYPE] = torch.where(is_bar, METRICAL, row[:, TYPE])
    return row


def _follow(prior: Prior, logits: Tensor, first: Tensor) -> None:
    """Forbid in place (b, k) of a step's later slots what does not go with its ``first`` code (b,)."""
    special = first >= prior.bar
    logits[:, : prior.bar] = logits[:, : prior.bar].masked_fill(special[:, None], -torch.inf)
    logits[:, prior.bar].masked_fill_(first == prior.end, -torch.inf)
    logits[:, prior.end].masked_fill_(first != prior.end, -torch.inf)


def _length(end: Tensor) -> int:
    return int(end.float().argmax()) if end.any() else len(end)


class Held(NamedTuple):
    """The state of a batch of unfinished pieces; all (b,)."""

    previous: Tensor  # kind of the last row: 0 bar, METRICAL, NOTE
    beat: Tensor  # id of the last position of this bar, 1 when it has none
    pitch: Tensor  # id of the last note of this position, 0 when it has none
    fresh: Tensor  # no position yet in the piece

    @classmethod
    def nothing(cls, like: Tensor) -> "Held":
        """As many pieces that have not begun as ``like`` (b,) has items."""
        zero = torch.zeros_like(like, dtype=torch.long)
        return cls(zero, zero, zero, zero == 0)

    def after(self, row: Tensor) -> "Held":
        """The state after one more row (b, 7)."""
        is_bar, is_note = row[:, BEAT] == BAR, row[:, TYPE] == NOTE
        return Held(
            torch.where(is_bar, 0, row[:, TYPE]),
            torch.where(is_note, self.beat, row[:, BEAT]),
            row[:, PITCH],
            self.fresh & (is_bar | is_note),
        )


@torch.inference_mode()
def sample_rows(
    model: MusER,
    codes: list[Tensor],
    condition: Tensor,
    prompt: Prompt,
    uniforms: Tensor,
    *,
    guidance: float = 1.0,
    z: Tensor | None = None,
    progress: Progress = lambda done: None,
) -> list[Tensor]:
    """Rows (n_i, 7) that spell the codes (n_i, s) of each item; the first are its ``prompt``.

    ``condition`` (b, bars, c) per bar; ``uniforms`` (b, steps, 7); ``z`` (b, steps, 112) are latents in place of the
    codes'.
    """
    player, known = Player(model, codes, condition, guidance, z), prompt.shared()
    start = prompt.ids.new_zeros(len(codes), 7)
    start[:, TYPE] = START
    rows, held = [start, *known.unbind(1)], Held.nothing(start[:, 0])
    for row in rows[1:]:
        held = held.after(row)
    if known.shape[1]:
        player.advance(torch.stack(rows[:-1], 1))
    for step in range(known.shape[1], player.steps):
        player.advance(rows[-1][:, None])
        rows.append(prompt.force(step, _choose(player, step, held, uniforms[:, step])))
        held = held.after(rows[-1])
        if step % 16 == 0:
            progress(step / player.steps)
    return [item[: len(code)] for item, code in zip(torch.stack(rows[1:], 1), codes, strict=True)]


class Player:
    """The decoder's side of sampling: states, the conditions of each step, and what the element decoders have read.

    An element decoder is only asked for at rows that draw its element, but must have read every row. What it missed
    it reads in one go, which gives the same numbers for less work.
    """

    def __init__(self, model: MusER, codes: list[Tensor], condition: Tensor, guidance: float, z: Tensor | None = None):
        """``z`` (b, n, 112) are latents in place of those of the codes."""
        self.model, self.scale = model, guidance
        self.steps = max(len(code) for code in codes)
        padded = torch.nn.utils.rnn.pad_sequence(codes, batch_first=True)  # (b, n, s)
        there = [torch.ones_like(code[:, 0], dtype=torch.bool) for code in codes]
        mask = torch.nn.utils.rnn.pad_sequence(there, batch_first=True)
        self.is_bar = (padded[..., 0] == model.bar) & mask
        self.last = ~F.pad(mask[:, 1:], (0, 1))
        self.before_bar = F.pad(self.is_bar[:, 1:], (0, 1)) | self.last
        bar = (self.is_bar.cumsum(1) - 1).clamp_min(0)
        both = branches(at_bar(condition, bar), model.emotion.null, guidance)
        self.copies = len(both) // len(codes)
        self.tell(both)
        self.z = copied(model.latents(padded) if z is None else z, self.copies)
        self.memory = model.remember(self.z, copied(mask, self.copies))
        size = len(both)
        self.states = [block.attention.state(size, self.steps) for block in model.decoder_layers]
        self.element_states = [[b.attention.state(size, self.steps) for b in layers] for layers in model.element_layers]
        self.hidden = self.z.new_empty(size, self.steps, model.config.decoder["width"])
        self.at, self.read = 0, [0] * 7  # steps that the global and each element decoder have seen

    def tell(self, condition: Tensor) -> None:
        """Set the condition (b, n, c) of each step."""
        self.ids, self.told = self.model.entrance(condition)
        sizes = (0, *self.model.config.classes[:-1])
        self.first = torch.cat([torch.full((1,), size, device=condition.device) for size in sizes]).cumsum(0)

    def advance(self, previous: Tensor) -> None:
        """Go on by the n steps before which the rows ``previous`` (b, n, 7) stand."""
        now = slice(self.at, self.at + previous.shape[1])
        said = copied(summed(self.ids, previous + self.first), self.copies)
        self.hidden[:, now] = self.model.decode(said + self.told[:, now], self.memory, self.states)
        self.at = now.stop

    def logits(self, element: int, kind: Tensor | None = None) -> Tensor:
        """Logits (b, classes) of an element for this step; its decoder reads all that it missed."""
        unread = slice(self.read[element], self.at)
        x = self.model.element_input(element, self.hidden[:, unread], self.z[:, unread])
        x = self.model.element(element, x, self.element_states[element])[:, -1:]
        self.read[element] = self.at
        kind = None if kind is None else copied(kind, self.copies)[:, None]
        return guided(self.model.logits(element, x, kind)[:, 0], self.scale)


def _choose(player: Player, step: int, held: Held, uniform: Tensor) -> Tensor:
    """One row (b, 7) under the grammar; a decoder whose element is given is not asked."""
    is_bar, opens_bar = player.is_bar[:, step], held.previous == 0
    ready = (held.previous == NOTE) & (held.beat < FIRST_BEAT + POSITIONS - 1) & ~player.before_bar[:, step]
    may_open = opens_bar | ready | is_bar
    may_sound = ~is_bar & ~opens_bar & (~ready | (held.pitch > 1))
    kind = torch.where(may_open, METRICAL, NOTE)
    if (may_open & may_sound).any():
        kinds = player.logits(TYPE)
        allowed = torch.zeros_like(kinds, dtype=torch.bool)
        allowed[:, METRICAL], allowed[:, NOTE] = may_open, may_sound
        kind = draw(kinds.masked_fill(~allowed, -1e9), ROW, uniform[:, TYPE])
    row = torch.zeros(len(kind), 7, dtype=torch.long, device=kind.device)
    row[:, TYPE], row[:, BEAT] = kind, torch.where(is_bar, BAR, 0)
    for due, elements in APPLIES.items():
        rows = (kind == due) & ~is_bar
        if rows.any():
            for element in elements:
                ids = draw_element(player, element, kind, held, uniform, ROW)
                row[:, element] = torch.where(rows, ids, row[:, element])
    return row


def draw_element(player: Player, element: int, kind: Tensor, held: Held, uniform: Tensor, choice: Choice) -> Tensor:
    """Ids (b,) of one element for rows that set it, as :func:`forbidden` allows."""
    if element == TEMPO and not (held.previous == 0).any():
        return torch.full_like(kind, CONTI)
    logits = player.logits(element, kind)
    return draw(logits.masked_fill(forbidden(element, held, logits.shape[1]), -1e9), choice, uniform[:, element])


def forbidden(element: int, held: Held, size: int) -> Tensor:
    """(b, size) ids that may not come next: beats rise, notes of a chord fall, only a bar's first position sets the
    tempo, and only a piece's first position has to name tempo and chord."""
    ids = torch.arange(size, device=held.beat.device)
    lowest = {BEAT: held.beat.clamp_min(BAR), TEMPO: held.fresh * CONTI, CHORD: held.fresh * CONTI}
    out = ids <= lowest.get(element, torch.zeros_like(held.beat))[:, None]
    if element == PITCH:
        out |= (ids >= held.pitch[:, None]) & (held.pitch[:, None] > 1)
    if element == TEMPO:
        out |= (ids != CONTI) & (held.previous != 0)[:, None]
    return out
