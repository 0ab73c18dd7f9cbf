"""Templates: what they ask follows from the seed, and doing nothing is never enough."""

import pytest

from agentrl.envs.desktop.tasks import TEMPLATES, UNSEEN, goal_of, splits
from agentrl.errors import UserError


def test_there_are_many_templates_over_three_programs_and_fixed_splits():
    assert len(TEMPLATES) >= 12
    assert {program[0] for t in TEMPLATES for program in goal_of(f"{t}/0").programs} == {
        "mousepad", "galculator", "thunar",
    }  # fmt: skip
    found = splits()
    assert len(found["train"]) == 100 * len(TEMPLATES)
    assert not set(found["train"]) & set(found["unseen"])
    assert splits("note-new+calc-sum")["unseen"][:2] == ["note-new/100", "calc-sum/100"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_task_is_not_done_at_its_beginning(template):
    seen = set()
    for seed in range(UNSEEN.stop):
        goal = goal_of(f"{template}/{seed}")
        assert goal.before != goal.after or goal.shown not in ("", "0") or goal.answer, goal
        assert goal == goal_of(f"{template}/{seed}")
        seen.add(goal.text)
    assert len(seen) >= 8  # other seeds ask for other things


@pytest.mark.parametrize("task", ["nope/1", "note-new", "note-new/112", "note-new/-1", "note-new/²", 3])
def test_unknown_tasks_are_the_users_error(task):
    with pytest.raises(UserError, match="of Desktop"):
        goal_of(task)


def test_unknown_templates_are_the_users_error():
    with pytest.raises(UserError, match="did you mean 'note-new'"):
        splits("note-mew")
