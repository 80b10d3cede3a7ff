"""The diffusers base classes, imported without the modules that only compilation needs.

``diffusers.utils`` imports ``torch._dynamo``, which takes a second, and works without it; ``diffusers.hooks``, used by
``ModelMixin.device`` for offloading, does not.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch

__all__ = [
    "AttentionBackendName",
    "ConfigMixin",
    "ModelMixin",
    "dispatch_attention_fn",
    "randn_tensor",
    "register_to_config",
]


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Makes imports of a module fail unless it is already imported."""
    blocked = name not in sys.modules
    if blocked:
        sys.modules[name] = None
    try:
        yield
    finally:
        if blocked:
            del sys.modules[name]


with _without("torch._dynamo"):
    from diffusers.configuration_utils import ConfigMixin, register_to_config
    from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
    from diffusers.models.modeling_utils import ModelMixin as _ModelMixin
    from diffusers.utils.torch_utils import randn_tensor


class ModelMixin(_ModelMixin):
    to = torch.nn.Module.to  # diffusers' version checks offloading, which needs its hooks

    @property
    def device(self) -> torch.device:
        """The device of the first parameter or buffer."""
        return next(chain(self.parameters(), self.buffers())).device
