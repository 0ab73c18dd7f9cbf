"""Where actions go: the environment protocol, the registry, and one folder per bundled environment."""

from agentrl.envs.miniwob.tasks import LIMIT, TASKS
from agentrl.envs.registry import register

# name | class | function that gives its splits | turns | extra that brings its dependencies
_BUNDLED = """
Household          | household.env:Household    | household.tasks:splits | 50 |
KeyDoor            | keydoor.env:KeyDoor        | keydoor.world:splits   | 20 |
Probe-bandit       | probe:Bandit               | probe:splits           | 8  |
Probe-delay        | probe:Delay                | probe:splits           | 8  |
Probe-memory       | probe:Memory               | probe:splits           | 8  |
Probe-distractor   | probe:Distractor           | probe:splits           | 8  |
Probe-noise        | probe:Noise                | probe:splits           | 8  |
CodeInterpreter    | code.env:CodeInterpreter   | code.env:splits        | 8  |
Calc               | calc:Calc                  | calc:splits            | 6  |
Search             | search.env:Search          | search.env:splits      | 24 |
Shop               | shop.env:Shop              | shop.tasks:splits      | 15 |
Office             | office.env:Office          | office.env:splits      | 20 |
OfficeWithUser     | office.env:OfficeWithUser  | office.env:splits      | 20 |
CodeRepair         | repair.env:CodeRepair      | repair.env:splits      | 16 |
Reasoning          | code.reasoning:Reasoning   | code.reasoning:splits  | 8  | code
ShopWeb            | shop.web:ShopWeb           | shop.tasks:splits      | 15 | web
Site               | site.env:Site              | site.tasks:splits      | 15 | web
Desktop            | desktop.env:Desktop        | desktop.tasks:splits   | 20 |
"""

for _row in _BUNDLED.strip().splitlines():
    _name, _class, _splits, _turns, _extra = (cell.strip() for cell in _row.split("|"))
    register(
        f"agentrl/{_name}-v0",
        entry_point=f"agentrl.envs.{_class}",
        splits=f"agentrl.envs.{_splits}",
        max_turns=int(_turns),
        extra=_extra or None,
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
