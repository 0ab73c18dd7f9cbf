"""Templates: what they ask follows from the database, and every one can be told from the others by what it changes."""

import pytest

from agentrl.envs.site import data
from agentrl.envs.site.tasks import TEMPLATES, goal_of, splits, wanted
from agentrl.errors import UserError


def test_there_are_many_templates_and_fixed_splits():
    assert len(TEMPLATES) >= 25
    found = splits()
    assert len(found["train"]) == 40 * len(TEMPLATES)
    assert not set(found["train"]) & set(found["unseen"])


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_task_changes_one_thing_or_asks_one(template):
    before = data.contents(data.fresh())
    for seed in range(0, 50, 7):
        goal = goal_of(f"{template}/{seed}")
        assert (goal.change is None) == bool(goal.answer)
        after = wanted(goal)
        rows = sum(len(set(after[name]) ^ set(before[name])) for name in data.NAMES)
        assert rows == (0 if goal.answer else 1 if template.endswith(("-new", "delete")) else 2), goal
        assert "{" not in goal.text


def test_the_database_is_the_same_every_time():
    assert data.contents(data.fresh()) == data.contents(data.fresh())
    changed = data.fresh()
    changed.execute("delete from orders")
    assert data.contents(changed) != data.contents(data.fresh())


@pytest.mark.parametrize("task", ["nope/1", "order-ship", "order-ship/50", "order-ship/-1", 3])
def test_unknown_tasks_are_the_users_error(task):
    with pytest.raises(UserError, match="of Site"):
        goal_of(task)
