"""Draws against the distribution they come from."""

import numpy as np
import torch

from agentrl.policies.sampling import sample


def test_sampling_follows_the_distribution():
    torch.manual_seed(0)
    n, logits = 40_000, torch.randn(8) * 1.5
    logits[3] = -torch.inf
    for temperature in (0.5, 1.0, 2.0):
        draws = torch.from_numpy(np.random.default_rng(0).random(n))
        ids, logprobs, entropies = sample(logits.expand(n, 8), torch.full((n,), temperature), draws)
        p = torch.softmax(logits.double() / temperature, -1).numpy()
        counts = np.bincount(ids.numpy(), minlength=8)
        assert counts[3] == 0
        possible = p > 0
        chi2 = ((counts - n * p)[possible] ** 2 / (n * p)[possible]).sum()
        assert chi2 < 22.5  # 6 degrees of freedom: exceeded once in a thousand
        np.testing.assert_allclose(logprobs.numpy(), np.log(p[ids.numpy()]), atol=1e-5)
        np.testing.assert_allclose(entropies.numpy(), -(p[possible] * np.log(p[possible])).sum(), atol=1e-5)


def test_the_ends_of_the_unit_interval_draw_possible_tokens():
    logits = torch.tensor([[-torch.inf, 0.0, 1.0, -torch.inf]] * 2)
    ids, logprobs, _ = sample(logits, torch.ones(2), torch.tensor([0.0, np.nextafter(1, 0)], dtype=torch.float64))
    assert ids.tolist() == [1, 2]
    assert torch.isfinite(logprobs).all()
