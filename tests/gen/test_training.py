"""The training loop: resumes, saves only trained weights, and can end with the average of the weights."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from gen.errors import InputError
from gen.training import LOW, WARM, Run


def start(folder, minutes=0.002, **options):
    torch.manual_seed(0)
    return Run("line", nn.Linear(2, 1), folder, minutes, 1e-2, precision=None, **options)


def loss(run):
    value = (run.model(torch.ones(1, 2)) - 3).square().mean()
    return value, {"loss": value}


def test_training_learns_and_resumes(tmp_path):
    first = start(tmp_path, average=0.9)
    before = float(loss(first)[0])
    first.train(lambda: loss(first))
    assert first.elapsed >= 0.12 and float(loss(first)[0]) < before
    again = start(tmp_path, 0.004, average=0.9)
    assert again.step == first.step and again.elapsed == first.elapsed
    torch.testing.assert_close(again.averaged, first.averaged)
    again.train(lambda: loss(again))
    assert again.step > first.step
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines) and lines[-1]["model"] == "line"


def test_a_finished_training_ends_with_its_average_again(tmp_path):
    first = start(tmp_path, average=0.9)
    first.train(lambda: loss(first))
    last = torch.load(first.path, weights_only=True)["model"]
    assert not torch.equal(first.model.weight, last["weight"])
    again = start(tmp_path, average=0.9)
    again.train(lambda: loss(again))
    assert torch.equal(again.model.weight, first.model.weight)


def test_without_an_average_the_last_weights_stay(tmp_path):
    run = start(tmp_path)
    run.train(lambda: loss(run))
    assert torch.equal(run.model.weight, torch.load(run.path, weights_only=True)["model"]["weight"])


def test_frozen_weights_are_neither_trained_nor_saved(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    run = Run("part", model, tmp_path, 0.001, 1e-2, precision=None)
    run.train(lambda: loss(run))
    assert torch.equal(model[0].weight, before)
    assert set(torch.load(run.path, weights_only=True)["model"]) == {"1.weight", "1.bias"}
    Run("part", model, tmp_path, 0.001, 1e-2)


def test_the_state_of_another_model_is_refused(tmp_path):
    run = start(tmp_path)
    run.save()
    with pytest.raises(InputError, match=r"line\.pt belongs to another model"):
        Run("line", nn.Sequential(nn.Linear(2, 1)), tmp_path, 1, 1e-2)


def test_training_by_steps_is_reproducible_after_a_stop(tmp_path):
    def trained(folder, stop: int | None = None) -> torch.Tensor:
        draw = np.random.default_rng(0)
        run = start(folder, None, steps=6, random=draw, settings={"steps": 6})

        def noisy():
            if run.step == stop:
                run.save()
                raise KeyboardInterrupt
            value = (run.model(torch.ones(1, 2)) - draw.random() - torch.rand(1)).square().mean()
            return value, {"loss": value}

        run.train(noisy)
        return run.model.weight

    whole = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", stop=3)
    assert torch.equal(trained(tmp_path / "parts"), whole)
    with pytest.raises(InputError, match="other settings"):
        start(tmp_path / "parts", None, steps=7, random=np.random.default_rng(0), settings={"steps": 7})


def test_the_learning_rate_warms_up_then_decays(tmp_path):
    run, rates = start(tmp_path, 1.0), []
    for run.elapsed in (0.0, 0.0, 30.0, 60.0):
        run.step = 0 if not rates else WARM
        run._advance(lambda: loss(run))
        rates.append(run.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-2 / WARM, 1e-2, 1e-2 * (LOW + 1) / 2, 1e-2 * LOW])
