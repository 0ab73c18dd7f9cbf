"""CodeInterpreter-v0: its tasks, its answers, and what playing without thought earns."""

import random
from collections import Counter
from typing import Any

import pytest

from agentrl.envs import registry
from agentrl.envs.check import check
from agentrl.envs.code.data import KINDS
from agentrl.envs.code.env import NOVEL_TEMPLATES, CodeInterpreter, same, splits
from agentrl.envs.code.template import DRAWS, Problem, problem, templates
from agentrl.envs.random_actions import random_action
from agentrl.errors import UserError
from agentrl.evaluation import suites
from agentrl.tools.sandboxes import Limits
from agentrl.tools.sandboxes.local import Local
from agentrl.types import ToolCall

NAME = "agentrl/CodeInterpreter-v0"
UNSEEN = [(name, int(seed)) for name, _, seed in (task.rpartition("/") for task in splits()["unseen"])]


def test_there_are_many_tasks_of_many_kinds():
    sizes = {name: len(tasks) for name, tasks in splits().items()}
    assert sum(sizes.values()) >= 2000
    assert len(templates()) - len(NOVEL_TEMPLATES) >= 30
    assert set(NOVEL_TEMPLATES) <= set(templates())
    assert len({made.program for made in templates().values()}) == len(templates())
    assert set(DRAWS) == set(KINDS) == {made.kind for made in templates().values()}
    tasks = [task for split in splits().values() for task in split]
    assert len(tasks) == len(set(tasks))


def test_the_same_answer_to_everything_is_seldom_right():
    answers = Counter(problem(name, seed).answer() for name, seed in UNSEEN)
    assert answers.most_common(1)[0][1] / len(UNSEEN) < 0.1
    by_template: dict[str, Counter[str]] = {}
    for name in templates():
        by_template[name] = Counter(problem(name, seed).answer() for seed in range(20))
    best = sum(counter.most_common(1)[0][1] for counter in by_template.values())
    assert best / (20 * len(by_template)) < 0.15  # even knowing each template's own


def test_the_answer_is_not_in_what_is_shown():
    shown = [problem(name, seed) for name, seed in UNSEEN]
    assert sum(p.answer() in p.question + p.about for p in shown) / len(shown) < 0.02


def test_tasks_are_the_same_in_every_process():
    assert problem("orders-revenue", 3).answer() == "164099"
    assert problem("maze-way", 0).question.startswith("How many cells can be reached from S")


def test_every_program_gives_in_the_sandbox_what_it_gives_here():
    for name in templates():
        made = problem(name, 61)
        with Local().open(Limits()) as session:
            for path, data in made.files.items():
                session.write(path, data)
            assert session.run(made.program).output == made.answer() + "\n", name


SMALL = {
    "orders.csv": "order,day,region,product,quantity,cents\n"
    "1,2025-01-01,north,lamp,2,100\n2,2025-01-02,north,rug,1,900\n"
    "3,2025-01-02,south,lamp,5,10\n4,2025-01-05,north,lamp,4,100\n5,2025-02-01,east,rug,1,50\n",
    "service.log": "2025-03-01T08:00:00 START auth request=1\n2025-03-01T08:00:10 START cart request=2\n"
    "2025-03-01T08:01:00 DONE auth request=1 ms=10\n2025-03-01T08:01:30 START auth request=3\n"
    "2025-03-01T08:01:31 ERROR auth request=3 ms=30 timeout\n2025-03-01T08:01:40 START mail request=4\n",
    "digits.txt": "123\n456\n789\n",
    "map.txt": "S.#\n#..\n#.E\n",
    "roads.csv": "from,to,km\nA,B,5\nB,C,7\nA,C,20\nC,D,1\n",
    "numbers.txt": "3\n1\n4\n1\n5\n9\n2\n6\n",
}


@pytest.mark.parametrize(
    ("name", "words", "answer"),
    [
        ("orders-revenue", {"region": "north", "month": "2025-01"}, "1500"),
        ("orders-best-product", {"region": "north"}, "lamp/6"),
        ("orders-median-value", {}, "200"),
        ("orders-streak", {}, "2/2025-01-01"),
        ("orders-biggest-change", {}, "1500"),
        ("orders-weakest-pair", {}, "east/rug"),
        ("log-errors", {"service": "auth"}, "1/30"),
        ("log-open-requests", {}, "6"),
        ("log-gap", {}, "50/08:00:10"),
        ("log-slowest-request", {}, "1/60"),
        ("digits-path", {}, "29"),
        ("digits-window", {"k": 2}, "72"),
        ("maze-way", {}, "6/4"),
        ("maze-islands", {}, "2/2"),
        ("roads-shortest", {"a": "A", "b": "C", "c": "D"}, "12/1"),
        ("roads-spanning", {}, "13"),
        ("roads-cut", {"km": 6}, "2/6"),
        ("numbers-rising", {}, "4/9"),
        ("numbers-primes", {}, "10"),
    ],
)
def test_answers_worked_out_by_hand(name, words, answer):
    from string import Template

    files = {path: text.encode() for path, text in SMALL.items()}
    assert Problem(files, "", "", Template(templates()[name].program).substitute(words)).answer() == answer


@pytest.mark.parametrize(
    ("given", "right", "same_"),
    [
        ("42", "42", True), (" 42.0 ", "42", True), ("4.2e1", "42", True), ("43", "42", False), ("", "42", False),
        ("Lamp/ 7", "lamp/7", True), ("lamp", "lamp/7", False), ("lamp/7/", "lamp/7", False), ("nan", "nan", True),
        ("NaN", "42", False), ("1e999999999", "42", False), ("½", "0.5", False), ("the answer is 42", "42", False),
        ("0xff", "255", False), ("81.25", "81.250", True), ("7" * 100_000, "7", False),
    ],
)  # fmt: skip
def test_what_counts_as_the_same_answer(given, right, same_):
    assert same(given, right) is same_


def test_an_episode_with_looking_first():
    env: Any = registry.make(NAME)
    observation, _ = env.reset(seed=0, options={"task": "orders-revenue/3"})
    assert observation.startswith("orders.csv: order, day, region")
    (message,), *_ = env.step(ToolCall("python", code="text = open('orders.csv').read(); text[:9]"))
    assert message["content"] == "'order,day'"
    (message,), *_ = env.step(ToolCall("python", code="text.count(chr(10))"))
    assert int(message["content"]) > 100
    _, reward, over, _, info = env.step(ToolCall("answer", text="164099"))
    assert (reward, over, info["success"]) == (1.0, True, True)
    env.close()


def test_random_play_earns_nothing():
    env: Any = registry.make(NAME)
    won = 0
    for i, (name, seed) in enumerate(UNSEEN[::4]):
        env.reset(seed=i, options={"task": f"{name}/{seed}"})
        rng = random.Random(i)
        for _ in range(8):
            action = random_action(env, rng)
            if action.name == "answer":
                won += env.step(action)[1] == 1.0
                break
    env.close()
    assert won / len(UNSEEN[::4]) < 0.05


def test_an_unknown_task_or_sandbox_is_named():
    env = CodeInterpreter()
    for task in ("orders-revenue", "nothing/1", 7):
        with pytest.raises(UserError, match="a task is TEMPLATE/SEED"):
            env.reset(seed=0, options={"task": task})
    with pytest.raises(UserError, match="did you mean 'local'"):
        registry.make(NAME, sandbox="locale")


def test_the_level_is_the_length_of_the_program():
    env = registry.make(NAME)
    told = {task: env.reset(seed=0, options={"task": task})[1]["level"]
            for task in ("orders-revenue/60", "digits-path/60", "roads-shortest/60")}  # fmt: skip
    env.close()
    assert told == {"orders-revenue/60": "1-3 lines", "digits-path/60": "4-5 lines", "roads-shortest/60": "6+ lines"}


@pytest.mark.parametrize("name", ["code-unseen", "code-novel"])
def test_the_suites_name_tasks_that_are_there(name):
    suite = suites.load(name)
    assert len(suite.tasks()) == {"code-unseen": 370, "code-novel": 210}[name]


@pytest.mark.slow
def test_it_keeps_the_contract():
    report = check(NAME, episodes=8)
    assert report.ok, str(report)
