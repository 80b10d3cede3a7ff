"""MusER's release (Ji and Yang, AAAI 2024) into a checkpoint of ours.

Wanted in the source folder: the ``.pt`` files of the autoencoder and of its prior, EMOPIA's ``dictionary.pkl``, and
``VQ_dict.data``, which counts the codes in use. What changes on the way, none of which changes a network's outputs:

* ids go into musical order (the release sorts them as text), rows of embeddings and heads with them;
* the codebook keeps the codes in use, which is all that the prior knows;
* the release joins embeddings with the type first (:data:`JOINED`), so the columns of both input layers move;
* the prior's temperature 0.3, at which it was trained and is sampled, goes into its head;
* the dimension reducer, which only training uses, stays behind.

All projections have eight heads, which shapes do not tell. The release gives bars ordinary codes, ends no sequence of
codes, and says the emotion once, at the first step: ``marks_bars`` is false, and :mod:`music.muser.upstream_passes`
plays it.
"""

import re
from pathlib import Path

import torch
from torch import Tensor

from gen import checkpoints
from gen.convert import pickles, states
from gen.errors import CheckpointError
from gen.nn import positions
from music.muser.model import MusER
from music.muser.prior import Prior
from music.muser.sizes import LINEAR
from music.tokens import BEAT, CHORD, DURATION, ELEMENTS, PITCH, STEP, TEMPO, TYPE, VELOCITY, Vocabulary

HEADS = 8
PRIOR_TEMPERATURE = 0.3
NAMES = {"beat": "bar_beat"}  # elements that the release calls otherwise
JOINED = (TYPE, TEMPO, CHORD, BEAT, PITCH, DURATION, VELOCITY)  # order of the embeddings in a row there
UNUSED = re.compile(r"DR\.|VQ_pos_embedd\.")  # the dimension reducer
CARD = """# MusER, as published

Converted from the upstream weights of Ji and Yang, "MusER: Musical Element-Based Regularization for Generating Symbolic
Music with Emotion" (AAAI 2024). Four quadrants; the emotion at a piece's first bar (and at the start of each later
passage) is used, and guidance has no effect, because these weights were never trained without an emotion. Bars are
counted while the decoder writes them; if it ends a piece too early, the next passage continues from the last bars. One
tempo per bar.
"""


def convert(source: Path, out: Path) -> None:
    """Write ``autoencoder``, ``prior`` and ``vocabulary.json`` into ``out``; CheckpointError says what is wrong."""
    folder = source if source.is_dir() else source.parent
    networks = [_state(path) for path in sorted(folder.rglob("*.pt"))]
    main = Release(_only(networks, "VQ.embeddings", folder))
    prior = Release(_only(networks, "predict_fc.weight", folder))
    values, order, quadrants = musical(_events(_read(folder, "dictionary.pkl")))
    used = _used(_read(folder, "VQ_dict.data"))
    with states.sizes("The release"):
        models = autoencoder(main, order, quadrants, used), prior_of(prior, quadrants)
    if models[1].config.size != len(used):
        raise CheckpointError(
            f"VQ_dict.data has {len(used)} codes, the prior {models[1].config.size}: they are of different trainings."
        )
    for name, model in zip(("autoencoder", "prior"), models, strict=True):
        checkpoints.save(model, out / name)
    Vocabulary(values).save(out / "vocabulary.json")
    (out / "README.md").write_text(CARD)


# ------------------------------------------------------------------ files


def _state(path: Path) -> dict[str, Tensor]:
    content = states.read(path, "the upstream file")
    state = content.get("model", content)
    return {key: value for key, value in state.items() if isinstance(value, Tensor)} if isinstance(state, dict) else {}


def _only(networks: list[dict], key: str, folder: Path) -> dict[str, Tensor]:
    found = [state for state in networks if key in state]
    if len(found) != 1:
        raise CheckpointError(f"{folder} holds {len(found)} .pt files with {key}: it must hold one.")
    return found[0]


def _read(folder: Path, name: str):
    path = next(iter(sorted(folder.rglob(name))), None)
    if path is None:
        raise CheckpointError(f"{folder} holds no {name}, which belongs to the release: put it there.")
    content = pickles.load(path)
    if not _plain(content):
        raise CheckpointError(f"{path} holds more than plain tables: it is not read.")
    return content


def _plain(content) -> bool:
    """True if a pickle has only containers, texts and numbers."""
    if isinstance(content, dict):
        return _plain([*content, *content.values()])
    if isinstance(content, list | tuple | set | frozenset):
        return all(map(_plain, content))
    return isinstance(content, str | int | float | None)


# -------------------------------------------------------------------- ids


def _used(tables: tuple[dict, dict]) -> Tensor:
    """VQ_dict (code -> compact id, and back) -> the code of each compact id."""
    pair = list(tables.values() if isinstance(tables, dict) else tables if isinstance(tables, list | tuple) else ())
    compact, codes = pair if len(pair) == 2 and all(isinstance(part, dict) for part in pair) else ({}, {None: None})
    if {code: i for i, code in codes.items()} != compact or sorted(codes) != list(range(len(codes))):
        raise CheckpointError("VQ_dict.data is not a numbering of codes and its inverse: it is another format.")
    return torch.tensor([codes[i] for i in range(len(codes))])


def _events(content) -> dict[str, dict]:
    """The upstream dictionary, a pair whose first part is {element: {event: id}}."""
    found = content[0] if isinstance(content, list | tuple) and content else {}
    for name in (*(NAMES.get(element, element).replace("_", "-") for element in ELEMENTS), "emotion"):
        ids = found.get(name) if isinstance(found, dict) else None
        if not isinstance(ids, dict) or sorted(ids.values(), key=str) != sorted(range(len(ids)), key=str):
            raise CheckpointError(f"dictionary.pkl numbers no events of {name}: it is another format.")
    return found


def musical(dictionary: dict[str, dict]) -> tuple[dict[str, list], list[Tensor], list[int]]:
    """{element: {event: id}} -> values of each element in musical order, their upstream ids, ids of Q1..Q4."""
    values, order = {}, []
    for element, known in Vocabulary.default().values.items():
        events = dictionary[NAMES.get(element, element).replace("_", "-")]
        read = sorted((_place(element, known, event), id_) for event, id_ in events.items())
        values[element] = [value for (_, _, value), _ in read]
        order.append(torch.tensor([id_ for _, id_ in read]))
        fixed = len(known) if element in ("beat", "type") else 2 if element in ("tempo", "chord") else 1
        if values[element][:fixed] != known[:fixed]:
            raise CheckpointError(f"dictionary.pkl lacks one of {known[:fixed]} of {element}: it is another format.")
    quadrants = sorted((str(event)[-1], id_) for event, id_ in dictionary["emotion"].items() if event != 0)
    return values, order, [id_ for _, id_ in quadrants]


def _place(element: str, known: list, event: str | int) -> tuple:
    """A key that sorts musically, and last the value: names as ``known`` has them, then numbers."""
    if event in known and not (event and isinstance(event, int)):
        return 0, known.index(event), event
    number = re.search(r"\d+$", str(event))
    if element in ("chord", "beat", "type") or not number:
        raise CheckpointError(f"dictionary.pkl has {event!r} as {element}, which means nothing here.")
    value = int(number[0])
    if element == "duration":
        value = value // STEP if value else 0.5  # the release plays 0 as half a sixteenth
    return 1, value, value


# --------------------------------------------------------------- networks


class Release:
    """A state dict that records missing keys that were requested; unused keys remain in ``left``."""

    def __init__(self, state: dict[str, Tensor]):
        self.left = {key: value for key, value in state.items() if not UNUSED.match(key)}
        self.missing: list[str] = []

    def take(self, name: str) -> Tensor:
        if name not in self.left:
            self.missing.append(name)
        return self.left.pop(name, torch.zeros(0)).float()

    def linear(self, ours: str, theirs: str) -> dict[str, Tensor]:
        return {f"{ours}.{part}": self.take(f"{theirs}.{part}") for part in ("weight", "bias")}

    def attention(self, ours: str, theirs: str) -> dict[str, Tensor]:
        parts = [self.linear("", f"{theirs}.{part}_projection") for part in ("query", "key", "value")]
        joined = {f"{ours}.qkv{key}": torch.cat([part[key] for part in parts]) for key in parts[0]}
        return joined | self.linear(f"{ours}.out", f"{theirs}.out_projection")

    def depth(self, theirs: str) -> int:
        found = [re.match(rf"{re.escape(theirs)}\.layers\.(\d+)\.", key) for key in self.left]
        return max((int(match[1]) + 1 for match in found if match), default=1)

    def stack(self, ours: str, norm: str, theirs: str, cross: bool = False) -> dict[str, Tensor]:
        """The layers of a fast-transformers stack, and its last norm."""
        state = {}
        for i in range(self.depth(theirs)):
            a, b = f"{ours}.{i}", f"{theirs}.layers.{i}"
            state |= self.attention(f"{a}.attention", f"{b}.self_attention" if cross else f"{b}.attention")
            state |= self.attention(f"{a}.cross", f"{b}.cross_attention") if cross else {}
            for part in ("linear1", "linear2"):
                state |= self.linear(f"{a}.{part}", f"{b}.{part}")
            for j in range(3 if cross else 2):
                state |= self.linear(f"{a}.norms.{j}", f"{b}.norm{j + 1}")
        return state | self.linear(norm, f"{theirs}.norm")

    def sinusoid(self, theirs: str) -> None:
        """Positions are computed here; stored ones must be the same."""
        table = self.take(f"{theirs}.0.pe").squeeze()
        if len(table) and not torch.allclose(table, positions(0, len(table), table), atol=1e-2):
            raise CheckpointError(f"{theirs}.0.pe is not the usual sine and cosine table: this is another model.")

    def close(self) -> None:
        if self.missing or self.left:
            wrong = {"missing": self.missing, "unexpected": sorted(self.left)}
            told = "; ".join(f"{kind}: {', '.join(keys)}" for kind, keys in wrong.items() if keys)
            raise CheckpointError(f"These are not MusER's weights as released ({told}).")


def _network(state: dict[str, Tensor], layers: str) -> dict:
    """{width, layers, heads, ffn} of a stack as its tensors show it."""
    ffn, width = state[f"{layers}.0.linear1.weight"].shape
    if width % HEADS:
        raise CheckpointError(f"{layers} is {width} wide, which {HEADS} heads cannot share.")
    count = sum(key.startswith(f"{layers}.") and key.endswith(".linear1.weight") for key in state)
    return {"width": width, "layers": count, "heads": HEADS, "ffn": ffn}


def _fill(model, state: dict[str, Tensor], own: dict[str, Tensor]):
    """The model with the upstream tensors, and ``own`` tensors for those without an upstream counterpart."""
    states.fit(model, state | own, "The release")
    return model.eval()


def autoencoder(release: Release, order: list[Tensor], quadrants: list[int], used: Tensor) -> MusER:
    """The VQ-VAE with the two-level decoder, codes ``used`` only."""
    state = {}
    for e, (element, ids) in enumerate(zip(ELEMENTS, order, strict=True)):
        name = NAMES.get(element, element)
        rows = release.take(f"{name}_emb.lut.weight"), *release.linear("", f"predict_{name}").values()
        if any(len(part) not in (0, len(ids)) for part in rows):
            raise CheckpointError(f"dictionary.pkl has {len(ids)} events of {element}, the network {len(rows[0])}.")
        keys = f"embedding.tables.{e}.weight", f"heads.{e}.weight", f"heads.{e}.bias"
        state |= {key: part[ids] if len(part) else part for key, part in zip(keys, rows, strict=True)}
        state |= release.stack(f"element_layers.{e}", f"element_norms.{e}", f"{element}_decoder")
    state |= release.stack("encoder_layers", "encoder_norm", "transformer_encoder")
    state |= release.stack("decoder_layers", "decoder_norm", "transformer_decoder", cross=True)
    for ours, theirs in (
        ("encoder_in", "input_y_linear"),
        ("to_latent", "latent_linear"),
        ("decoder_in", "input_x_linear_emo"),
        ("memory_in", "decoder_cross_linear"),
        ("slot_in", "subDecoder_linear"),
        ("with_type", "project_concat_type"),
    ):
        state |= release.linear(ours, theirs)
    widths = [state[f"embedding.tables.{e}.weight"].shape[-1] for e in range(7)]
    for layer in ("encoder_in", "decoder_in"):
        state[f"{layer}.weight"] = _in_order(state[f"{layer}.weight"], widths)
    emotion = release.take("emotion_emb.lut.weight")
    books = [release.take(f"VQ.{name}") for name in ("embeddings", "ema_cluster_size.hidden", "ema_dw.hidden")]
    for table in ("pos_embedd", "decoder_pos_embedd"):
        release.sinusoid(table)
    release.close()
    state |= _emotion(emotion, quadrants)
    state |= {f"codebook.{name}": book[used] for name, book in zip(("codes", "count", "total"), books, strict=True)}
    model = MusER(**_config(state))
    kept = model.state_dict()
    own = {key: torch.zeros_like(kept[key]) for key in ("bar_code", "chord_probe.weight", "chord_probe.bias")}
    return _fill(model, state, own | {"codebook.step": torch.tensor(1_000_000)})


def _in_order(weight: Tensor, widths: list[int]) -> Tensor:
    """A layer's weight (out, in) with its columns of the seven elements in our order; those after them stay."""
    if weight.dim() != 2 or weight.shape[1] < sum(widths):
        return weight  # missing, or of another shape: told by name later
    parts = dict(zip(JOINED, weight[:, : sum(widths)].split([widths[e] for e in JOINED], dim=1), strict=True))
    return torch.cat([*(parts[e] for e in range(7)), weight[:, sum(widths) :]], dim=1)


def _emotion(table: Tensor, quadrants: list[int]) -> dict[str, Tensor]:
    table = table * table.shape[1] ** 0.5
    return {"emotion.table": table[quadrants], "emotion.null": table[0]}


def _config(state: dict[str, Tensor]) -> dict:
    tables = [state[f"embedding.tables.{e}.weight"] for e in range(7)]
    element = _network(state, "element_layers.0")
    del element["width"]
    return {
        "classes": [len(table) for table in tables],
        "embed": [table.shape[1] for table in tables],
        "encoder": _network(state, "encoder_layers"),
        "decoder": _network(state, "decoder_layers"),
        "elements": element | {"slot": state["slot_in.weight"].shape[1]},
        "quantizer": {"name": "ema_vq", "size": len(state["codebook.codes"]), "restart": False},
        "conditioner": {"name": "quadrant", "dim": len(state["emotion.null"])},
        "layer": LINEAR,
        "marks_bars": False,
    }


def prior_of(release: Release, quadrants: list[int]) -> Prior:
    """The prior: emotion tokens become conditions that a zero code carries; Bar and End exist, but never come."""
    table, head = release.take("emb.lut.weight"), release.linear("", "predict_fc")
    state = release.linear("enter", "input_linear") | release.stack("blocks", "norm", "transformer_encoder")
    release.sinusoid("pos_embedd")
    release.close()
    size, width = len(head[".bias"]), table.shape[1]
    if len(table) != size + 5:
        raise CheckpointError(f"The prior knows {len(table)} tokens, but {size} codes and 5 emotions were expected.")
    network = _network(state, "blocks")
    state |= _emotion(table[size:], quadrants) | {"emotion.null": torch.zeros(width)}
    state["cond_in.weight"] = state["enter.weight"]
    pad = torch.zeros(3, width)
    state["tables.0.weight"] = torch.cat((table[:size] * width**0.5, pad))
    never = torch.full((2,), -1e4)
    state["heads.0.weight"] = torch.cat((head[".weight"], pad[:2])) / PRIOR_TEMPERATURE
    state["heads.0.bias"] = torch.cat((head[".bias"] / PRIOR_TEMPERATURE, never))
    model = Prior(size, network, {"name": "quadrant", "dim": width}, LINEAR)
    own = {key: torch.zeros_like(model.state_dict()[key]) for key in ("cond_in.bias", "left.weight", "manner.weight")}
    return _fill(model, state, own)
