"""The video pipeline at a tiny size, and its sizes at full scale."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from gen.emotion.spec import EmotionCurve
from gen.errors import CheckpointError, DeviceError
from talking_head.video import decode, schedule
from talking_head.video.attention import attend, set_attention_backend
from talking_head.video.emotion import EmotionModel, Tokens, class_of, means
from talking_head.video.interpolate import Interpolator, between
from talking_head.video.pipeline import DiceVideo
from talking_head.video.portrait import Square, around, paste, prepare
from talking_head.video.pose import PoseGuider
from talking_head.video.sampler import Inputs, Plan, Sampler
from talking_head.video.unet import Contexts, VideoUNet
from talking_head.video.whisper import heard, log_mel, windows

SECONDS = 0.75  # 9 frames at 12.5 per second, 19 at 25


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model():
    made = DiceVideo.build("tiny")
    torch.nn.init.normal_(made.parts["pose"].conv_out.weight, std=0.02)
    return made


@pytest.fixture(scope="module")
def portrait():
    pixels = np.random.default_rng(0).integers(0, 255, (80, 64, 3), dtype=np.uint8)
    return prepare(pixels, (16, 20, 30, 30), side=64, seen=28)


@pytest.fixture(scope="module")
def sound():
    return (0.1 * np.random.default_rng(1).normal(size=int(SECONDS * 16000))).astype(np.float32)


# ------------------------------------------------------------- full scale


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_full_size_counts_and_shapes():
    with torch.device("meta"):
        audio, emotion, pose, unet = Tokens(), EmotionModel(), PoseGuider(), VideoUNet()
    assert [round(count(m) / 1e6, 2) for m in (audio, emotion, pose)] == [54.30, 74.86, 1.09]
    adapters = {k: v for k, v in unet.named_parameters() if "_ip." in k}
    assert len(adapters) == 128
    assert round(sum(v.numel() for v in adapters.values()) / 1e6, 2) == 102.24
    assert 1.52e9 < count(unet) - 102_236_160 < 1.53e9
    assert (len(audio.state_dict()), len(emotion.state_dict()), len(pose.state_dict())) == (8, 31, 16)
    shapes = {
        "down_blocks.0.attentions.1": 320,
        "down_blocks.1.attentions.0": 640,
        "mid_block.attentions.0": 1280,
        "up_blocks.1.attentions.2": 1280,
        "up_blocks.3.attentions.0": 320,
    }
    for place, hidden in shapes.items():
        for block in ("transformer_blocks.0", "temporal_transformer_blocks.0"):
            for kind in ("to_k_ip", "to_v_ip"):
                for i in (0, 1):
                    assert adapters[f"net.{place}.{block}.attn2.processor.{kind}.{i}.weight"].shape == (hidden, 1024)


def test_full_size_tokens_have_the_published_shapes():
    with torch.device("meta"):
        audio, emotion, pose = Tokens(), EmotionModel(), PoseGuider()
        assert audio(torch.zeros(3, 19200)).shape == (3, 32, 1024)
        for retrieval in (False, True):
            assert emotion(torch.zeros(1, 2, 256), retrieval).tokens.shape == (1, 2, 32, 1024)
        assert pose(torch.zeros(1, 3, 512, 640)).shape == (1, 320, 64, 80)
        assert emotion.classifier(torch.zeros(5, 1280)).shape == (5, 22)


# ---------------------------------------------------------------- schedule


@pytest.mark.parametrize("continued", [False, True])
def test_every_frame_is_denoised_at_every_step(continued):
    for frames in range(26, 401):
        for shift in schedule.shifts(25):
            seen = np.bincount(np.concatenate(schedule.windows(frames, shift, continued=continued)), minlength=frames)
            assert len(seen) == frames and seen.min() >= 1 and seen.max() <= 2 + continued


def test_the_shifts_repeat_after_25_steps_and_visit_all():
    found = schedule.shifts(50)
    assert found[:25] == found[25:] and sorted(found[:25]) == list(range(25))
    assert found[:4] == [0, 7, 14, 21] and found[4] == 3


def test_windows_are_in_the_published_order():
    assert schedule.windows(30, 7)[0] == [*range(23, 30), *range(18)]
    assert schedule.windows(30, 7)[1] == [*range(18, 30), *range(13)]
    assert schedule.calls(150, 25) == 150
    assert schedule.windows(9, 7) == [[*range(2, 9), 0, 1]]


def test_a_continued_axis_never_joins_end_and_start():
    for shift in schedule.shifts(25):
        for window in schedule.windows(60, shift, continued=True):
            assert np.all(np.diff(window) == 1)


# ------------------------------------------------------------------- parts


def test_shared_contexts_are_attended_as_repeated_ones():
    q, k, v = randn(6, 5, 16), randn(2, 7, 16, seed=1), randn(2, 7, 16, seed=2)
    whole = attend(q, k.repeat_interleave(3, 0), v.repeat_interleave(3, 0), 2)
    torch.testing.assert_close(attend(q, k, v, 2), whole, atol=1e-6, rtol=1e-5)
    one = attend(q, k[:, :1], v[:, :1], 2)
    wanted = attend(q, k[:, :1].repeat(3, 2, 1), v[:, :1].repeat_interleave(3, 0).repeat(1, 2, 1), 2)
    torch.testing.assert_close(one.expand(q.shape), wanted, atol=1e-6, rtol=1e-5)


def test_adapters_begin_as_copies():
    unet = VideoUNet((32, 32), (1, 1), layers=1, context=16, time_dim=8)
    attn = unet.net.mid_block.attentions[0].transformer_blocks[0].attn2
    for i in (0, 1):
        assert torch.equal(attn.processor.to_k_ip[i].weight, attn.to_k.weight)
        assert torch.equal(attn.processor.to_v_ip[i].weight, attn.to_v.weight)


def test_the_mask_keeps_adapters_out_of_the_rest_of_the_picture():
    unet = VideoUNet((32, 32), (1, 1), layers=1, context=16, time_dim=8).eval()
    tokens = [randn(1, 3, 4, 16, seed=s) for s in (1, 2)]
    run = lambda mask, t: unet(randn(1, 3, 8, 8, 8), torch.zeros(1), Contexts(randn(1, 1, 16), tuple(t), mask=mask))
    shut = [t.flip(1) for t in tokens]  # the same means over frames, which are all that unmasked blocks see
    with torch.no_grad():
        closed = torch.zeros(1, 64, 64)
        torch.testing.assert_close(run(closed, tokens).velocity, run(closed, shut).velocity, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(run(closed + 1, tokens).velocity, run(closed + 1, shut).velocity, atol=1e-3)


def test_only_backends_that_run_are_taken():
    unet = VideoUNet((32, 32), (1, 1), layers=1, context=16, time_dim=8)
    set_attention_backend(unet, "_native_math")
    assert unet.net.mid_block.attentions[0].transformer_blocks[0].attn2.processor._attention_backend == "_native_math"
    with pytest.raises(DeviceError, match="use 'native'"):
        set_attention_backend(unet, "flash")
    with pytest.raises(DeviceError, match="use 'native'"):
        set_attention_backend(unet, "nonsense")


def test_emotion_tokens_do_not_depend_on_the_batch(model):
    mu = randn(2, 3, 256)
    for retrieval in (False, True):
        whole = model.parts["emotion"](mu, retrieval).tokens
        torch.testing.assert_close(whole[1:, 2:], model.parts["emotion"](mu[1:, 2:], retrieval).tokens)


def test_intensity_moves_along_a_prior(model):
    times = np.zeros(1)
    at = lambda text, **how: means(model.priors, [EmotionCurve.parse(text)], times, **how)[0, 0]
    torch.testing.assert_close(at("happy"), model.priors.mean[1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(at("happy @ 0"), model.priors.mean[0], atol=1e-4, rtol=1e-4)
    longest = model.priors.mean.norm(dim=1).max()
    assert at("happy @ 2").norm() <= 1.0501 * longest
    common = model.priors.mean.mean(0)
    torch.testing.assert_close(at("happy", sharpen=1.0), model.priors.mean[1] - common, atol=1e-4, rtol=1e-4)
    assert [class_of("neutral", 2), class_of("happy", 1), class_of("contempt", 3)] == [0, 1, 21]


def test_a_frame_hears_what_surrounds_it():
    states = torch.arange(40.0).reshape(40, 1, 1).expand(-1, 2, 3) + 1
    found = windows(states, 10).reshape(10, 10, 2, 3)
    assert found[0, :, 0, 0].tolist() == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6]
    assert found[5, :, 1, 2].tolist() == [*range(17, 27)]
    assert found[9, :, 0, 0].tolist() == [*range(33, 41), 0, 0]


def test_long_sound_is_read_in_blocks_that_fade(model):
    whisper = model.parts["whisper"]  # blocks of 2 s here
    samples = np.random.default_rng(2).normal(size=5 * 16000 + 900).astype(np.float32) * 0.1
    hard, soft = heard(whisper, samples), heard(whisper, samples, overlap=0.4)
    assert len(hard) == len(soft) == 2 * (len(samples) // 640)
    torch.testing.assert_close(soft[:80], hard[:80])
    alone = whisper(log_mel(torch.from_numpy(samples[32000:64000]))[None])[0]
    torch.testing.assert_close(hard[100:200], alone)


@pytest.mark.slow
def test_the_speech_encoder_is_that_of_transformers():
    transformers = pytest.importorskip("transformers")
    import dice_release as release

    from talking_head.video import convert

    config = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        max_source_positions=50,
        vocab_size=30,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    theirs = transformers.WhisperModel(config).eval().encoder
    theirs.load_state_dict({k: v for k, v in release.whisper(prefix="").items() if "decoder" not in k})
    state = convert.renamed(release.whisper(), convert.WHISPER_NAMES)
    ours = convert.whisper(rename(state, convert), 2)
    ours.load_state_dict(rename(state, convert))
    mel = randn(1, 100, 80)
    wanted = torch.stack(theirs(mel.mT, output_hidden_states=True).hidden_states, 2)
    torch.testing.assert_close(ours(mel), wanted, atol=1e-5, rtol=1e-5)
    samples = np.random.default_rng(3).normal(size=48000).astype(np.float32)
    reader = transformers.WhisperFeatureExtractor(chunk_length=3)
    found = torch.from_numpy(reader(samples, sampling_rate=16000, return_tensors="np")["input_features"])
    torch.testing.assert_close(log_mel(torch.from_numpy(samples))[None], found.mT, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_clip_is_that_of_transformers(activation):
    transformers = pytest.importorskip("transformers")
    import dice_release as release

    from talking_head.video import convert

    config = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        projection_dim=24,
        hidden_act=activation,
    )
    theirs = transformers.CLIPVisionModelWithProjection(config).eval()
    theirs.load_state_dict(release.clip())
    state = rename(convert.renamed(release.clip(), convert.CLIP_NAMES), convert)
    ours = convert.image_encoder(state, 2, activation)
    ours.load_state_dict(state)
    picture = randn(2, 3, 28, 28)
    torch.testing.assert_close(ours(picture), theirs(picture).image_embeds, atol=1e-5, rtol=1e-5)


def rename(state, convert):
    for theirs, ours in convert.ATTENTION.items():
        state = {key.replace(theirs, ours): value for key, value in state.items()}
    return state


# ---------------------------------------------------------------- sampling


@pytest.fixture(scope="module")
def inputs(model, portrait, sound):
    return model.condition(portrait, sound, EmotionCurve.parse("0: sad, 0.6: happy"))


def test_guidance_with_one_scale_for_speech_and_emotion_runs_three_branches(model, inputs):
    weights = Sampler(model.parts["unet"], Plan())._weights(inputs, 0)
    assert weights == {"null": -2.0, "reference": -3.0, "emotion": 6.0}
    own = Plan(scales={"reference": 2.0, "audio": 4.0, "emotion": 5.0})
    assert set(Sampler(model.parts["unet"], own)._weights(inputs, 0)) == {"null", "reference", "audio", "emotion"}


def test_batched_guidance_is_one_branch_after_the_other(model, inputs):
    double = lambda x: tuple(t.double() for t in x) if isinstance(x, tuple) else x.double()
    inputs = Inputs(**{name: double(x) for name, x in vars(inputs).items()})
    unet = copy.deepcopy(model.parts["unet"]).double()
    rising = torch.linspace(1, 5, 9)[:, None, None, None]
    plan = Plan(scales={"reference": 2.0, "audio": 4.0, "emotion": rising})
    x, time = randn(1, 9, 4, 8, 8).double(), torch.tensor(0.3)
    with torch.no_grad():
        whole = Sampler(unet, plan).velocity(x, time, inputs, 20)
        parts = Sampler(unet, replace(plan, batched=False)).velocity(x, time, inputs, 20)
    torch.testing.assert_close(whole, parts, atol=1e-9, rtol=1e-7)


def test_parity_is_the_default_with_a_tail_that_goes(model, portrait, sound):
    curve, plan = EmotionCurve.parse("anger"), Plan(steps=1, parity=True)
    inputs = model.condition(portrait, sound, curve, plan)
    assert inputs.audio[1].shape[1] == inputs.emotion[1].shape[1] == 9 + 25
    assert torch.equal(inputs.audio[1][0, -1], inputs.audio[0][0, 0])
    torch.testing.assert_close(inputs.emotion[1][0, -1], inputs.emotion[0][0, 0])
    assert model.condition(portrait, sound, curve).emotion[1].shape[1] == 1
    generator = torch.Generator().manual_seed(5)
    torch.randn(portrait.reference.shape, generator=generator)
    wanted = torch.randn(1, 34, 4, 8, 8, generator=generator)
    torch.testing.assert_close(model.noise(portrait, 9, 5, plan), wanted)
    assert len(model.latents(inputs, wanted, plan)) == 9


def test_reused_deep_features_stay_near(model, inputs, portrait):
    noise = model.noise(portrait, 9, 3, Plan())
    exact, near = (Sampler(model.parts["unet"], Plan(steps=4, reuse=n)).run(inputs, noise) for n in (1, 2))
    assert torch.isfinite(near).all() and not torch.equal(exact, near)
    assert (exact - near).std() < exact.std()


def test_a_clip_has_as_many_pictures_as_its_sound_takes(model, portrait, sound):
    frames = list(model.generate(portrait, sound, EmotionCurve.parse("fear"), plan=Plan(steps=1)))
    assert len(frames) == 19 and {frame.shape for frame in frames} == {(64, 64, 3)}


def test_a_photograph_keeps_what_is_not_the_face(model, sound):
    pixels = np.random.default_rng(0).integers(0, 255, (90, 150, 3), dtype=np.uint8)
    curve, plan = EmotionCurve.parse("fear"), Plan(steps=1)
    frame = next(model.talk(pixels, (50, 30, 30, 30), sound, curve, side=64, plan=plan))
    assert frame.shape == pixels.shape
    assert (
        np.array_equal(frame[:, :30], pixels[:, :30]) and np.abs(frame[45, 65] - pixels[45, 65].astype(int)).max() > 0
    )
    assert (
        next(model.talk(pixels, (50, 30, 30, 30), sound, curve, side=64, crop=False, plan=plan)).shape == pixels.shape
    )


# ------------------------------------------------------------ pictures, tiles


def test_tiles_join_to_the_whole_picture():
    grow = lambda x: torch.nn.functional.interpolate(x, scale_factor=8.0)
    latents = randn(2, 4, 20, 13)
    torch.testing.assert_close(decode.tiled(grow, latents, 8), grow(latents), atol=1e-5, rtol=1e-5)
    assert decode.places(20, 8) == [0, 6, 12] and decode.places(5, 8) == [0]


def test_interpolation_keeps_the_frames_and_adds_between():
    frames = [torch.full((3, 40, 33), i / 4) for i in range(4)]
    network = Interpolator(width=8).eval()
    for made in (list(between(network, frames)), list(between(None, frames))):
        assert len(made) == 7
        assert all(torch.equal(a, b) for a, b in zip(made[::2], frames))
    still = list(between(network, frames[:1] * 2))[1]
    torch.testing.assert_close(still, frames[0])


def test_a_face_comes_back_to_its_place():
    square = around((40, 30, 20, 24), (100, 200))
    assert square == Square(30, 22, 40)
    assert around((0, 0, 20, 20), (100, 200)).side == 30
    picture = np.full((100, 200, 3), 50, np.uint8)
    whole = paste(picture, np.full((64, 64, 3), 250, np.uint8), square)
    assert (whole[42, 50] == 250).all() and (whole[:22] == 50).all() and (whole[:, 71:] == 50).all()


def test_missing_weights_say_what_to_do():
    with pytest.raises(CheckpointError, match="checkpoints convert dice-talk --from"):
        DiceVideo.load("dice-talk")
