"""Calc-v0: what needs the tool and what does not, and what guessing earns."""

import random
from collections import Counter
from typing import Any

import pytest

from agentrl.envs import registry
from agentrl.envs.calc import KINDS, problem, splits
from agentrl.envs.check import check
from agentrl.envs.random_actions import random_action
from agentrl.errors import UserError
from agentrl.evaluation import suites
from agentrl.tools.calculator import calculator
from agentrl.types import ToolCall

NAME = "agentrl/Calc-v0"
TASKS = [task for split in splits().values() for task in split]


def test_there_are_many_tasks_and_a_part_needs_no_tool():
    assert len(TASKS) == len(set(TASKS)) >= 2000
    assert len({expression for _, expression in KINDS}) >= 30
    for tasks in splits().values():
        assert 0.3 <= sum(problem(task)[2] for task in tasks) / len(tasks) <= 0.5


def test_every_answer_is_a_whole_number_and_easy_ones_are_small():
    for task in TASKS:
        question, expression, easy = problem(task)
        value = int(calculator(expression))
        assert value >= 0
        assert "$" not in question
        assert not easy or value < 40_000


def test_no_answer_is_right_often():
    answers = Counter(calculator(problem(task)[1]) for task in splits()["unseen"])
    assert answers.most_common(1)[0][1] / len(splits()["unseen"]) < 0.1
    env: Any = registry.make(NAME)
    won = 0
    for i, task in enumerate(splits()["unseen"]):
        env.reset(seed=i, options={"task": task})
        action = random_action(env, random.Random(i))
        won += action.name == "answer" and env.step(action)[1] == 1.0
    assert won / len(splits()["unseen"]) < 0.05


def test_the_expert_calls_the_tool_where_it_is_needed():
    env: Any = registry.make(NAME)
    for task, calls in (("2/0", 0), ("2/3", 1)):  # 0: easy
        env.reset(seed=0, options={"task": task})
        over, used = False, 0
        while not over:
            _, reward, over, _, info = env.step(env.expert())
            used += len(info["tool_calls"])
        assert (reward, used) == (1.0, calls)


def test_a_confidence_may_be_stated_and_is_checked():
    env: Any = registry.make(NAME)
    env.reset(seed=0, options={"task": "0/0"})
    right = calculator(problem("0/0")[1])
    assert env.step(ToolCall("answer", number=right, confidence=2))[4]["valid"] is False
    assert env.step(ToolCall("answer", number=f" {right} ", confidence=0.9))[1] == 1.0


def test_unknown_tasks_are_named():
    for task in ("34/0", "a/1", "1", 7):
        with pytest.raises(UserError, match="a task is KIND/SEED"):
            problem(task)


def test_the_suite_and_the_contract():
    assert len(suites.load("calc-unseen").tasks()) == 340
    report = check(NAME)
    assert report.ok, str(report)
