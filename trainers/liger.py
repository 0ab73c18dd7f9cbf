"""Liger's Triton kernels for norms, rotary positions and feed-forward layers, by transformers' own integration.

The output matrix is left alone: log-probabilities are computed in chunks here, and never as a whole table.
"""

from __future__ import annotations

import torch
from torch import nn

from agentrl.errors import UserError

KERNELS = {"rope": True, "rms_norm": True, "swiglu": True, "cross_entropy": False, "fused_linear_cross_entropy": False}


def patch(model: nn.Module, device: torch.device) -> None:
    """Let ``model``, which lies on ``device``, compute with them. Raises UserError where that cannot be.

    Source: github.com/linkedin/Liger-Kernel, through ``transformers.integrations.liger``.
    """
    from transformers.integrations.liger import apply_liger_kernel
    from transformers.utils import is_liger_kernel_available

    if device.type != "cuda":
        raise UserError(f"optim.liger needs a GPU, and the policy lies on {device}: leave it out")
    if not is_liger_kernel_available():
        raise UserError("optim.liger needs a package: pip install 'agentrl-toolkit[liger]'")
    try:
        apply_liger_kernel(model, KERNELS)
    except (TypeError, ValueError) as error:  # a type of model that has other kernels, or none
        raise UserError(f"optim.liger cannot be had for a {type(model).__name__}: {error}") from error
