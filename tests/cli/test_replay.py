"""agentrl replay: stored episodes taken again."""

import json

import pytest
from typer.testing import CliRunner

from agentrl import api, store
from agentrl.cli.replay import replay
from agentrl.errors import UserError
from agentrl.types import Group, StopReason

ENV = "agentrl/KeyDoor-v0"


@pytest.fixture
def folder(tmp_path):
    return api.collect(ENV, "random", 6, tmp_path / "x")


def run(*arguments):
    import typer

    app = typer.Typer()
    app.command()(replay)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_what_is_stored_happens_again(folder):
    result = run(folder)
    assert (result.exit_code, result.stdout) == (0, "6 of 6 episodes as stored\n")
    told = [json.loads(line) for line in run(folder, "--json").stdout.splitlines()]
    assert [line["difference"] for line in told] == [None] * 6
    first = run(folder, "--trajectory", told[0]["id"])
    assert first.stdout.startswith(f"{told[0]['id']}: {told[0]['turns']} turns, as stored")


def test_the_first_difference_is_named(folder):
    (group, *rest) = store.read(folder)
    group.trajectories[0].turns[2].observation = "Something else."
    store.write(folder, "00-0000000", [group, *rest])
    result = run(folder)
    assert result.exit_code == 1
    assert f"{group.trajectories[0].id}: turn 2: observation was 'Something else.', is now 'You are" in result.stdout
    assert "5 of 6 episodes as stored" in result.stdout


def test_an_episode_that_broke_is_taken_up_to_there(folder, tmp_path):
    t = store.read(folder)[0].trajectories[0]
    t.turns, t.stop, t.success = t.turns[:3], StopReason.ENV_ERROR, False
    t.turns[2].rewards = {"goal": 5.0}  # of the step that raised nothing is known
    (found,) = api.replay(store.write(tmp_path / "y", "z", [Group(t.task, "g", [t])]))
    assert found[1] is None


def test_branches_are_taken_with_their_roots_seed(tiny_branched):
    assert all(difference is None for _, difference in api.replay(tiny_branched))


@pytest.fixture
def tiny_branched(folder, tmp_path):
    import asyncio

    from agentrl.policies.scripted import Random
    from agentrl.rollout.engine import Rollout
    from agentrl.rollout.episode import Job
    from agentrl.rollout.stem import Stem

    parent = store.read(folder)[0].trajectories[0]
    rollout = Rollout(Random())
    job = Job("child", parent.task, 99, group=parent.group, stem=Stem(parent, 2))
    children = asyncio.run(rollout.run([job]))
    rollout.close()
    store.write(tmp_path / "b", "x", [Group(parent.task, parent.group, [parent, *children])])
    return tmp_path / "b"


def test_an_unknown_id_names_the_nearest(folder):
    with pytest.raises(UserError, match="did you mean"):
        api.replay(folder, ["0-00000"])
