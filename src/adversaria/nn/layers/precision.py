"""Where half precision would lose what matters."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32 if it comes in half precision; float32 and float64 stay."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Within it every operation on ``device`` computes in the dtype of its arguments."""
    if not torch.amp.is_autocast_available(device.type):  # such as meta, which refuses even enabled=False
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
