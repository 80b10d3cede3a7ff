"""Music FaderNets' release (Tan and Herremans, ISMIR 2020) into a checkpoint of ours: ``music_attr_vae_reg_gmm.pt``.

The published state has 15,553,415 numbers, of which 3,984,926 belong to a third encoder of harmony and to classifiers
that no forward pass of the release reads (:data:`UNUSED`): they must be there, and stay behind. Every other tensor goes
over as it is; what the release calls a variance it uses as a standard deviation, as our network does.
"""

import re
from pathlib import Path

import torch
from torch import Tensor

from gen import checkpoints
from gen.convert import states
from gen.convert.states import State
from gen.errors import CheckpointError
from music.faders.model import CLASSES, KEYS, FaderNet

FILE = "music_attr_vae_reg_gmm.pt"
GRU = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
LINEAR = ("weight", "bias")
UNUSED = (
    *(f"gru_c.{name}{way}" for name in GRU for way in ("", "_reverse")),
    *(f"gru_d_c.{name}" for name in GRU),
    *(
        f"{layer}.{name}"
        for layer in ("c_r", "c_n", "mu_c", "var_c", "linear_init_c", "linear_out_c")
        for name in LINEAR
    ),
)
RENAMED = (  # pattern of a published key -> ours; 0 is rhythm's space, 1 that of notes
    (r"gru_([rn])\.(.*)", "encoders.{}.{}"),
    (r"mu_([rn])\.(.*)", "means.{}.{}"),
    (r"var_([rn])\.(.*)", "spreads.{}.{}"),
    (r"gru_d_([rn])\.(.*)", "tellers.{}.{}"),
    (r"linear_init_([rn])\.(.*)", "teller_starts.{}.{}"),
    (r"linear_out_([rn])\.(.*)", "teller_heads.{}.{}"),
    (r"linear_init_global\.(.*)", "start.{}"),
    (r"grucell_g\.(.*)", "first.{}_l0"),
    (r"grucell_g_2\.(.*)", "second.{}_l0"),
    (r"linear_out_g\.(.*)", "head.{}"),
)
CARD = """# Music FaderNets, as published

Converted from the release of Tan and Herremans, "Music FaderNets: Controllable Music Generation Based On High-Level
Features via Low-Level Feature Modelling" (ISMIR 2020), which states no licence. It reads and writes performance events
(342 of them, 10 ms steps, at most 100 in four beats); `affekt faders` plays checkpoints of our own rows instead.
"""


def convert(source: Path, out: Path) -> None:
    """Write the network into ``out``; CheckpointError says what is missing, left over or of another shape."""
    path = source / FILE if source.is_dir() else source
    state = states.read(path, f"the upstream {FILE}")
    if absent := [key for key in UNUSED if key not in state]:
        raise CheckpointError(f"{path.name} does not fit (missing: {', '.join(absent[:6])}).")
    kept = {key: value for key, value in state.items() if key not in UNUSED}
    with states.sizes(path.name):
        model = FaderNet(**sizes(kept))
    states.fit(model, renamed(kept), path.name)
    checkpoints.save(model, out)
    (out / "README.md").write_text(CARD, encoding="utf-8")


def sizes(state: State) -> dict:
    """The constructor's arguments, by the shapes of the published tensors."""
    roll, decoder = state["linear_out_g.weight"].shape
    components, width = state["mu_r_lookup.weight"].shape
    hidden = state["gru_r.weight_hh_l0"].shape[1]
    told = tuple(state[f"linear_out_{space}.weight"].shape[0] for space in "rn")
    known = state["linear_init_global.weight"].shape[1]
    if told != CLASSES or known != 2 * width + KEYS:
        raise ValueError(f"sub-decoders of {told} classes, a decoder of {known} inputs")
    return {
        "fields": [roll],
        "hidden": hidden,
        "decoder": decoder,
        "width": width,
        "mixture": components,
        "padded": 100,
    }


def renamed(state: State) -> State:
    """Published keys in our names; unknown ones keep theirs, to be refused."""
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key
        for pattern, ours in RENAMED:
            if match := re.fullmatch(pattern, key):
                parts = [str("rn".index(part)) if part in ("r", "n") else part for part in match.groups()]
                name = ours.format(*parts)
                break
        found[name] = value
    for ours, theirs in (("prior_mean", "mu"), ("prior_logvar", "logvar")):
        pair = [found.pop(f"{theirs}_{space}_lookup.weight", None) for space in "rn"]
        if all(part is not None for part in pair):
            found[ours] = torch.stack(pair)
    return found
