"""Training the tiny video network: it learns two clips by heart, stages train what they say, and runs go on."""

import json

import numpy as np
import pytest
import torch

from gen import media
from gen.errors import InputError
from gen.training import Run
from talking_head.training.dice_video import Settings, Training, train
from talking_head.training.video_data import Batch, Example, Windows, example
from talking_head.video import lora
from talking_head.video.pipeline import DiceVideo

NEVER = {"drop_audio": 0.0, "drop_image": 0.0, "drop_both": 0.0, "drop_emotion": 0.0}


def clips(count=2, frames=3, side=32):
    """Encoded clips of small moving pictures, as :func:`example` gives them."""
    random = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=random)
    made = []
    for i in range(count):
        latents = draw(1, 4, side // 8, side // 8) + 0.3 * draw(frames, 4, 1, 1)
        told = draw(1, 1, 32), draw(frames, 480), draw(256), torch.tensor(1 + 7 * i)
        made.append(Example(latents, latents[:1] / 0.18215, *told, torch.ones(3, side, side), torch.ones(4, 4)))
    return made


def fit(stage, steps, rate=3e-3, **more):
    torch.manual_seed(0)
    training = Training(DiceVideo.build("tiny"), Settings(size="tiny", stage=stage, **NEVER, **more))
    windows = Windows(clips(), 2, 0)
    optimiser = torch.optim.AdamW([p for p in training.parameters() if p.requires_grad], rate)
    found = []
    for _ in range(steps):
        loss, values = training(windows())
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        found.append({name: value.item() for name, value in values.items()})
    return training, found


@pytest.mark.slow
def test_two_clips_are_learnt_by_heart():
    fresh, _ = fit("d1", 0)
    learnt, _ = fit("d1", 50, rate=5e-3)
    losses = []
    for training in (fresh, learnt):
        torch.manual_seed(1)  # the same noise for both
        windows = Windows(clips(), 2, 1)
        with torch.no_grad():
            losses.append(np.mean([training(windows())[1]["diffusion"].item() for _ in range(8)]))
    assert losses[1] < 0.5 * losses[0]


@pytest.mark.slow
def test_the_second_stage_learns_to_tell_emotions():
    _, values = fit("d2", 40, rate=1e-2)
    course = [v["discrimination"] for v in values]
    assert np.mean(course[-8:]) < 0.5 * np.mean(course[:4])
    assert values[0]["bank"] == 0  # soft mode


@pytest.mark.parametrize(
    ("stage", "moved", "still"),
    [
        ("d1", "unet.net.conv_in.weight", "emotion.emo_linear.proj1.weight"),
        ("d2", "emotion.emo_linear.proj1.weight", "unet.net.conv_in.weight"),
    ],
)
def test_a_stage_trains_its_own_parts(stage, moved, still):
    training, _ = fit(stage, 1)
    state = training.parts.state_dict()
    before = Training(DiceVideo.build("tiny"), Settings(size="tiny", stage=stage)).parts.state_dict()
    assert not torch.equal(state[moved], before[moved])
    assert torch.equal(state[still], before[still])
    adapter = "unet.net.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_v_ip.{}.weight".format
    mine, other = (0, 1) if stage == "d1" else (1, 0)
    assert not torch.equal(state[adapter(mine)], before[adapter(mine)])
    assert torch.equal(state[adapter(other)], before[adapter(other)])


@pytest.mark.slow
def test_low_rank_changes_are_small_begin_as_nothing_and_merge(tmp_path):
    unet = DiceVideo.build("tiny").parts["unet"]
    before = {name: p.clone() for name, p in unet.named_parameters()}
    training, _ = fit("lora", 2, rank=2)
    changed = training.parts["unet"]
    trained = sum(p.numel() for p in training.parameters() if p.requires_grad)
    assert trained < 0.02 * sum(p.numel() for p in unet.parameters())
    lora.save(changed, tmp_path / "lora.safetensors")
    lora.merge(changed)
    DiceVideo.build("tiny").save(tmp_path / "base")
    unet = DiceVideo.load(str(tmp_path / "base"), changes=tmp_path / "lora.safetensors").parts["unet"]
    after = dict(unet.named_parameters())
    assert after.keys() == before.keys()
    for name, value in changed.named_parameters():
        torch.testing.assert_close(after[name], value)
    assert any(not torch.equal(after[name], before[name]) for name in after)


def test_dropped_conditions_are_those_of_guidance():
    torch.manual_seed(0)
    model = DiceVideo.build("tiny")
    training = Training(model, Settings(size="tiny", stage="d2", drop_both=1.0, drop_emotion=1.0))
    seen = []
    training.parts["unet"].register_forward_pre_hook(lambda module, args: seen.append(args))
    training(Windows(clips(), 2, 0)())
    sample, _, contexts, _ = seen[0]
    assert not sample[:, :, 4:].any() and not contexts.portrait.any()
    silent = model.parts["audio"](torch.zeros(1, 480))
    torch.testing.assert_close(contexts.tokens[0][1, 2], silent[0])


@pytest.mark.slow
def test_activations_worked_out_twice_give_the_same_gradients():
    grads = []
    for checkpointing in (False, True):
        training = Training(DiceVideo.build("tiny"), Settings(size="tiny", stage="d2", checkpointing=checkpointing))
        torch.manual_seed(0)
        training(Windows(clips(), 2, 0)())[0].backward()
        attn = training.parts["unet"].net.mid_block.attentions[0].transformer_blocks[0].attn2
        grads.append(attn.processor.to_v_ip[1].weight.grad)
    torch.testing.assert_close(grads[0], grads[1])


def test_unknown_stages_are_named():
    with pytest.raises(InputError, match="d1, d2, lora"):
        Training(DiceVideo.build("tiny"), Settings(stage="d3"))


# ------------------------------------------------------------- files, runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("clips")
    random = np.random.default_rng(0)
    for name, emotion in (("one", "happy"), ("two", "neutral")):
        frames = random.integers(0, 255, (13, 64, 64, 3), dtype=np.uint8)
        media.write_video(place / f"{name}.mp4", frames, 25, 0.1 * random.normal(size=8320), 16000)
        facts = {"box": [10, 10, 40, 40], "lips": [24, 34, 16, 8], "emotion": emotion, "level": 3}
        (place / f"{name}.json").write_text(json.dumps(facts))
    return place


def test_a_clip_is_encoded_with_its_facts(folder):
    clip = example(DiceVideo.build("tiny"), folder / "one.mp4", 64)
    count = len(clip.spans)
    assert count in (6, 7) and clip.spans.shape[1] == 480  # AAC pads the sound
    assert clip.latents.shape == (count, 4, 8, 8)
    assert clip.references.shape == (4, 4, 8, 8) and clip.seen.shape == (4, 1, 32)
    assert int(clip.kind) == 3 and clip.mu.any()
    assert clip.weight.min() == 1 and clip.weight.max() > 2
    torch.testing.assert_close(clip.latents[0] / 0.18215, clip.references[0])


def test_a_clip_without_facts_is_refused(tmp_path):
    media.write_video(tmp_path / "x.mp4", np.zeros((5, 64, 64, 3), np.uint8), 25, np.zeros(3200), 16000)
    with pytest.raises(InputError, match=r"x\.json is missing"):
        example(DiceVideo.build("tiny"), tmp_path / "x.mp4", 64)


@pytest.mark.slow
def test_training_goes_on_and_writes_a_checkpoint(folder, tmp_path):
    settings = Settings(size="tiny", side=64, batch=2, device="cpu", rate=1e-3)
    train(folder, tmp_path, 1e-4, settings)
    first = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    spent = torch.load(tmp_path / "d1.pt", weights_only=True)["elapsed"] / 60
    train(folder, tmp_path, spent + 1e-4, settings)
    last = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert last[-1]["step"] > first[-1]["step"] >= 1
    loaded = DiceVideo.load(str(tmp_path / "checkpoint"))
    state = torch.load(tmp_path / "d1.pt", weights_only=True)["model"]
    torch.testing.assert_close(loaded.parts["unet"].net.conv_in.weight, state["parts.unet.net.conv_in.weight"])


@pytest.mark.slow
def test_accelerate_trains_the_same(tmp_path):
    pytest.importorskip("accelerate")
    windows = Windows(clips(), 2, 0)
    training = Training(DiceVideo.build("tiny"), Settings(size="tiny"))
    run = Run("d1", training, tmp_path, 0.0001, 1e-3, precision=None, spread=True)
    run.train(lambda: run.model(Batch(*windows())))
    assert run.step >= 1 and run.path.exists()
