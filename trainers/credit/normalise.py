"""Group statistics and returns: the arithmetic that all estimators share, in linear time and without padding."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentrl.trainers.credit.table import Bools, Floats, Ints, TurnTable

Singleton = Literal["zero", "raw"]


def group_centred(
    values: npt.ArrayLike,
    group: Ints,
    *,
    std: bool = False,
    ddof: int = 1,
    eps: float = 1e-6,
    zero_tol: float = 1e-9,
    singleton: Singleton = "zero",
    sample: Bools | None = None,
) -> Floats:
    """Each value minus the mean of its group, divided by ``std + eps`` of the group where ``std`` is true.

    ``values`` [K], ``group`` [K] of non-negative integers -> [K]. ``sample`` [K] marks the values that the statistics
    are taken over (all, unless given); every value is then measured against them. ``ddof`` 1: sample deviation.
    A deviation from the mean below ``zero_tol`` is 0, and a group whose standard deviation is below it is centred
    but not divided, so that rounding noise is never blown up; ``zero_tol=0`` divides by ``eps`` there, as published
    code does. ``singleton``: a group of one sample gives 0, or keeps its value (mean 0, deviation 1).
    """
    x = np.asarray(values, np.float64)
    if not len(x):
        return x.copy()
    taken = slice(None) if sample is None else sample
    x_s, g_s = x[taken], group[taken]
    size = int(group.max()) + 1
    count = np.bincount(g_s, minlength=size)
    mean = np.bincount(g_s, x_s, size) / np.maximum(count, 1)
    lone = count == 1
    if singleton == "raw":
        mean[lone] = 0.0
    centred = x - mean[group]
    centred[np.abs(centred) < zero_tol] = 0.0
    if std:
        square = np.bincount(g_s, (x_s - mean[g_s]) ** 2, size)
        deviation = np.sqrt(square / np.maximum(count - ddof, 1))
        deviation[lone] = 1.0
        centred /= np.where(deviation < zero_tol, 1.0, deviation + eps)[group]
    if singleton == "zero":
        centred[lone[group]] = 0.0
    return centred


def spread(values: Floats, group: Ints, *, ddof: int = 1, zero_tol: float = 1e-9) -> Floats:
    """[K] the standard deviation of each value's group; 0 for a group of one. ``zero_tol`` as above."""
    centred = group_centred(values, group, zero_tol=zero_tol)
    square = np.bincount(group, centred**2)
    found: Floats = np.sqrt(square / np.maximum(np.bincount(group) - ddof, 1))[group]
    return found


def scan(reward: Floats, value: Floats, length: Ints, last: Floats, gamma: float, lam: float) -> Floats:
    """Advantages [K] of sequences that lie one after another, ``length`` [M] steps each (at least one).

    ``d_t = r_t + gamma V_{t+1} - V_t``, ``A_t = d_t + gamma lam A_{t+1}``. ``value`` [K] is that of the state before
    each step, ``last`` [M] that of the state after a sequence. Runs backwards over all sequences at once, longest
    first, so that it costs K operations and equals the plain loop bit for bit.
    """
    longest_first = np.argsort(-length, kind="stable")
    end = (np.cumsum(length) - 1)[longest_first]
    alive = np.searchsorted(-length[longest_first], -np.arange(length.max(initial=0)), side="left")
    following, carry = last[longest_first], np.zeros(len(length))
    advantages = np.zeros(len(reward))
    for back, n in enumerate(alive):  # the n sequences that have more than ``back`` steps
        at = end[:n] - back
        carry[:n] = reward[at] + gamma * following[:n] - value[at] + gamma * lam * carry[:n]
        following[:n] = value[at]
        advantages[at] = carry[:n]
    return advantages


def returns_to_go(table: TurnTable, gamma: float) -> Floats:
    """[N] ``R_t = r_t + gamma * R_{t+1}`` inside each trajectory: the discounted sum of rewards from a turn on."""
    return scan(table.reward, np.zeros(len(table)), table.length, np.zeros(len(table.ids)), gamma, 1.0)


def joint(*columns: Ints) -> Ints:
    """[K] numbers 0, 1, ... that are equal exactly where all columns are equal."""
    key = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        _, code = np.unique(column, return_inverse=True)
        _, key = np.unique(key * (code.max(initial=0) + 1) + code, return_inverse=True)
    return key.astype(np.int64)


def whitened(values: npt.ArrayLike, weight: npt.ArrayLike, eps: float = 1e-8) -> Floats:
    """``(x - mean) / sqrt(var + eps)`` -> [K], each value counted ``weight`` [K] times (as many tokens as it has).

    ``var`` has Bessel's correction, ``n / (n - 1)`` with ``n`` the sum of weights, as published token-level code has
    it. Where no weight is known (all 0, as for scripted policies) every value counts once.
    """
    x, w = np.asarray(values, np.float64), np.asarray(weight, np.float64)
    if not w.any():
        w = np.ones(len(x))
    n = w.sum()
    if n <= 1:
        return np.zeros(len(x))
    centred = x - (w @ x) / n
    result: Floats = centred / np.sqrt((w @ centred**2) / (n - 1) + eps)
    return result
