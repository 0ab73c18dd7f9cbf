"""Generalised advantage estimation (Schulman 2016, arXiv 1506.02438), by turn and by token.

Pure functions of values that the caller has: the turn table holds none yet, so that neither is a registered estimator.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agentrl.trainers.credit.normalise import whitened
from agentrl.trainers.credit.table import Floats


def gae_turn(
    rewards: Sequence[float], values: Sequence[float], gamma: float = 1.0, lam: float = 1.0, bootstrap: float = 0.0
) -> tuple[Floats, Floats]:
    """One trajectory's advantages and returns, [T] each.

    ``d_t = r_t + gamma V_{t+1} - V_t``, ``A_t = d_t + gamma lam A_{t+1}``, returns ``A + V``. ``values`` [T]: that of
    the state before each turn. ``bootstrap`` is the value after the last turn: 0 where the episode terminated, the
    critic's where it was cut off.
    """
    r, v = np.asarray(rewards, np.float64), np.asarray(values, np.float64)
    if r.shape != v.shape or r.ndim != 1:
        raise ValueError(f"gae_turn needs one value a reward: {r.shape} and {v.shape}")
    delta = r + gamma * np.append(v[1:], bootstrap)[: len(v)] - v
    advantages = np.zeros(len(r))
    carry = 0.0
    for t in reversed(range(len(r))):
        carry = delta[t] + gamma * lam * carry
        advantages[t] = carry
    return advantages, advantages + v


def gae_token(
    rewards: npt.ArrayLike, values: npt.ArrayLike, mask: npt.ArrayLike, gamma: float = 1.0, lam: float = 1.0
) -> tuple[Floats, Floats]:
    """Advantages and returns of rows of tokens, [B, L] each; 0 where ``mask`` [B, L] is 0.

    A token that was not sampled (an observation, padding) is passed over: the sampled token before it looks to the
    sampled token after it, across whatever stands between, so no turn of an episode is cut off from the next.
    """
    r, v = np.asarray(rewards, np.float64), np.asarray(values, np.float64)
    sampled = np.asarray(mask, bool)
    if not r.shape == v.shape == sampled.shape or r.ndim != 2:
        raise ValueError(f"gae_token needs rows of equal shape: {r.shape}, {v.shape} and {sampled.shape}")
    advantages = np.zeros(r.shape)
    value, carry = np.zeros(len(r)), np.zeros(len(r))  # of the next sampled token of each row
    for t in reversed(range(r.shape[1])):
        on = sampled[:, t]
        found = r[:, t] + gamma * value - v[:, t] + gamma * lam * carry
        value, carry = np.where(on, v[:, t], value), np.where(on, found, carry)
        advantages[on, t] = found[on]
    return advantages, np.where(sampled, advantages + v, 0.0)


def whitened_tokens(advantages: Floats, mask: npt.ArrayLike, eps: float = 1e-8) -> Floats:
    """``(A - mean) / sqrt(var + eps)`` over the sampled tokens of all rows -> [B, L], 0 elsewhere."""
    sampled = np.asarray(mask, bool)
    out = np.zeros(advantages.shape)
    out[sampled] = whitened(advantages[sampled], np.ones(int(sampled.sum())), eps)
    return out
