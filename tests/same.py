"""Compares the weights of two networks."""

import torch


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> None:
    """Asserts bit-equal weights. Outputs may differ: memory alignment selects other kernels."""
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
