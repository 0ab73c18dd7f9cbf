"""Ops of the case files, by name: a case's input through training's own functions, in the case's own form.

Settings are those of the published code, which the cases were taken from, and not our defaults. An op whose method
needs torch imports it when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentrl.trainers.credit import allocation, branching, carr, cases_tables, cases_turns, toolrl
from agentrl.types import ToolCall


def seg_entropy(**given: Any) -> float:
    return branching.seg_entropy(**given, mode="sum_topk")


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


def ppo_agg(loss: list[list[float]], mask: list[list[int]], mode: str) -> float:
    from agentrl.trainers.losses import cases

    return cases.ppo_agg(loss, mask, mode)


def aepo_tokens(**given: Any) -> dict[str, Any]:
    from agentrl.trainers.losses import cases

    return cases.aepo_tokens(**given)


def loss(**given: Any) -> dict[str, Any]:
    from agentrl.trainers.losses import cases

    return cases.loss(**given)


OPS: dict[str, Callable[..., Any]] = {
    "grpo": cases_tables.grpo,
    "rows_group_norm": cases_tables.rows_group_norm,
    "rloo": cases_tables.rloo,
    "reinforce_pp": cases_tables.reinforce_pp,
    "reinforce_pp_baseline": cases_tables.reinforce_pp_baseline,
    "gigpo": cases_tables.gigpo,
    "hgpo": cases_tables.hgpo,
    "salt": cases_tables.salt,
    "otc_coef": cases_tables.otc_coef,
    "otc_group": cases_tables.otc_group,
    "treepo": cases_tables.treepo,
    "arpo_hard_adv": cases_tables.arpo_hard_adv,
    "assign": cases_tables.assign_lines,
    "carr_reached": carr.reached,
    "toolrl_match": toolrl_match,
    "toolrl_well_formed": toolrl.well_formed,
    "seg_entropy": seg_entropy,
    "arpo_decide": branching.arpo_decide,
    "arpo_prob": branching.arpo_prob,
    "arpo_reward": branching.arpo_reward,
    "aepo_decide": branching.aepo_decide,
    "paper_decide": paper_decide,
    "branch_round": branch_round,
    "aepo_budget": aepo_budget,
    "trace_root_value": allocation.trace_root_value,
    "trace_prefix_value": allocation.trace_prefix_value,
    "trace_root_alloc": trace_root_alloc,
    "trace_prefix_alloc": trace_prefix_alloc,
    "trace_tree_target": allocation.trace_tree_target,
    "gae_turn": cases_turns.gae_turn,
    "gae_token": cases_turns.gae_token,
    "mc_value": cases_turns.mc_value,
    "iterresearch": cases_turns.iterresearch,
    "memact": cases_turns.memact,
    "aspo": cases_turns.aspo,
    "arena_tournament": cases_turns.arena_tournament,
    "agentprm_targets": cases_turns.agentprm_targets,
    "ppo_agg": ppo_agg,
    "aepo_tokens": aepo_tokens,
    "loss": loss,
}
