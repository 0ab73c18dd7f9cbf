"""What a run plays: which tasks, how many episodes of each, and where they start."""

from agentrl.trainers.sampling.base import Brancher, Budget, Setting, Start, TaskSource
from agentrl.trainers.sampling.play import Sampling
from agentrl.trainers.sampling.registry import bind, names, register

__all__ = ["Brancher", "Budget", "Sampling", "Setting", "Start", "TaskSource", "bind", "names", "register"]
