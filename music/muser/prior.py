"""The prior over codes: which compound word comes next, given the emotion of the bar and how many bars are left."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen import registry
from gen.network import ConfigMixin, ModelMixin, register_to_config
from gen.nn import positions
from music.muser.model import stack

FAR = 16  # bars to the end from which on the end is out of sight; also what excerpts say


class Prior(ModelMixin, ConfigMixin):
    """A causal transformer over codes (MusER, AAAI 2024, sec. 3.4), with a real end.

    Codes 0..size-1 are the quantizer's, ``size`` is Bar, ``size + 1`` ends the piece. With ``slots`` > 1 a step is
    that many codes, each predicted from the state and the step's earlier codes. ``manners`` are repertoires it learns
    from side by side; the first is the one it plays.
    """

    @register_to_config
    def __init__(self, size: int, network: dict, conditioner: dict, layer: dict, slots: int = 1, manners: int = 1):
        super().__init__()
        width = network["width"]
        self.linear = layer["kind"] == "linear"
        self.emotion = registry.build("conditioner", **conditioner)
        self.tables = nn.ModuleList(nn.Embedding(size + 3, width) for _ in range(slots))
        self.left = nn.Embedding(FAR + 1, width)
        self.manner = nn.Embedding(manners, width)
        self.cond_in = nn.Linear(conditioner["dim"], width)
        self.enter = nn.Linear(width, width)
        self.blocks = stack(network, layer)
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(nn.Linear(width, size + 2) for _ in range(slots))
        for table in (*self.tables, self.left, self.manner):
            nn.init.normal_(table.weight, std=0.02 if layer["norm_first"] else 1.0)

    @property
    def bar(self) -> int:
        return self.config.size

    @property
    def end(self) -> int:
        return self.config.size + 1

    @property
    def start(self) -> int:
        return self.config.size + 2

    def hidden(
        self, previous: Tensor, cond: Tensor, left: Tensor, states: list | None = None, manner: Tensor | None = None
    ) -> Tensor:
        """Previous codes (b, n, s), conditions (b, n, c), bars left (b, n), manner (b, 1) -> (b, n, width)."""
        manner = torch.zeros_like(left[:, :1]) if manner is None else manner
        x = sum(table(previous[..., i]) for i, table in enumerate(self.tables))
        x = self.enter(x) + self.cond_in(cond)
        told = self.left(left.clamp(0, FAR)) + self.manner(manner)
        return self.decode(x + told.to(x.dtype), states)  # a sum of two dtypes is slow on a CPU

    def entrance(self, cond: Tensor) -> tuple[Tensor, Tensor]:
        """The input layer worked out for all it can be given, with the first manner: what each code of each slot adds
        (s (size + 3), width), and conditions (b, n, c) -> (b, n, width)."""
        codes = torch.cat([F.linear(table.weight, self.enter.weight) for table in self.tables])
        return codes, self.cond_in(cond) + (self.enter.bias + self.manner.weight[0])

    def decode(self, x: Tensor, states: list | None = None) -> Tensor:
        """Inputs (b, n, width) -> (b, n, width)."""
        if self.linear:
            x = x + positions(states[0]["at"] if states else 0, x.shape[1], x)
        for i, block in enumerate(self.blocks):
            x = block.causal(x, states[i] if states else None)
        return self.norm(x)

    def logits(self, hidden: Tensor, chosen: Tensor, slot: int) -> Tensor:
        """State (..., width) and the step's codes so far (..., >= slot) -> logits (..., size + 2) of one slot."""
        for i in range(slot):
            hidden = hidden + self.tables[i](chosen[..., i]).to(hidden.dtype)
        return self.heads[slot](hidden)

    def forward(self, codes: Tensor, mask: Tensor, cond: Tensor, left: Tensor, manner: Tensor | None = None) -> Tensor:
        """Codes (b, n, s), mask (b, n), manner (b, 1) -> mean negative log-likelihood of a step, in nats."""
        start = torch.full_like(codes[:, :1], self.start)
        hidden = self.hidden(torch.cat((start, codes[:, :-1]), dim=1), cond, left, manner=manner)
        target, total = codes.masked_fill(~mask[..., None], -100), 0.0
        for slot in range(self.config.slots):
            logits = self.logits(hidden, codes, slot).float().flatten(0, 1)
            total = total + F.cross_entropy(logits, target[..., slot].flatten(), reduction="sum")
        return total / mask.sum()
