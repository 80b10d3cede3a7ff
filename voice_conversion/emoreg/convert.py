"""DiffVC's state dicts (and any of their layout, of whatever size) -> folders of config and safetensors."""

from pathlib import Path

from torch import Tensor, nn

from gen.convert.states import fit, read, sizes
from gen.emotion.embedding.direction import DirectionSpace
from gen.errors import CheckpointError
from voice_conversion.emoreg.published import PublishedEncoder, PublishedScore
from voice_conversion.features import BANDS
from voice_conversion.models import write_class

SUFFIXES = (".pt", ".pth", ".safetensors")
CARD = """# DiffVC, as published

Converted from a state dict in the layout of Popov et al., "Diffusion-Based Voice Conversion with Fast Maximum
Likelihood Sampling Scheme" (ICLR 2022), which EmoReg (AAAI 2025) shares. The weights stay under their publisher's
licence. It changes no voice but the one of a recording that you may use.
"""


def convert(source: Path, out: Path) -> None:
    """A file with an encoder, an estimator or both, under whatever prefixes, or a folder with such files ->
    ``out/encoder`` and ``out/decoder``. A folder's ``directions.json`` and ``.safetensors``, as
    :meth:`DirectionSpace.save` writes them, go along: the vector is then an emotion's."""
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.suffix in SUFFIXES)
    directions = source / "directions.json"
    found: dict[str, tuple[dict[str, Tensor], Path]] = {}
    for path in files:
        if path.name == "directions.safetensors":
            continue
        state = read(path, "a state dict of DiffVC's layout")
        for part, known in (("encoder", "encoder.init_proj.weight"), ("decoder", "cond_block.0.weight")):
            if below := _below(state, known):
                if part in found:
                    raise CheckpointError(f"{found[part][1]} and {path} both hold an {part}: give one of them.")
                found[part] = below, path
    if not found:
        raise CheckpointError(f"{source} has neither an encoder nor an estimator of DiffVC's layout.")
    bands = BANDS
    if "encoder" in found:
        encoder, path = found["encoder"]
        encoder = {name: value for name, value in encoder.items() if name.startswith(("encoder.", "postnet."))}
        with sizes(f"The 'encoder' in {path}"):
            model = _sized_encoder(encoder)
        bands = model.config.bands
        _write(model, encoder, out / "encoder", path)
    if "decoder" in found:
        score, path = found["decoder"]
        with sizes(f"The 'decoder' in {path}"):
            model = _sized_score(score, bands)
        _write(model, score, out / "decoder", path)
    if directions.is_file():
        DirectionSpace.load(source).save(out)
    if len(found) == 2:
        write_class(out, "DiffVC")
    (out / "README.md").write_text(CARD, encoding="utf-8")


def _below(state: dict[str, Tensor], known: str) -> dict[str, Tensor]:
    """The part of a state dict that has the key ``known``, without what stands before it there."""
    root = next((name.removesuffix(known) for name in state if name.endswith(known)), None)
    return {} if root is None else {n.removeprefix(root): v for n, v in state.items() if n.startswith(root)}


def _sized_encoder(state: dict[str, Tensor]) -> PublishedEncoder:
    channels, bands, _ = state["encoder.init_proj.weight"].shape
    layers = len({name.split(".")[3] for name in state if name.startswith("encoder.encoder.attn_layers.")})
    first = "encoder.encoder.attn_layers.0.emb_rel_k"
    feed = state["encoder.encoder.ffn_layers.0.conv_1.weight"]
    return PublishedEncoder(
        channels,
        feed.shape[0],
        channels // state[first].shape[2],
        layers,
        feed.shape[2],
        state[first].shape[1] // 2,
        state["postnet.init_conv.weight"].shape[0],
        bands,
    )


def _sized_score(state: dict[str, Tensor], bands: int) -> PublishedScore:
    base, condition = state["mlp.0.weight"].shape[1], state["cond_block.2.weight"].shape[0]
    reference = any(name.startswith("ref_block.") for name in state)
    vector = state["cond_block.0.weight"].shape[1] - base - condition * reference
    return PublishedScore(base, condition, vector, reference, bands)


def _write(model: nn.Module, state: dict[str, Tensor], out: Path, source: Path) -> None:
    fit(model, state, f"The '{out.name}' in {source}")
    model.save_pretrained(out)
