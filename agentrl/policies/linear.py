"""Float32 matrix products on a CPU by oneDNN.

torch sends them to MKL, which uses half the vector width of processors that are not Intel's. oneDNN uses all of it:
on an AMD Zen 5 core about 220 GFLOP/s against 100 (``python benchmarks/update.py``). Results differ by the order of
additions only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

FEWEST_ROWS = 16  # below, the call costs more than the product
_product: Any = None  # oneDNN's x @ w.T + b, where this torch and this processor have it
if torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
    _product = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


class OneDnnLinear(nn.Linear):
    """``nn.Linear`` with the same weights, for float32 on a CPU; anything else goes torch's own way."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        rows = input.numel() // max(1, input.shape[-1])
        plain = input.dtype == self.weight.dtype == torch.float32 and input.device.type == "cpu"
        if not plain or rows < FEWEST_ROWS or torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        result: torch.Tensor = _Product.apply(input, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return result


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return _times(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1])
        needs = ctx.needs_input_grad
        return (
            _times(grad, weight.t()) if needs[0] else None,
            _times(flat.t(), x.reshape(-1, x.shape[-1]).t()) if needs[1] else None,
            flat.sum(0) if needs[2] else None,
        )


def _times(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    result: torch.Tensor = _product(x, weight, bias, "none", [], "")
    return result


def speed_up(model: nn.Module) -> nn.Module:
    """Let the linear layers of ``model`` use oneDNN where it can. In place; the weights stay as they are."""
    if _product is not None:
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = OneDnnLinear
    return model
