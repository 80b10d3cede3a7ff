"""What networks need of diffusers, imported without what only compiling needs.

``diffusers.utils`` asks for ``torch._dynamo``, which takes a second to import, and does without it where it is missing;
``diffusers.hooks``, which ``ModelMixin.device`` asks about offloading, cannot do without.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch

__all__ = ["AttentionBackendName", "ConfigMixin", "ModelMixin", "dispatch_attention_fn", "randn_tensor",
           "register_to_config"]  # fmt: skip


@contextmanager
def _without(name: str) -> Iterator[None]:
    """A module that is not imported yet counts as missing."""
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
    to = torch.nn.Module.to  # diffusers' own asks about offloading, too

    @property
    def device(self) -> torch.device:
        """Where the first parameter or buffer lies."""
        return next(chain(self.parameters(), self.buffers())).device
