"""The three length budgets of an episode, and the deadline of a step. Nothing is ever cut silently."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """What ends an episode before its environment does, with the stop reason that says so."""

    model_config = ConfigDict(extra="forbid")

    turns: int | None = Field(
        default=None, ge=1, description="turns an episode may take; none: the environment's own limit"
    )
    turn_tokens: int = Field(default=256, ge=1, description="tokens a reply may have")
    episode_tokens: int | None = Field(
        default=None, ge=1, description="tokens an episode may sample; none: the window decides"
    )
    step_seconds: float = Field(default=60.0, gt=0, description="deadline of one environment step or reset")
