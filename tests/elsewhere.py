"""A device that is not the CPU, on any machine: its tensors have shapes but no data, like torch.compile's fake tensors.

CPU tensors are real. Operations on both raise, except for 0-d tensors, which kernels accept.
"""

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "elsewhere"
TRAINED = 1000
READ = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.item.default, torch.ops.aten.is_nonzero.default)


def ready() -> None:
    """Registers the device in this process."""
    if torch._C._get_privateuse1_backend_name() != NAME:
        _setup_privateuseone_for_python_backend(NAME)


class Elsewhere(TorchDispatchMode):
    """Makes the device available. ``made`` collects the operations that create CPU tensors, and their sizes; ``read``
    gives the answers, in order, to reads of device values; the last is repeated."""

    def __init__(self, read=(0,)):
        super().__init__()
        ready()
        self.fake, self.made, self.read = FakeTensorMode(allow_non_fake_inputs=True), [], list(read)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        inputs = tree_leaves((args, kwargs))
        there = any(isinstance(x, FakeTensor) for x in inputs)
        if func in READ and there:
            value = self.read.pop(0) if len(self.read) > 1 else self.read[0]
            return bool(value) if args[0].dtype == torch.bool else value
        if there or torch.device(kwargs.get("device") or "cpu").type == NAME:
            meet = lambda x: self.fake.from_tensor(x) if isinstance(x, Tensor) and not isinstance(x, FakeTensor) else x
            args, kwargs = tree_map(meet, (args, kwargs))
            with self.fake:
                return func(*args, **kwargs)
        found = func(*args, **kwargs)
        self.made += [(str(func), x.numel()) for x in tree_leaves(found) if isinstance(x, Tensor)]
        return found

    def large(self, least: int) -> list[tuple[str, int]]:
        """CPU tensors of at least this many numbers, except diffusers' noise levels of training."""
        return [one for one in self.made if one[1] >= least and one[1] not in (TRAINED, TRAINED + 1)]

    def tensor(self, *shape: int, dtype=torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=NAME)

    def place(self, module: nn.Module) -> nn.Module:
        """Moves a network to the device."""
        for part in module.modules():
            for name, value in part._parameters.items():
                if value is not None:
                    there = self.tensor(*value.shape, dtype=value.dtype)
                    part._parameters[name] = nn.Parameter(there, requires_grad=False)
            for name, value in part._buffers.items():
                if value is not None:
                    part._buffers[name] = self.tensor(*value.shape, dtype=value.dtype)
        return module
