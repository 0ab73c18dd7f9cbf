"""Ops of the case files, by name: a case's input through training's own functions, in the case's own form.

Settings are those of the published code, which the cases were taken from, and not our defaults. A module is imported
when one of its ops is asked for: some need torch.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from agentrl.trainers.credit import allocation, branching, carr, cases_tables, toolrl
from agentrl.types import ToolCall

# op -> the module that it is a function of
OPS = {
    name: f"agentrl.trainers.{module}"
    for module, names in {
        "credit.cases": "aepo_budget assign branch_round carr_reached paper_decide toolrl_match toolrl_well_formed "
        "trace_prefix_alloc trace_root_alloc",
        "credit.cases_tables": "arpo_hard_adv gigpo grpo hgpo otc_coef otc_group reinforce_pp reinforce_pp_baseline "
        "rloo rows_group_norm salt treepo",
        "credit.cases_turns": "agentprm_targets arena_tournament aspo gae_token gae_turn iterresearch mc_value memact",
        "credit.allocation": "trace_prefix_value trace_root_value trace_tree_target",
        "credit.branching": "aepo_decide arpo_decide arpo_prob arpo_reward seg_entropy",
        "losses.cases": "aepo_tokens loss ppo_agg",
    }.items()
    for name in names.split()
}


def op(name: str) -> Callable[..., Any]:
    """The function of an op. Raises KeyError for an unknown one."""
    found: Callable[..., Any] = getattr(import_module(OPS[name]), name)
    return found


assign, carr_reached, toolrl_well_formed = cases_tables.assign_lines, carr.reached, toolrl.well_formed


def paper_decide(**given: Any) -> tuple[float, bool]:
    return branching.paper_decide(consecutive=given.pop("l", 0), **given)


def branch_round(
    active: list[int],
    h_now: dict[str, float],
    h_init: dict[str, float],
    count: int,
    M: int,
    beam: int,
    us: list[float],
) -> dict[str, Any]:
    """``us``: the uniforms in the order of their use, for ARPO's rule at its defaults."""
    uniforms = iter(us)

    def decide(rollout: int, u: float) -> bool:
        return branching.arpo_decide(u, h_now[str(rollout)] - h_init[str(rollout)])

    sources = branching.branch_round(active, decide, lambda rollout, attempt: next(uniforms), count, M, beam)
    return {"sources": sources, "count": count + len(sources)}


def aepo_budget(**given: Any) -> dict[str, Any]:
    return dict(zip(("real", "code"), allocation.aepo_budget(**given), strict=True))


def trace_root_alloc(**given: Any) -> dict[str, Any]:
    return dict(zip(("alloc", "objective"), allocation.trace_root_alloc(**given), strict=True))


def trace_prefix_alloc(**given: Any) -> dict[str, Any]:
    return dict(zip(("k", "objective"), allocation.trace_prefix_alloc(**given), strict=True))


def toolrl_match(made: list[list[Any]], wanted: list[list[Any]]) -> float:
    """Calls as pairs of name and arguments."""
    mine, theirs = ([ToolCall(name, **arguments) for name, arguments in calls] for calls in (made, wanted))
    return toolrl.match(mine, theirs)
