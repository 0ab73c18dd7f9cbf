"""CodeRepair-v0: what counts as a repair, and what does not."""

import random
from typing import Any

import pytest

from agentrl.envs import registry
from agentrl.envs.check import check
from agentrl.envs.random_actions import random_action
from agentrl.envs.repair.bugs import BUGS
from agentrl.envs.repair.env import NOVEL_TASKS, splits
from agentrl.envs.repair.repository import HIDDEN, JUDGED, SHOWN, _run, repository, source, value_of
from agentrl.errors import UserError
from agentrl.evaluation import suites
from agentrl.types import ToolCall

NAME = "agentrl/CodeRepair-v0"
EVERY = [(module, bug) for module, bugs in BUGS.items() for bug in bugs]


@pytest.fixture
def env() -> Any:
    made = registry.make(NAME)
    yield made
    made.close()


def begin(env: Any, task: str) -> Any:
    env.reset(seed=0, options={"task": task})
    module, _, bug = task.partition("/")[0].partition("-")
    return repository(module, bug, int(task.partition("/")[2]))


def test_the_level_is_how_much_the_mistake_changed(env):
    levels = {}
    for task in ("intervals-touching/40", "wrapping-blank/40", "account-simple/40"):
        begin(env, task)
        levels[task] = env.level, env._repository().changed
    assert levels == {
        "intervals-touching/40": ("1 token", 1),  # <= for <
        "wrapping-blank/40": ("2-3 tokens", 2),  # + 1
        "account-simple/40": ("4+ tokens", 11),
    }
    shares = [env.level for task in splits()["unseen"][:52] if begin(env, task)]
    assert min(map(shares.count, ("1 token", "2-3 tokens", "4+ tokens"))) >= 10


def submitted(env: Any, *calls: ToolCall) -> float:
    for call in calls:
        env.step(call)
    return env.step(ToolCall("submit"))[1]


def test_there_are_many_tasks_of_many_mistakes():
    tasks = [task for split in splits().values() for task in split]
    assert len(tasks) == len(set(tasks)) >= 2000
    assert len(EVERY) - len(NOVEL_TASKS) >= 30
    assert set(NOVEL_TASKS) <= {f"{module}-{bug}" for module, bug in EVERY}
    repairs = {(made.old, made.new) for made in (repository(module, bug, 0) for module, bug in EVERY)}
    assert len(repairs) == len(EVERY)


@pytest.mark.parametrize(("module", "bug"), EVERY)
def test_every_mistake_shows_in_tests_and_judges_and_its_edit_mends_it(module, bug):
    for seed in (0, 41, 50):
        made = repository(module, bug, seed)
        wrong = made.files[made.path]
        assert wrong.count(made.old) == 1
        assert JUDGED <= len(made.hidden) <= HIDDEN
        right = wrong.replace(made.old, made.new)
        assert all(value_of(_run(right), call) == value for call, value in made.hidden)
        assert sum(value_of(_run(wrong), call) != value for call, value in made.hidden) == JUDGED
        tests = made.files[f"tests/test_{module}.py"]
        assert not any(f"given = {call}\n" in tests for call, _ in made.hidden)
        assert tests.count("def test_") >= SHOWN


def test_modules_are_right_by_hand():
    def given(module: str, call: str) -> str:
        return value_of(_run(source(module)), call)

    assert given("intervals", "merge_ranges([(5, 7), (1, 3), (3, 4)])") == "[(1, 4), (5, 7)]"
    assert given("wrapping", "wrap_words('aa bb ccc', 5)") == "['aa bb', 'ccc']"
    assert given("account", "final_balance([5, -9, 3], 2)") == "8"
    assert given("matrix", "determinant_of([[1, 2], [3, 4]])") == "-2"
    assert given("roman", "to_roman(1994)") == "'MCMXCIV'"
    assert given("roman", "from_roman('MCMXCIV')") == "1994"
    assert given("routes", "steps_between([('A', 'B'), ('B', 'C'), ('C', 'D'), ('A', 'D')], 'A', 'C')") == "2"
    assert given("likeness", "edit_distance('kitten', 'sitting')") == "3"
    assert given("schedule", "order_jobs([('a', 1, 1), ('b', 2, 9), ('c', 2, 3)])") == "['c', 'b', 'a']"
    assert (
        given("dates", "(is_leap(1900), is_leap(2000), add_days(31, 12, 2023, 60))") == "(False, True, (29, 2, 2024))"
    )
    assert given("stock", "to_reorder({'a': 1, 'b': 9}, 6, 2)") == "{'a': 3}"
    assert given("formula", "evaluate('2 + 3 * (4 - 1) - 12')") == "-1"
    assert given("figures", "(median_of([1, 2, 3, 4]), largest_drop([3, 9, 4, 8, 2]))") == "(2.5, 7)"
    assert given("memory", "replay_store(2, [('a', 1), ('b', 2), ('a',), ('c', 3)])") == "([1], ['a', 'c'])"
    assert given("tables", 'split_line(\'a,"b,""c",\')') == "['a', 'b,\"c', '']"


@pytest.mark.parametrize("module", BUGS)
def test_the_expert_mends_a_mistake_of_every_module(env, module):
    task = f"{module}-{next(iter(BUGS[module]))}/40"
    begin(env, task)
    seen = []
    for _ in range(4):
        messages, reward, over, _, _ = env.step(env.expert())
        seen += [m["content"] for m in messages]
    assert (reward, over) == (1.0, True)
    assert "FAILED" in seen[0]
    assert "cannot be run" not in seen[0]


def test_tests_pass_once_the_mistake_is_mended(env):
    made = begin(env, "figures-even/0")
    (before,), *_ = env.step(ToolCall("run"))
    assert before["content"].count("FAILED") == SHOWN
    env.step(ToolCall("edit", path=made.path, old=made.old, new=made.new))
    (after,), *_ = env.step(ToolCall("run"))
    assert "FAILED" not in after["content"]
    assert "passed" in after["content"]
    assert submitted(env) == 1.0


def test_what_is_no_repair_earns_nothing(env):
    task = "roman-once/0"
    made = begin(env, task)
    assert submitted(env) == 0.0  # unpatched
    test = "tests/test_roman.py"

    begin(env, task)  # the test is taken away
    assert submitted(env, ToolCall("edit", path=test, old=made.files[test], new="")) == 0.0
    assert env.files[test] == ""

    begin(env, task)  # what the tests ask for is known by heart, the rest is still wrong
    asked = dict(
        (line.split("given = ")[1], following.split("given == ")[1].rsplit(", given", 1)[0])
        for line, following in zip(made.files[test].splitlines(), made.files[test].splitlines()[1:], strict=False)
        if "given = to_roman" in line
    )
    name = next(iter(asked)).partition("(")[0]
    known = ", ".join(f"{call.partition('(')[2][:-1]}: {value}" for call, value in asked.items())
    heart = f"\n\ndef {name}(number, other={name}):\n    return {{{known}}}.get(number) or other(number)\n"
    source_ = made.files[made.path]
    env.step(ToolCall("edit", path=made.path, old=source_, new=source_ + heart))
    (told,), *_ = env.step(ToolCall("run"))
    assert "tests/test_roman.py test_1 passed" in told["content"]
    assert "test_roman.py" not in "".join(line for line in told["content"].splitlines() if "FAILED" in line)
    assert submitted(env) == 0.0

    for trick in (
        "import os; os._exit(0)",
        "import builtins; builtins.repr = lambda value: 'x'",
        "import builtins; builtins.print = lambda *a: None",
        "class Any:\n    __eq__ = lambda *a: True\n    __repr__ = lambda s: ''",
    ):
        begin(env, task)
        assert submitted(env, ToolCall("edit", path=made.path, old=source_, new=source_ + "\n" + trick)) == 0.0


def test_code_that_is_run_does_not_change_the_repository(env):
    made = begin(env, "roman-once/0")
    code = f"open({made.path!r}, 'w').write('gone')\nimport os; print(len(os.listdir('tests')), os.listdir('/home'))"
    env.step(ToolCall("run", code=code))
    assert env.files == made.files
    (message,), *_ = env.step(ToolCall("run", code="while True: pass"))
    assert "stopped" in message["content"]


def test_edits_that_mean_nothing_are_told(env):
    made = begin(env, "roman-once/0")
    for call in (
        ToolCall("edit", path=made.path, old="not there", new=""),
        ToolCall("edit", path=made.path, old="total", new=""),  # several
        ToolCall("edit", path="../outside.py", old="", new="x"),
        ToolCall("edit", path="/etc/cron.py", old="", new="x"),
        ToolCall("edit", path=made.path, old="", new="x"),
        ToolCall("edit", path="more.py", old="", new="x" * 30_000),
        ToolCall("view", path="nothing.py"),
    ):
        (message,), *_ = env.step(call)
        assert message["content"].startswith("error: "), call
    assert {k: v for k, v in env.files.items() if k != "more.py"} == made.files
    (found,), *_ = env.step(ToolCall("search", text="VALUES"))
    assert found["content"].startswith(f"{made.path}:1: VALUES")


def test_random_play_earns_nothing(env):
    won = 0
    for i, task in enumerate(splits()["unseen"][::13]):
        begin(env, task)
        rng = random.Random(i)
        over = False
        for _ in range(6):
            if not over:
                _, reward, over, _, _ = env.step(random_action(env, rng))
                won += reward == 1.0
    assert won == 0


def test_unknown_tasks_and_sandboxes_are_named(env):
    for task in ("roman-once", "roman-never/1", "nothing-x/0", 7):
        with pytest.raises(UserError, match="a task is MODULE-MISTAKE/SEED"):
            env.reset(seed=0, options={"task": task})
    with pytest.raises(UserError, match="did you mean 'local'"):
        registry.make(NAME, sandbox="locale")
    assert len(suites.load("repair-unseen").tasks()) == 312
    assert len(suites.load("repair-novel").tasks()) == 160


@pytest.mark.slow
def test_it_keeps_the_contract():
    report = check(NAME, episodes=2)
    assert report.ok, str(report)
