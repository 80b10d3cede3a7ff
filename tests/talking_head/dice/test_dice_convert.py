"""The converter on a release in small: every tensor finds its place, and the networks are the published formulas."""

import pickle

import dice_formulas as formulas
import dice_release as release
import numpy as np
import pytest
import torch

from gen.emotion.spec import CANONICAL
from gen.errors import CheckpointError
from talking_head.video import convert as subject
from talking_head.video.pipeline import DiceVideo
from talking_head.video.sampler import Inputs, Plan, Sampler, scheduler
from talking_head.video.unet import Contexts

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    out = tmp_path_factory.mktemp("ours")
    subject.convert(release.write(tmp_path_factory.mktemp("release")), out)
    return DiceVideo.load(str(out))


@pytest.fixture(scope="module")
def state():
    return release.UNetLayout().state


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def told():
    """Portrait tokens, speech and emotion tokens of two videos of five frames, and a mask."""
    mask = torch.zeros(2, 64, 64)
    mask[:, 16:48, 10:50] = 1
    tokens = [randn(2, 5, release.COUNT, release.CONTEXT, seed=seed) for seed in (1, 2)]
    return randn(2, 1, release.CONTEXT, seed=3), tokens, mask


# ------------------------------------------------------------------- parts


def test_speech_tokens_are_the_published_ones(converted):
    x = randn(7, 10 * 3 * 16)
    torch.testing.assert_close(converted.parts["audio"](x), formulas.projection(release.audio(), x), **CLOSE)


@pytest.mark.parametrize("retrieval", [False, True])
def test_emotion_tokens_are_the_published_ones(converted, retrieval):
    mu = randn(3, release.MU)
    felt = converted.parts["emotion"](mu[None], retrieval)
    torch.testing.assert_close(felt.tokens[0], formulas.emotion_tokens(release.emotion(), mu, retrieval), **CLOSE)
    wanted = formulas.bank_loss(release.emotion(), mu) if retrieval else torch.zeros(())
    torch.testing.assert_close(felt.loss, wanted, **CLOSE)


def test_the_hard_mask_leaves_no_prototype(converted):
    """``emo_masked_hard``: an unsaid emotion is the zero vector for the query and for the prototype found."""
    model, mu = converted.parts["emotion"], randn(2, 1, release.MU)
    unsaid = torch.tensor([True, False])
    felt = model(mu * ~unsaid[:, None, None], True, unsaid).tokens
    keys = model.kv_tokens_linear(torch.zeros(1, model.codebook.codebook.embedding_dim))
    torch.testing.assert_close(felt[0], model.attention(model.emo_linear(torch.zeros(1, release.MU)), keys))
    torch.testing.assert_close(felt[1], model(mu, True).tokens[1])


def test_the_pose_guider_is_the_published_one(converted):
    box = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(converted.parts["pose"](box), formulas.pose(release.pose(), box), **CLOSE)


def test_the_priors_are_the_files(converted):
    torch.testing.assert_close(converted.priors.mean, torch.from_numpy(release.priors()))


# ------------------------------------------------------------ the denoiser


def test_the_network_is_the_published_one(converted, state, told):
    portrait, tokens, mask = told
    sample, time, pose = randn(2, 5, 8, 8, 8), torch.tensor([0.4, -0.3]), randn(1, 1, 32, 8, 8, seed=5)
    found = converted.parts["unet"](sample, time, Contexts(portrait, tuple(tokens), mask=mask), pose)
    wanted = formulas.UNet(state)(sample, time, portrait, tokens, mask, pose[0])
    torch.testing.assert_close(found.velocity, wanted, atol=2e-5, rtol=1e-4)


def test_one_row_of_tokens_serves_all_frames(converted, told):
    portrait, tokens, mask = told
    sample, time = randn(2, 5, 8, 8, 8), torch.tensor([0.4, -0.3])
    run = lambda emotion: converted.parts["unet"](sample, time, Contexts(portrait, (tokens[0], emotion), mask=mask))
    one = tokens[1][:, :1]
    torch.testing.assert_close(run(one).velocity, run(one.expand(-1, 5, -1, -1)).velocity, atol=2e-5, rtol=1e-3)


def test_without_adapters_only_the_temporal_context_differs_from_stock(converted, state, told):
    """With the adapters' values zero and frames alike, the network is Stable Video Diffusion's own."""
    from diffusers import UNetSpatioTemporalConditionModel

    zero = {k: v * 0 if "to_v_ip" in k else v for k, v in state.items()}
    stock = UNetSpatioTemporalConditionModel(
        block_out_channels=release.CHANNELS,
        num_attention_heads=release.HEADS,
        layers_per_block=1,
        cross_attention_dim=release.CONTEXT,
        addition_time_embed_dim=release.TIME,
        projection_class_embeddings_input_dim=3 * release.TIME,
    )
    stock.load_state_dict({k: v for k, v in zero.items() if "_ip." not in k})
    unet = converted.parts["unet"]
    unet.load_state_dict({f"net.{k}": v for k, v in zero.items()})
    sample, time = randn(2, 5, 8, 8, 8), torch.tensor([0.4, -0.3])
    ids = torch.tensor([[12.5, 8.0, 16.0]]).expand(2, -1)
    with torch.no_grad():
        wanted = stock(sample, time, told[0], ids).sample
        found = unet(sample, time, Contexts(told[0], tuple(told[1]), mask=told[2])).velocity
    unet.load_state_dict({f"net.{k}": v for k, v in state.items()})
    torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-2)


def test_a_denoising_step_is_the_published_one(converted, state, told):
    """Three branches, one window, one Euler step, as the release does it."""
    portrait, tokens, mask = (x[:1] if isinstance(x, torch.Tensor) else [t[:1] for t in x] for x in told)
    latent, start, noise = randn(1, 4, 8, 8), randn(1, 4, 8, 8, seed=1), randn(1, 5, 4, 8, 8, seed=2)
    pose = randn(1, 1, 32, 8, 8, seed=5)
    nulls = [randn(1, 1, release.COUNT, release.CONTEXT, seed=seed) for seed in (6, 7)]
    pairs = list(zip(nulls, tokens))
    inputs = Inputs(latent, start, portrait, pairs[0], pairs[1], mask, pose)
    sigma, to = formulas.noise_levels(25)[20:22]
    x = start[:, None] + sigma * noise
    rule = scheduler()
    rule.set_timesteps(25)
    time = rule.timesteps[20]
    with torch.no_grad():
        velocity = Sampler(converted.parts["unet"], Plan()).velocity(rule.scale_model_input(x, time), time, inputs, 20)
    found = rule.step(velocity, time, x).prev_sample

    whole = [null.expand(-1, 5, -1, -1) for null in nulls]
    branches = ((0, 0, whole), (1, 1, whole), (1, 1, tokens))
    v = []
    for known, seen, said in branches:
        sample = torch.cat((x / (sigma**2 + 1).sqrt(), (known * latent)[:, None].expand(-1, 5, -1, -1, -1)), 2)
        v.append(formulas.UNet(state)(sample, sigma.log()[None] / 4, seen * portrait, said, mask, pose[0]))
    velocity = v[0] + 3 * (v[1] - v[0]) + 6 * (v[2] - v[1])
    torch.testing.assert_close(found, formulas.euler(x, velocity, sigma, to), **CLOSE)


def test_deep_features_of_the_same_step_change_nothing(converted, told):
    portrait, tokens, mask = told
    sample, time = randn(2, 5, 8, 8, 8), torch.tensor([0.4, -0.3])
    contexts = Contexts(portrait, tuple(tokens), mask=mask)
    whole = converted.parts["unet"](sample, time, contexts)
    again = converted.parts["unet"](sample, time, contexts, deep=whole.deep)
    torch.testing.assert_close(again.velocity, whole.velocity)
    assert whole.middle.shape == (2, 5, release.CHANNELS[-1])
    assert again.middle is None


# ----------------------------------------------------------------- refusals


def test_keys_too_many_or_too_few_are_named(tmp_path):
    source = release.write(tmp_path / "release")
    path = next(source.rglob("emo_model.pth"))
    state = release.emotion()
    state["stranger"] = state.pop("attention.fc_q.bias")
    torch.save(state, path)
    (tmp_path / "out").mkdir()
    with pytest.raises(CheckpointError, match=r"'emotion'.*missing: attention.fc_q.bias; unexpected: stranger"):
        subject.convert(source, tmp_path / "out")


def test_a_missing_file_is_named(tmp_path):
    source = release.write(tmp_path / "release")
    next(source.rglob("audio_linear.pth")).unlink()
    (tmp_path / "out").mkdir()
    with pytest.raises(CheckpointError, match=r"holds no audio_linear\.pth"):
        subject.convert(source, tmp_path / "out")


def test_an_emotion_file_with_a_program_in_it_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("done",)

    packed = np.empty((), object)
    packed[()] = {"mu": Evil()}
    np.save(tmp_path / "sad.npy", packed, allow_pickle=True)
    with pytest.raises(CheckpointError, match="holds no array called mu"):
        subject.prior(tmp_path / "sad.npy")


def test_an_emotion_file_has_the_published_layout(tmp_path):
    release.write(tmp_path)
    for name, mu in zip(CANONICAL, release.priors()):
        path = tmp_path / f"examples/emo/{subject.FILES.get(name, name)}.npy"
        assert mu.tobytes() in path.read_bytes()
        np.testing.assert_array_equal(subject.prior(path).numpy(), mu)
        assert pickle.loads(path.read_bytes()[128:]).item()["mu"].shape == (1, 256)


@pytest.mark.slow
def test_sonic_is_the_same_without_emotion(tmp_path):
    source = release.write(tmp_path / "release", adapters=1, audio_file="audio2token.pth")
    (tmp_path / "out").mkdir()
    subject.convert_sonic(source, tmp_path / "out")
    model = DiceVideo.load(str(tmp_path / "out"))
    assert "emotion" not in model.parts and model.parts["unet"].config.adapters == 1
    before = model.parts["unet"].state_dict()
    model.feel()
    unet = model.parts["unet"]
    attn = unet.net.mid_block.attentions[0].transformer_blocks[0].attn2
    assert torch.equal(attn.processor.to_k_ip[1].weight, attn.to_k.weight)
    assert unet.config.adapters == 2 and all(torch.equal(unet.state_dict()[k], v) for k, v in before.items())
    model.save(tmp_path / "felt")
    assert DiceVideo.load(str(tmp_path / "felt")).priors.mean.shape == (8, 256)
    with pytest.raises(CheckpointError, match="2 adapters"):
        subject._video(source, tmp_path / "out", "audio2token.pth", adapters=2)
