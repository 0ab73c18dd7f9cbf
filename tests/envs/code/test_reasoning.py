"""Reasoning-v0: the same questions everywhere, and what counts as an answer."""

import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from agentrl.envs import registry
from agentrl.envs.check import check
from agentrl.envs.code.reasoning import GENERATORS, SYMBOLIC, asked, splits
from agentrl.errors import UserError
from agentrl.evaluation import suites
from agentrl.types import ToolCall

pytest.importorskip("reasoning_gym")  # one of its dependencies is compiled when it is installed: make test-code

NAME = "agentrl/Reasoning-v0"
UNSEEN = [(name, int(seed)) for name, _, seed in (task.partition("/") for task in splits()["unseen"])]
SOME = [*UNSEEN[:48:5], ("simple_integration", 3)]


def test_there_are_many_tasks_of_many_generators():
    tasks = [task for split in splits().values() for task in split]
    assert len(tasks) == len(set(tasks)) >= 2000
    assert len(GENERATORS) >= 30
    assert len({asked(*task) for task in UNSEEN}) == len(UNSEEN)


def test_questions_do_not_depend_on_the_order_of_sets():
    program = f"from agentrl.envs.code.reasoning import asked; print([asked(*t) for t in {SOME!r}])"
    said = [
        subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert said[0].decode().strip() == str([asked(*task) for task in SOME])


def test_the_same_answer_to_everything_is_seldom_right():
    answers = Counter(asked(*task)[1] for task in UNSEEN)
    assert answers.most_common(1)[0][1] / len(UNSEEN) < 0.1


def test_every_answer_is_accepted_and_another_is_not():
    env: Any = registry.make(NAME)
    for name, seed in UNSEEN:
        for told, reward in ((f" {asked(name, seed)[1]}\n", 1.0), ("zzz", 0.0)):
            env.reset(seed=0, options={"task": f"{name}/{seed}"})
            assert env.step(ToolCall("answer", text=told))[1] == reward, (name, seed)
    env.close()


def test_a_session_computes_and_a_formula_may_be_written_in_another_way():
    env: Any = registry.make(NAME)
    env.reset(seed=0, options={"task": "simple_integration/3"})
    (message,), *_ = env.step(ToolCall("python", code="6 * 7"))
    assert message["content"] == "42"
    assert "simple_integration" in SYMBOLIC
    right = asked("simple_integration", 3)[1]
    assert right.endswith("+ C")
    assert env.step(ToolCall("answer", text="C + " + right.removesuffix(" + C")))[1] == 1.0
    env.close()


def test_echoing_an_expression_is_no_answer():
    env: Any = registry.make(NAME)
    question, right = asked("gcd", 1)
    env.reset(seed=0, options={"task": "gcd/1"})
    assert env.step(ToolCall("answer", text=f"{right}*1"))[1] == 0.0
    assert question
    env.close()


def test_unknown_tasks_are_named_and_so_is_what_is_missing(monkeypatch):
    env: Any = registry.make(NAME)
    for task in ("nothing/1", "gcd", 7):
        with pytest.raises(UserError, match="a task is GENERATOR/SEED"):
            env.reset(seed=0, options={"task": task})
    with pytest.raises(UserError, match="did you mean 'local'"):
        registry.make(NAME, sandbox="locale")
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(UserError, match=r"pip install 'agentrl-toolkit\[code\]'"):
        registry.make(NAME)


def test_the_suite_and_the_contract():
    assert len(suites.load("reasoning-unseen").tasks()) == 288
    report = check(NAME, episodes=4)
    assert report.ok, str(report)
