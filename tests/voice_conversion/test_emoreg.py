"""The networks of the papers: their sizes, and state dicts of their layout."""

import pytest
import torch

from gen.errors import CheckpointError
from voice_conversion.emoreg.convert import convert
from voice_conversion.emoreg.published import PublishedEncoder, PublishedScore
from voice_conversion.features import BANDS


@pytest.mark.parametrize(
    ("make", "millions"),
    [(PublishedEncoder, 8.46), (PublishedScore, 117.79), (lambda: PublishedScore(reference=False), 117.11)],
)
def test_published_sizes(make, millions):
    with torch.device("meta"):
        model = make()
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return PublishedEncoder(16, 32, 2, 2, 3, 4, 8).eval(), PublishedScore(16, 16, 8).eval()


@pytest.mark.parametrize("prefixes", [("encoder.", "decoder.estimator."), ("", "estimator."), ("", None)])
def test_a_state_dict_of_any_size_converts(small, tmp_path, prefixes):
    encoder, score = small
    state = {prefixes[0] + name: value for name, value in encoder.state_dict().items()}
    if prefixes[1] is not None:
        state |= {prefixes[1] + name: value for name, value in score.state_dict().items()}
    torch.save(state, tmp_path / "vc.pt")
    convert(tmp_path / "vc.pt", tmp_path / "out")
    mel = torch.randn(1, 8, BANDS)
    with torch.no_grad():
        again = PublishedEncoder.from_pretrained(tmp_path / "out" / "encoder").eval()
        torch.testing.assert_close(again(mel), encoder(mel))
        if prefixes[1] is not None:
            told = {
                "vector": torch.randn(1, 16 if score.config.vector == 16 else score.config.vector),
                "reference": mel,
                "reference_mean": mel,
            }
            made = PublishedScore.from_pretrained(tmp_path / "out" / "decoder").eval()
            t = torch.tensor([0.5])
            torch.testing.assert_close(made(mel, t, mel, **told), score(mel, t, mel, **told))


def test_another_layout_is_refused(small, tmp_path):
    torch.save({"estimator.what": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="neither"):
        convert(tmp_path / "other.pt", tmp_path / "out")
    state = {"estimator." + n: v for n, v in small[1].state_dict().items()}
    state["estimator.extra.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "more.pt")
    with pytest.raises(CheckpointError, match=r"extra\.weight"):
        convert(tmp_path / "more.pt", tmp_path / "out")


@torch.no_grad()
def test_masked_frames_do_not_count(small):
    encoder = small[0]
    mel, mask = torch.randn(1, 16, BANDS), (torch.arange(16) < 12)[None]
    other = torch.where(mask[..., None], mel, torch.full_like(mel, 5.0))
    torch.testing.assert_close(encoder(mel, mask)[:, :12], encoder(other, mask)[:, :12], atol=1e-4, rtol=1e-4)


def test_attention_by_distance_is_what_its_definition_says(small):
    layer = small[0].encoder.encoder.attn_layers[0]
    x, mask = torch.randn(1, 16, 7), torch.ones(1, 1, 7)
    q, k, v = (getattr(layer, f"conv_{n}")(x)[0].T.unflatten(1, (2, 8)) for n in "qkv")  # (n, h, d)
    found = torch.zeros(7, 2, 8)
    for h in range(2):
        for i in range(7):
            scores = torch.stack(
                [
                    q[i, h] @ (k[j, h] + (layer.emb_rel_k[0, j - i + 4] if abs(j - i) <= 4 else 0)) / 8**0.5
                    for j in range(7)
                ]
            )
            share = scores.softmax(0)
            found[i, h] = sum(
                share[j] * (v[j, h] + (layer.emb_rel_v[0, j - i + 4] if abs(j - i) <= 4 else 0)) for j in range(7)
            )
    wanted = layer.conv_o(found.flatten(1).T[None])
    torch.testing.assert_close(layer(x, mask), wanted, atol=1e-5, rtol=1e-4)
