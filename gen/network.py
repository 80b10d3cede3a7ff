"""The diffusers base classes, imported without the modules that only compilation needs.

``diffusers.utils`` imports ``torch._dynamo``, which takes a second, and works without it; ``diffusers.hooks``, used by
``ModelMixin.device`` for offloading, does not.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

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
    modules: dict[str, Any] = sys.modules
    blocked = name not in modules
    if blocked:
        modules[name] = None
    try:
        yield
    finally:
        if blocked:
            del modules[name]


with _without("torch._dynamo"):
    from diffusers.configuration_utils import ConfigMixin, register_to_config
    from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
    from diffusers.models.modeling_utils import ModelMixin as _ModelMixin
    from diffusers.utils.torch_utils import randn_tensor


class ModelMixin(_ModelMixin):
    # diffusers' version checks offloading, which needs its hooks
    to = torch.nn.Module.to  # pyright: ignore[reportAssignmentType]

    @property
    def device(self) -> torch.device:
        """The device of the first parameter or buffer."""
        return next(chain(self.parameters(), self.buffers())).device
