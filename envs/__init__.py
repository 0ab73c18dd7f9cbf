"""Where actions go: the environment protocol, the registry, and one folder per bundled environment."""

from agentrl.envs.miniwob.tasks import LIMIT, TASKS
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
for _probe in ("Bandit", "Delay", "Memory", "Distractor", "Noise"):
    register(
        f"agentrl/Probe-{_probe.lower()}-v0",
        entry_point=f"agentrl.envs.probe:{_probe}",
        splits="agentrl.envs.probe:splits",
        max_turns=8,
    )
register(
    "agentrl/CodeInterpreter-v0",
    entry_point="agentrl.envs.code.env:CodeInterpreter",
    splits="agentrl.envs.code.env:splits",
    max_turns=8,
)
register(
    "agentrl/Calc-v0",
    entry_point="agentrl.envs.calc:Calc",
    splits="agentrl.envs.calc:splits",
    max_turns=6,
)
register(
    "agentrl/Search-v0",
    entry_point="agentrl.envs.search.env:Search",
    splits="agentrl.envs.search.env:splits",
    max_turns=24,
)
register(
    "agentrl/Shop-v0",
    entry_point="agentrl.envs.shop.env:Shop",
    splits="agentrl.envs.shop.tasks:splits",
    max_turns=15,
)
register(
    "agentrl/Office-v0",
    entry_point="agentrl.envs.office.env:Office",
    splits="agentrl.envs.office.env:splits",
    max_turns=20,
)
register(
    "agentrl/OfficeWithUser-v0",
    entry_point="agentrl.envs.office.env:OfficeWithUser",
    splits="agentrl.envs.office.env:splits",
    max_turns=20,
)
register(
    "agentrl/CodeRepair-v0",
    entry_point="agentrl.envs.repair.env:CodeRepair",
    splits="agentrl.envs.repair.env:splits",
    max_turns=16,
)
register(
    "agentrl/Reasoning-v0",
    entry_point="agentrl.envs.code.reasoning:Reasoning",
    splits="agentrl.envs.code.reasoning:splits",
    max_turns=8,
    extra="code",
)
for _page in TASKS:
    register(
        f"agentrl/MiniWoB-{_page}-v0",
        entry_point="agentrl.envs.miniwob.env:MiniWoB",
        splits="agentrl.envs.miniwob.tasks:splits",
        max_turns=LIMIT,
        kwargs={"page": _page},
        extra="web",
    )
