"""Where actions go: the environment protocol, the registry, and one folder per bundled environment."""

from agentrl.envs.registry import register

register(
    "agentrl/Household-v0",
    entry_point="agentrl.envs.household.env:Household",
    splits="agentrl.envs.household.tasks:splits",
    max_turns=50,
)
