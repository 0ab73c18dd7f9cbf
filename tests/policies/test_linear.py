"""oneDNN's products are torch's own up to rounding, forward and backward, and leave the model what it was."""

import copy

import pytest
import torch
from torch import nn

from agentrl.policies import linear
from agentrl.policies.linear import FEWEST_ROWS, OneDnnLinear, speed_up

needs_onednn = pytest.mark.skipif(linear._product is None, reason="no oneDNN or no AVX-512 here")


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(40,), (3, 17), (2, 3, 7), (FEWEST_ROWS - 1,), (0,)])
def test_values_and_gradients_are_torchs(bias, shape):
    torch.manual_seed(0)
    plain = nn.Linear(24, 40, bias=bias)
    fast = speed_up(copy.deepcopy(plain))
    assert type(fast) is OneDnnLinear
    x, grad = torch.randn(*shape, 24), torch.randn(*shape, 40)
    found = []
    for layer in (plain, fast):
        given = x.clone().requires_grad_()
        out = layer(given)
        out.backward(grad)
        found.append([out, given.grad, *(p.grad for p in layer.parameters())])
    for want, got in zip(*found, strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


@needs_onednn
def test_transposed_and_frozen_operands():
    torch.manual_seed(0)
    plain = nn.Linear(24, 40).requires_grad_(False)
    fast = speed_up(copy.deepcopy(plain))
    x = torch.randn(24, 50).t().requires_grad_()
    torch.testing.assert_close(fast(x), plain(x), atol=1e-5, rtol=1e-5)
    (got,) = torch.autograd.grad(fast(x).square().sum(), x)
    (want,) = torch.autograd.grad(plain(x).square().sum(), x)
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), plain(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_left_to_torch(dtype):
    layer = nn.Linear(8, 8).to(dtype)
    x = torch.randn(32, 8).to(dtype)
    assert torch.equal(speed_up(copy.deepcopy(layer))(x), layer(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert speed_up(nn.Linear(8, 8))(torch.randn(32, 8)).dtype == torch.bfloat16


@needs_onednn
def test_subclasses_names_and_weights_stay():
    class Own(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(4, 4), Own(4, 4))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    speed_up(model)
    assert [type(m) for m in model] == [OneDnnLinear, Own]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert list(before) == list(model.state_dict())
