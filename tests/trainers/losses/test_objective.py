"""The composition: what a recipe may say, what it costs to say it wrong, and that micro-batches change nothing."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from agentrl.errors import UserError
from agentrl.trainers.batching import Rows
from agentrl.trainers.losses import registry
from agentrl.trainers.losses.objective import effective_share, objective


def rows(n=12, samples=3, seed=0, **columns):
    """Rows with ratios around 1, advantages of both signs and weights that sum to 1."""
    rng = np.random.default_rng(seed)
    old = torch.tensor(-rng.random(n) - 0.1)
    sample = torch.arange(samples).repeat_interleave(n // samples)
    return Rows(
        logprobs=old + torch.tensor(rng.normal(0, 0.3, n)),
        entropies=torch.tensor(rng.random(n)),
        old_logprobs=old,
        advantages=torch.tensor(rng.normal(size=n)),
        weight=torch.full((n,), 1 / n, dtype=torch.float64),
        sample=sample,
        columns={"sampler": old, **columns},
    )


def test_the_gradient_is_that_of_the_sum():
    made = rows(reference=torch.full((12,), -0.5, dtype=torch.float64))
    goal = objective({"ppo": {"high": 0.28}}, [], [{"kl": {"weight": 0.3, "estimate": "k2"}}])
    gradient, sums = goal.gradient(made)
    leaf = made.logprobs.clone().requires_grad_()
    ratio = torch.exp(leaf - made.old_logprobs)
    a = made.advantages
    clipped = torch.maximum(-a * ratio, -a * ratio.clamp(0.8, 1.28))
    clipped = torch.where(a < 0, torch.minimum(clipped, -a * 3.0), clipped)
    loss = (made.weight * (clipped + 0.3 * (leaf + 0.5).square() / 2)).sum()
    (want,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(gradient["logprobs"], want)
    assert sums["loss"] == pytest.approx(loss.item())
    assert sums["loss"] == pytest.approx(sums["policy_loss"] + sums["kl_term"])
    assert set(gradient) == {"logprobs"}


def test_shares_tell_what_is_clipped_and_what_has_no_advantage():
    made = rows()
    made.logprobs = made.old_logprobs + torch.tensor([0.0, 1.0] * 6)
    made.advantages = torch.tensor([1.0, 1.0, 0.0] * 4, dtype=torch.float64)
    _, sums = objective().gradient(made)
    assert sums["zero_advantage_share"] == pytest.approx(4 / 12)
    assert sums["clip_share"] == pytest.approx(4 / 12)  # ratio e above the clip, where there is something to gain
    ratios = torch.exp(torch.tensor([0.0, 1.0] * 6)).double()
    assert effective_share(sums) == pytest.approx(float(ratios.sum() ** 2 / (12 * ratios.square().sum())))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ({"policy": "pppo"}, "did you mean 'ppo'"),
        ({"policy": {"ppo": {"hihg": 0.3}}}, "unknown option of ppo 'hihg'; did you mean 'high'"),
        ({"policy": {"ppo": {"low": -1}}}, "option low of ppo"),
        ({"policy": {"ppo": {"weight": 1}}}, "unknown option of ppo 'weight'"),
        ({"terms": ["kll"]}, "unknown loss term 'kll'; did you mean 'kl'"),
        ({"terms": [{"kl": {"weight": "much"}}]}, "option weight of kl must be a number"),
        ({"terms": ["kl", "kl"]}, "kl is named twice"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(loss, message):
    with pytest.raises(UserError, match=message):
        objective(**loss)


def test_a_column_that_nothing_gave_is_named():
    with pytest.raises(UserError, match="loss kl needs 'reference'"):
        objective(terms=["kl"]).gradient(rows())


def test_rows_join_and_keep_their_samples():
    joined = Rows.join([rows(seed=0), rows(seed=1)])
    assert joined.sample.tolist() == [i for i in range(6) for _ in range(4)]
    torch.testing.assert_close(joined.mean(joined.advantages), joined.advantages.reshape(6, 4).mean(1))
    assert len(joined.columns["sampler"]) == 24


def test_the_guide_names_every_loss():
    guide = (Path(__file__).parents[3] / "docs" / "trainer.md").read_text()
    for kind in registry.KINDS:
        (row,) = [line for line in guide.splitlines() if line.startswith(f"| {kind} |")]
        aliases = {id for k, id in registry.ALIASES if k == kind}
        assert set(re.findall("`([^`]+)`", row)) == {*registry.BUILTIN[kind], *aliases}
