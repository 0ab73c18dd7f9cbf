"""WebShop's reward: its fuzzy match against thefuzz's own numbers, and what each wrong thing costs."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.envs.shop import words
from agentrl.envs.shop.catalogue import catalogue
from agentrl.envs.shop.score import CLOSE, Goal, score, token_set_ratio, type_score
from agentrl.envs.shop.tasks import goal_of, splits

CASES = json.loads((Path(__file__).parent / "token_set_ratio.json").read_text())


def test_token_set_ratio_is_thefuzz_s():
    wrong = [(a, b, ratio, token_set_ratio(a, b)) for a, b, ratio in CASES["pairs"] if token_set_ratio(a, b) != ratio]
    assert wrong == []


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_token_set_ratio_is_symmetric_and_bounded(a, b):
    assert token_set_ratio(a, b) == token_set_ratio(b, a)
    assert 0 <= token_set_ratio(a, b) <= 100


@pytest.mark.parametrize("goods", words.GOODS, ids=lambda goods: goods.group)
def test_nothing_sold_is_taken_for_something_else(goods):
    for pool in (goods.attributes, [*itertools.chain(*goods.options.values())]):
        for a, b in itertools.combinations(pool, 2):
            assert token_set_ratio(a, b) <= CLOSE, (a, b)
    for a, b in itertools.permutations(goods.attributes, 2):
        assert a not in b


@pytest.fixture
def goal() -> Goal:
    found = (goal_of(task) for task in splits()["train"])
    return next(goal for goal in found if len(goal.attributes) == 2 and len(goal.options) == 2)


def test_everything_right_earns_one_and_each_miss_a_fifth(goal):
    right, options = goal.product, dict(goal.options)
    name = next(iter(options))
    assert score(right, options, goal) == 1.0
    assert score(right, {k: v for k, v in options.items() if k != name}, goal) == pytest.approx(4 / 5)
    assert score(right, {}, goal) == pytest.approx(3 / 5)
    assert score(replace(right, cents=goal.ceiling), options, goal) == 1.0
    assert score(replace(right, cents=goal.ceiling + 1), options, goal) == pytest.approx(4 / 5)
    bare = replace(right, attributes=(), title=f"{right.brand} {right.kind}", bullets=(), description="")
    assert score(bare, options, goal) == pytest.approx(3 / 5)
    told = replace(bare, description=f"Comes with {goal.attributes[0]}.")
    assert score(told, options, goal) == pytest.approx(4 / 5)


def test_another_thing_earns_little_or_nothing(goal):
    right, options = goal.product, dict(goal.options)
    other = next(p for p in catalogue() if p.category.split(" › ")[0] != right.category.split(" › ")[0])
    stranger = replace(right, kind=other.kind, brand="Nobody", category=other.category)
    assert type_score(stranger, right) == 0.0
    assert score(stranger, options, goal) == 0.0


def test_type_score_steps():
    shoes = next(p for p in catalogue() if p.kind == "running shoes")
    wanted = replace(shoes, brand="A B C D E F G H I", kind="shoes")  # ten nouns
    elsewhere = replace(wanted, category="x › y › z", kind="gloves")
    assert type_score(replace(elsewhere, brand="A B C"), wanted) == 1.0  # 3 of 10 nouns
    assert type_score(replace(elsewhere, brand="A B"), wanted) == 0.5  # 2 of 10: not above a fifth
    assert type_score(replace(elsewhere, brand="A"), wanted) == 0.5
    assert type_score(replace(elsewhere, brand="Z"), wanted) == 0.0
    more = replace(wanted, brand="A B C D E F G H I J K")  # twelve nouns
    assert type_score(replace(elsewhere, brand="A"), more) == 0.1
    assert type_score(replace(elsewhere, brand="A B", category=wanted.category), more) == 1.0
