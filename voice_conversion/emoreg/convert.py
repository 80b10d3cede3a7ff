"""DiffVC's state dicts (and any of their layout, of whatever size) -> folders of config and safetensors."""

from pathlib import Path

from torch import Tensor, nn

from gen.convert.states import fit, read, sizes
from gen.errors import CheckpointError
from voice_conversion.emoreg.published import PublishedEncoder, PublishedScore


def convert(source: Path, out: Path) -> None:
    """A file with an encoder, an estimator or both, under whatever prefixes -> ``out/encoder`` and ``out/decoder``."""
    state = read(source, "a state dict of DiffVC's layout")
    score, encoder = _below(state, "cond_block.0.weight"), _below(state, "encoder.init_proj.weight")
    if not score and not encoder:
        raise CheckpointError(f"{source} has neither an encoder nor an estimator of DiffVC's layout.")
    if encoder:
        encoder = {name: value for name, value in encoder.items() if name.startswith(("encoder.", "postnet."))}
        with sizes(f"The 'encoder' in {source}"):
            model = _sized_encoder(encoder)
        _write(model, encoder, out / "encoder", source)
    if score:
        with sizes(f"The 'decoder' in {source}"):
            model = _sized_score(score)
        _write(model, score, out / "decoder", source)


def _below(state: dict[str, Tensor], known: str) -> dict[str, Tensor]:
    """The part of a state dict that has the key ``known``, without what stands before it there."""
    root = next((name.removesuffix(known) for name in state if name.endswith(known)), None)
    return {} if root is None else {n.removeprefix(root): v for n, v in state.items() if n.startswith(root)}


def _sized_encoder(state: dict[str, Tensor]) -> PublishedEncoder:
    channels = state["encoder.init_proj.weight"].shape[0]
    layers = len({name.split(".")[3] for name in state if name.startswith("encoder.encoder.attn_layers.")})
    first = "encoder.encoder.attn_layers.0.emb_rel_k"
    feed = state["encoder.encoder.ffn_layers.0.conv_1.weight"]
    return PublishedEncoder(
        channels, feed.shape[0], channels // state[first].shape[2], layers, feed.shape[2],
        state[first].shape[1] // 2, state["postnet.init_conv.weight"].shape[0],
    )  # fmt: skip


def _sized_score(state: dict[str, Tensor]) -> PublishedScore:
    base, condition = state["mlp.0.weight"].shape[1], state["cond_block.2.weight"].shape[0]
    reference = any(name.startswith("ref_block.") for name in state)
    vector = state["cond_block.0.weight"].shape[1] - base - condition * reference
    return PublishedScore(base, condition, vector, reference)


def _write(model: nn.Module, state: dict[str, Tensor], out: Path, source: Path) -> None:
    fit(model, state, f"The '{out.name}' in {source}")
    model.save_pretrained(out)
