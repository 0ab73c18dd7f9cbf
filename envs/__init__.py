"""Where actions go: the environment protocol, the registry, and one folder per bundled environment."""

from agentrl.envs.registry import register

register(
    "agentrl/Household-v0",
    entry_point="agentrl.envs.household.env:Household",
    splits="agentrl.envs.household.tasks:splits",
    max_turns=50,
)
register(
    "agentrl/KeyDoor-v0",
    entry_point="agentrl.envs.keydoor.env:KeyDoor",
    splits="agentrl.envs.keydoor.world:splits",
    max_turns=20,
)
