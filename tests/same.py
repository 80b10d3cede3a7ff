"""What two networks that should be one have in common."""

import torch


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> None:
    """Equal to the bit. What they compute need not be: other alignment in memory chooses other kernels."""
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
