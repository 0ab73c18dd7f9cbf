import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

from agentrl.envs import plugins, registry
from agentrl.envs.core import Env
from agentrl.envs.tool_env import ToolEnv
from agentrl.errors import UserError

SPLITS = {"train": range(10), "unseen": range(10, 12)}


class Tiny(ToolEnv):
    def __init__(self, size: int = 1) -> None:
        self.size = size

    def start(self, task, rng):  # type: ignore[no-untyped-def]
        return f"{task} of {self.size}"

    def score(self, answer):  # type: ignore[no-untyped-def]
        return 1.0


def of_size(size: int = 1) -> dict[str, range]:
    return {"train": range(size), "unseen": range(0)}


def test_make_builds_the_bare_environment() -> None:
    registry.register("Tiny-v0", entry_point=Tiny, splits=SPLITS, max_turns=7, kwargs={"size": 2})
    env = registry.make("Tiny-v0")
    assert type(env) is Tiny
    assert env.max_turns == 7
    assert env.reset(options={"task": 3})[0] == "3 of 2"
    assert registry.make("Tiny-v0", size=4).reset(options={"task": 3})[0] == "3 of 4"


def test_a_seed_picks_from_the_split() -> None:
    registry.register("Tiny-v0", entry_point=Tiny, splits=SPLITS, max_turns=7)
    train = {registry.make("Tiny-v0").reset(seed=seed)[1]["task"] for seed in range(40)}
    unseen = {registry.make("Tiny-v0:unseen").reset(seed=seed)[1]["task"] for seed in range(40)}
    assert len(train) > 7
    assert train <= set(range(10))
    assert unseen == {10, 11}


def test_lazy_entry_points_and_splits() -> None:
    registry.register("Lazy-v0", entry_point=f"{__name__}:Tiny", splits=f"{__name__}:of_size", max_turns=7)
    sys.modules[__name__] = sys.modules[Tiny.__module__]
    spec = registry.spec("Lazy-v0")
    assert list(registry.split(spec, "train", {"size": 3})) == [0, 1, 2]
    assert registry.make("Lazy-v0", size=3).reset(seed=0)[1]["task"] in range(3)
    with pytest.raises(UserError, match=r"split 'unseen' of Lazy-v0 is empty"):
        registry.split(spec, "unseen")


def test_decorator() -> None:
    @registry.register("Deco-v0", splits=SPLITS, max_turns=3, random_success=0.4)
    class Deco(Tiny):
        pass

    assert Deco().reset(seed=0)[1]["task"] in range(10)  # without make, too
    assert registry.spec_of(Deco) is registry.spec("Deco-v0")
    assert registry.spec("Deco-v0").random_success == 0.4
    assert registry.spec("Deco-v0").source == __file__


def test_names_with_typing_errors() -> None:
    registry.register("Tiny-v0", entry_point=Tiny, splits=SPLITS, max_turns=7)
    with pytest.raises(UserError, match="unknown environment 'Tinny-v0'; did you mean 'Tiny-v0'"):
        registry.make("Tinny-v0")
    with pytest.raises(UserError, match="unknown split of Tiny-v0 'unsen'; did you mean 'unseen'"):
        registry.resolve("Tiny-v0:unsen")
    with pytest.raises(UserError, match="unknown argument of Tiny-v0 'sise'; did you mean 'size'"):
        registry.make("Tiny-v0", sise=3)
    with pytest.raises(UserError, match="not an environment"):
        registry.resolve("a:b:c")


def test_resolve_reads_from_the_right(guess: str) -> None:
    at = registry.resolve(f"{guess}:unseen")
    assert (at.spec.id, at.split) == ("Guess-v0", "unseen")
    assert registry.resolve("Guess-v0").split is None
    with pytest.raises(UserError, match=r"name an environment in it: .*guess\.py:Guess-v0"):
        registry.resolve(guess.rpartition(":")[0])


@pytest.mark.parametrize("id", ["Tiny", "Tiny v0", "a/b/Tiny-v0", "Tiny-v0:x", ""])
def test_bad_ids(id: str) -> None:
    with pytest.raises(UserError, match="must look like"):
        registry.register(id, entry_point=Tiny, splits=SPLITS, max_turns=7)


def test_bad_numbers() -> None:
    with pytest.raises(UserError, match="max_turns"):
        registry.register("Tiny-v0", entry_point=Tiny, splits=SPLITS, max_turns=0)
    with pytest.raises(UserError, match="needs splits"):
        registry.register("Tiny-v0", entry_point=Tiny, splits={}, max_turns=1)


def test_a_missing_dependency_keeps_the_name() -> None:
    registry.register("Web-v0", entry_point="no_such_browser:Web", splits=SPLITS, max_turns=7, extra="web")
    assert "Web-v0" in [spec.id for spec in registry.listed()]
    with pytest.raises(UserError, match=r"No module named 'no_such_browser'.* pip install 'agentrl-toolkit\[web\]'"):
        registry.make("Web-v0")


def test_what_is_no_environment() -> None:
    registry.register("Dict-v0", entry_point="builtins:dict", splits=SPLITS, max_turns=7)
    with pytest.raises(UserError, match="builtins:dict is not a subclass"):
        registry.make("Dict-v0")


def test_the_same_id_from_two_files(tmp_path: Path, guess: str) -> None:
    source = Path(guess.rpartition(":")[0])
    copy = tmp_path / "copy.py"
    copy.write_text(source.read_text())
    registry.resolve(guess)
    with pytest.raises(UserError, match=r"Guess-v0 is registered twice: in .*guess\.py and in .*copy\.py"):
        plugins.load(copy)


def test_the_same_id_for_two_classes_of_a_file() -> None:
    registry.register("Tiny-v0", entry_point=Tiny, splits=SPLITS, max_turns=7)
    with pytest.raises(UserError, match=r"Tiny-v0 is registered twice: in .*:Tiny and in .*:ToolEnv"):
        registry.register("Tiny-v0", entry_point=ToolEnv, splits=SPLITS, max_turns=7)


def test_the_newest_definition_of_a_class_counts() -> None:
    for size in (1, 2):
        registry.register("Tiny-v0", entry_point=Tiny, splits=SPLITS, max_turns=7, kwargs={"size": size})
    assert registry.make("Tiny-v0").reset(options={"task": 0})[0] == "0 of 2"


def test_in_a_notebook_the_newest_cell_counts() -> None:
    cell = """
import agentrl as ar
@ar.register("Cell-v0", splits={"train": range(3)}, max_turns=2)
class {name}(ar.ToolEnv):
    def start(self, task, rng):
        return "{name}"
"""
    for name in ("First", "Renamed"):
        exec(cell.replace("{name}", name), {"__name__": "__main__"})
    assert registry.make("Cell-v0").reset(seed=0)[0] == "Renamed"
    assert registry.in_main(registry.spec("Cell-v0"))


def test_gymnasium_makes_it_without_wrappers(guess: str) -> None:
    registry.resolve(guess)
    env = gymnasium.make("Guess-v0")
    assert isinstance(env, Env)
    assert env.spec is not None
    assert env.spec.max_episode_steps is None
    env.reset(seed=1)
    state = env.snapshot()  # type: ignore[attr-defined]
    env.restore(state)  # type: ignore[attr-defined]
    assert env.spec.id == "Guess-v0"


def test_gymnasium_finds_bundled_environments_by_module() -> None:
    program = "import gymnasium; print(gymnasium.make('agentrl.envs:agentrl/Household-v0').reset(seed=1)[0])"
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert "room" in done.stdout, done.stderr


def test_bundled_environments_are_listed_without_being_imported() -> None:
    program = (
        "import sys; from agentrl.envs import registry; ids = [s.id for s in registry.listed()];"
        "assert 'agentrl/Household-v0' in ids, ids;"
        "assert not any(m.startswith('agentrl.envs.household') for m in sys.modules);"
        "assert 'envs' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
