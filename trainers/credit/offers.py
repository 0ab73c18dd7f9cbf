"""What an environment must offer for a recipe's credit: found missing before anything is played."""

from __future__ import annotations

from typing import Any

from agentrl.envs.core import beside
from agentrl.errors import UserError, unknown
from agentrl.trainers.credit.anchors import Anchor
from agentrl.trainers.credit.assign import Plan


def refuse_what_lacks(env: Any, plan: Plan, anchor: Anchor) -> None:
    """Raises UserError where ``env``, after a reset, cannot give what ``plan`` needs.

    That is: a privileged key for ``anchor: privileged``, a potential, and the rewards that an option names
    (``weights``, ``rubric``), as far as the environment says which there are (``reward_names``). What is earned only
    sometimes counts 0 where nobody earned it.
    """
    name, told, known = type(env).__name__, beside(env), getattr(env, "reward_names", None)
    if anchor == "privileged" and "privileged_key" not in told:
        raise UserError(f"anchor privileged: {name} offers no privileged_key()")
    for label, method in (*plan.transforms, *plan.estimators, *plan.modulators):
        if "score:potential" in method.needs and "potential" not in told.get("scores", {}):
            raise UserError(f"{label} needs a potential, and {name} offers no potential()")
        for reward in method.reward_names:
            if known is not None and reward not in known:
                raise unknown(f"reward named by {label}", reward, known)
