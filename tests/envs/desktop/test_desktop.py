"""The tasks on real programs."""

import random

import pytest

from agentrl.envs import registry
from agentrl.envs.desktop.tasks import TEMPLATES
from agentrl.envs.random_actions import random_action
from agentrl.types import ToolCall

pytestmark = pytest.mark.gui


@pytest.fixture
def env(gui):
    made = registry.make("agentrl/Desktop-v0")
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("part", range(6))
def test_the_expert_does_every_template(env, part):
    for template in list(TEMPLATES)[part::6]:
        env.reset(options={"task": f"{template}/101"})
        over = False
        for _ in range(env.max_turns):
            _, reward, over, _, info = env.step(env.expert())
            if over:
                break
        assert (over, reward, info["success"]) == (True, 1.0, True), template


@pytest.mark.parametrize("template", ["note-replace", "calc-scientific", "files-move"])
def test_doing_nothing_earns_nothing(env, template):
    env.reset(options={"task": f"{template}/102"})
    assert env.step(ToolCall("done"))[1] == 0.0


def test_doing_too_much_earns_nothing(env):
    env.reset(options={"task": "note-clear/3"})
    env.step(env.expert())
    env.step(env.expert())
    assert env.expert() == ToolCall("done")
    env.step(ToolCall("press", key="Control+Shift+s"))
    env.step(ToolCall("type", text="more.txt"))
    env.step(ToolCall("press", key="Enter"))
    assert env.step(ToolCall("done"))[1] == 0.0


def test_an_answer_has_to_be_right(env):
    for answer, reward in (("", 0.0), ("nowhere", 0.0), (None, 1.0)):
        env.reset(options={"task": "files-find/7"})
        right = next(k[:-1].split("/")[0] for k in env.display.files() if k.count("/") == 1 and not k.endswith("/"))
        assert env.step(ToolCall("done", answer=answer if answer is not None else right))[1] == reward


@pytest.mark.slow
def test_an_episode_played_again_reads_the_same(env):
    for task in ("files-copy/5", "calc-scientific/5", "note-copy/5"):
        actions = [None, None, None, "random", "random", "random"]

        def play(again, task=task, actions=actions):
            rng = random.Random(1)
            seen = [env.reset(options={"task": task})[0]]
            for i, action in enumerate(actions):
                if not again:
                    actions[i] = env.expert() if action is None else random_action(env, rng)
                if actions[i].name != "done":
                    seen.append(env.step(actions[i])[0])
            return seen

        assert play(False) == play(True), task
