"""Music FaderNets (Tan and Herremans, ISMIR 2020): a VAE whose latent has one fader for each attribute.

Shapes: b bars, n rows, f fields of a row, s latent spaces (rhythm, notes), d their width, k components of the prior.
"""

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from gen.network import ConfigMixin, ModelMixin, register_to_config

CLASSES = (3, 16)  # what the sub-decoders tell of a sixteenth: rest, onset or hold; how many notes sound
KEYS = 24


class Posterior(NamedTuple):
    """A Gaussian in each space: mean (b, s, d) and standard deviation (b, s, d)."""

    mean: Tensor
    std: Tensor

    def sample(self) -> Tensor:
        return self.mean + self.std * torch.randn_like(self.std)


class FaderNet(ModelMixin, ConfigMixin):
    """Encoders to z_rhythm and z_notes, a sub-decoder for each, and a global decoder of both and the key (sec. 3).

    Args: ``fields`` ids of each part of a row; ``hidden`` of encoders and sub-decoders, ``decoder`` of the global one;
    ``width`` of a space. ``spaces`` 1 is one encoder to a space of twice the width, without sub-decoders: the baselines
    of the paper's table 1, of which ``given`` tells the decoder the attributes (conditional VAE, Fader Networks)
    and ``told`` the encoder too. ``mixture`` components of the prior of each space; 0 is a standard normal one.
    ``padded`` above 0: sequences are padded to this length and read whole, as the release does.
    """

    @register_to_config
    def __init__(
        self,
        fields: list[int],
        hidden: int,
        decoder: int,
        width: int,
        spaces: int = 2,
        mixture: int = 2,
        given: bool = False,
        told: bool = False,
        padded: int = 0,
    ):
        super().__init__()
        roll, extra = sum(fields), 2 * told
        d = width if spaces == 2 else 2 * width
        self.encoders = nn.ModuleList(
            nn.GRU(roll + extra, hidden, batch_first=True, bidirectional=True) for _ in range(spaces)
        )
        self.means = nn.ModuleList(nn.Linear(2 * hidden, d) for _ in range(spaces))
        self.spreads = nn.ModuleList(nn.Linear(2 * hidden, d) for _ in range(spaces))
        classes = CLASSES if spaces == 2 else ()
        self.tellers = nn.ModuleList(nn.GRU(c + d, hidden, batch_first=True) for c in classes)
        self.teller_starts = nn.ModuleList(nn.Linear(d, hidden) for _ in classes)
        self.teller_heads = nn.ModuleList(nn.Linear(hidden, c) for c in classes)
        known = spaces * d + KEYS + 2 * given
        self.start = nn.Linear(known, decoder)
        self.first = nn.GRU(known + roll, decoder, batch_first=True)
        self.second = nn.GRU(decoder, decoder, batch_first=True)
        self.head = nn.Linear(decoder, roll)
        self.tables = nn.ModuleList(nn.Embedding(size, decoder) for size in fields[:-1])
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.1)
        if mixture:
            self.prior_mean = nn.Parameter(torch.empty(spaces, mixture, d))
            nn.init.xavier_uniform_(self.prior_mean)
            self.register_buffer("prior_logvar", torch.full((spaces, mixture, d), -4.0))

    # ---------------------------------------------------------------- rows
    def hot(self, rows: Tensor) -> Tensor:
        """Ids (b, n, f) -> (b, n, sum of fields), a one for each field."""
        begins = torch.tensor([0, *self.config.fields[:-1]], device=rows.device).cumsum(0)
        zeros = torch.zeros(*rows.shape[:-1], sum(self.config.fields), device=rows.device)
        return zeros.scatter_(-1, rows + begins, 1.0)

    def opening(self, count: int, device=None) -> Tensor:
        """(b, 1, f) what stands before the first row: the last id of every field, as in the release."""
        return torch.tensor(self.config.fields, device=device)[None, None].expand(count, 1, -1) - 1

    # ---------------------------------------------------------------- encoder
    def encode(self, rows: Tensor, lengths: Tensor, given: Tensor | None = None) -> Posterior:
        """Ids (b, n, f) of which the first ``lengths`` (b,) exist, and where ``told`` the attributes (b, 2)."""
        x = self.hot(rows)
        if self.config.told:
            x = torch.cat((x, given[:, None].expand(-1, x.shape[1], -1)), -1)
        if not self.config.padded:
            x = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        ends = [gru(x)[1].transpose(0, 1).flatten(1) for gru in self.encoders]
        mean = torch.stack([linear(end) for linear, end in zip(self.means, ends, strict=True)], 1)
        spread = torch.stack([linear(end) for linear, end in zip(self.spreads, ends, strict=True)], 1)
        return Posterior(mean, spread.clamp(-8, 2).exp())

    def log_components(self, z: Tensor) -> Tensor:
        """z (b, s, d) -> (b, s, k) log q(component | z), of components as likely as each other."""
        gap = (z[:, :, None] - self.prior_mean).square() / self.prior_logvar.exp() + self.prior_logvar
        return (-0.5 * gap.sum(-1)).log_softmax(-1)

    # ---------------------------------------------------------------- decoders
    def tell(self, space: int, z: Tensor, classes: Tensor) -> Tensor:
        """A sub-decoder's logits (b, 16, c) from its space's z (b, d) and the classes (b, 16) of the steps before."""
        before = F.one_hot(classes, CLASSES[space]).float().roll(1, 1)
        before[:, 0] = 0
        start = self.teller_starts[space](z)[None]
        x = torch.cat((before, z[:, None].expand(-1, classes.shape[1], -1)), -1)
        return self.teller_heads[space](self.tellers[space](x, start)[0])

    def known(self, z: Tensor, key: Tensor, given: Tensor | None = None) -> Tensor:
        """z (b, s, d), key (b, 24) and, where ``given``, attributes (b, 2) -> what the decoder knows (b, c)."""
        parts = [z.flatten(1), key] + ([given] if self.config.given else [])
        return torch.cat(parts, -1)

    def hidden(self, previous: Tensor, known: Tensor, state: tuple[Tensor, Tensor] | None = None):
        """Rows before each step (b, n, f) -> hidden (b, n, w), and the state from which the next step goes on."""
        x = torch.cat((self.hot(previous), known[:, None].expand(-1, previous.shape[1], -1)), -1)
        one, first = self.first(x, self.start(known)[None] if state is None else state[0])
        two, second = self.second(one, one[:, :1].transpose(0, 1).contiguous() if state is None else state[1])
        return two, (first, second)

    def logits(self, hidden: Tensor, chosen: Tensor, field: int) -> Tensor:
        """Hidden (..., w) and the row's fields so far (..., >= field) -> logits of one field."""
        begin = sum(self.config.fields[:field])
        part = slice(begin, begin + self.config.fields[field])
        if field:
            hidden = torch.tanh(hidden + sum(self.tables[i](chosen[..., i]) for i in range(field)))
        return F.linear(hidden, self.head.weight[part], self.head.bias[part])

    def nll(self, rows: Tensor, lengths: Tensor, known: Tensor) -> Tensor:
        """(b,) negative log-likelihood of bars in nats; an end's other fields say nothing.

        Worked out on packed rows, since most bars are much shorter than the longest.
        """
        previous = torch.cat((self.opening(len(rows), rows.device), rows[:, :-1]), 1)
        x = torch.cat((self.hot(previous), known[:, None].expand(-1, rows.shape[1], -1)), -1)
        pack = partial(pack_padded_sequence, lengths=lengths.cpu(), batch_first=True, enforce_sorted=False)
        one, _ = self.first(pack(x), self.start(known)[None])
        two, _ = self.second(one, one.data[: len(rows)][one.unsorted_indices][None])
        target = pack(rows).data
        bar = pack(torch.arange(len(rows), device=rows.device)[:, None].expand(-1, rows.shape[1])).data
        last = pack(torch.arange(rows.shape[1], device=rows.device) == lengths[:, None] - 1).data
        total = x.new_zeros(len(rows))
        for field in range(len(self.config.fields)):
            loss = F.cross_entropy(self.logits(two.data, target, field), target[:, field], reduction="none")
            total = total.index_add(0, bar, loss.masked_fill(last, 0.0) if field else loss)
        return total
