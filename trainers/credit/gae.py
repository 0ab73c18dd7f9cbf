"""Generalised advantage estimation (Schulman 2016, arXiv 1506.02438), by turn and by token."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.normalise import scan
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable

Share = Annotated[float, Field(ge=0, le=1)]


def turn_returns(table: TurnTable, *, gamma: float, lam: float, bootstrap: bool) -> Floats:
    """[N] what each turn's value should have been: ``A + V``."""
    return _of_turns(table, gamma, lam, bootstrap) + table.values


def token_returns(table: TurnTable, *, gamma: float, lam: float, bootstrap: bool) -> Floats:
    """[T] what each token's value should have been: ``A + V``."""
    return _of_tokens(table, gamma, lam, bootstrap) + table.token_values


@estimator("gae", needs=["values"], needs_if={"bootstrap": "last_value"}, targets=turn_returns)
def gae(
    table: TurnTable, state: Any, *, gamma: Share = 1.0, lam: Share = 0.95, bootstrap: bool = True
) -> tuple[Floats, Any]:
    """``A_t = d_t + gamma lam A_{t+1}`` -> [N], ``d_t = r_t + gamma V_{t+1} - V_t``; a turn is a step.

    ``V_t`` is the state's value before the turn. After the last turn it is 0 where the episode came to an end; where
    it was cut short (by its environment or a limit of turns or tokens) the critic's value of what came next, or with
    ``bootstrap=False`` 0, so that running out of turns is a failure like another. A turn's own ``penalty`` is taken
    off its A. PPO as usually published whitens these: put ``whiten`` after it.

    Source: GAE (arXiv 1506.02438). Confidence high.
    """
    return _of_turns(table, gamma, lam, bootstrap) - table.penalty, state


@estimator(
    "gae-token", needs=["token_values"], needs_if={"bootstrap": "last_value"}, per_token=True, targets=token_returns
)
def gae_token(
    table: TurnTable, state: Any, *, gamma: Share = 1.0, lam: Share = 1.0, bootstrap: bool = True
) -> tuple[Floats, Any]:
    """``A_t = d_t + gamma lam A_{t+1}`` -> [T], ``d_t = r_t + gamma V_{t+1} - V_t``; a sampled token is a step.

    Tokens that were not sampled (observations, prompts) are no steps: the last token of a turn, which has the turn's
    reward, looks to the first of the next turn. ``bootstrap`` and ``penalty`` as in ``gae``.

    Source: GAE (arXiv 1506.02438), over sampled tokens as in later verl code, read only. Confidence high.
    """
    return _of_tokens(table, gamma, lam, bootstrap) - table.penalty[table.token_turn], state


def _of_turns(table: TurnTable, gamma: float, lam: float, bootstrap: bool) -> Floats:
    return scan(table.reward, table.values, table.length, _last(table, bootstrap), gamma, lam)


def _of_tokens(table: TurnTable, gamma: float, lam: float, bootstrap: bool) -> Floats:
    reward = np.zeros(len(table.token_turn))
    reward[np.cumsum(table.tokens) - 1] = table.reward
    length = np.add.reduceat(table.tokens, table.start) if len(table) else table.length
    return scan(reward, table.token_values, length, _last(table, bootstrap), gamma, lam)


def _last(table: TurnTable, bootstrap: bool) -> Floats:
    return table.last_value if bootstrap else np.zeros(len(table.ids))
