"""Credit assignment: which turn earned what. Pure numpy; a method is one function in one file."""

from agentrl.trainers.credit.anchors import anchor_key
from agentrl.trainers.credit.assign import Credit, Plan, assign, plan
from agentrl.trainers.credit.normalise import group_centred, joint, returns_to_go
from agentrl.trainers.credit.offers import refuse_what_lacks
from agentrl.trainers.credit.registry import estimator, modulator, names, transform
from agentrl.trainers.credit.table import TurnTable

__all__ = [
    "Credit",
    "Plan",
    "TurnTable",
    "anchor_key",
    "assign",
    "estimator",
    "group_centred",
    "joint",
    "modulator",
    "names",
    "plan",
    "refuse_what_lacks",
    "returns_to_go",
    "transform",
]
