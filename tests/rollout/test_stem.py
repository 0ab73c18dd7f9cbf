"""Episodes that start from a stem: shared records, counters that go on, snapshots and replays, exact tokens."""

import asyncio
import random

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from agentrl import store
from agentrl.agents.chat import AgentConfig
from agentrl.envs.core import Env, Snapshot
from agentrl.errors import UserError
from agentrl.policies.scripted import Idle, Random
from agentrl.policies.transformers import TransformersPolicy
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.rollout.limits import Limits
from agentrl.rollout.stem import Stem, re_execute
from agentrl.trainers.models import train_tokenizer
from agentrl.types import Group, StopReason, Task

TOKENIZER = train_tokenizer(["<action>go</action> ok start"], 320)


class Walk(Env):
    """Every step draws a number that only its own generator knows; it counts how often it was made to act."""

    blocking = False
    acted = 0

    def reset(self, *, seed=None, options=None):
        self.rng, self.turn = random.Random(seed), 0
        return f"start {options['task']} {self.rng.random():.6f}", {"task_type": "walk"}

    def step(self, action):
        type(self).acted += 1
        self.turn += 1
        return f"ok {self.turn} {self.rng.random():.6f}", 0.25, False, False, {}

    def admissible_actions(self):
        return ["go", "stay"]


class Saved(Walk):
    snapshot_level = "exact"
    live: set = set()

    def snapshot(self):
        handle = object()
        self.live.add(handle)
        return Snapshot((self.rng.getstate(), self.turn), lambda: self.live.discard(handle))

    def restore(self, snapshot):
        self.rng = random.Random()
        state, self.turn = snapshot.state
        self.rng.setstate(state)


class Forgetful(Walk):
    """Shows something else each time it is reset."""

    resets = 0

    def step(self, action):
        result = super().step(action)
        return (f"{result[0]} {id(self)} {self.resets}", *result[1:])

    def reset(self, **more):
        type(self).resets += 1
        return super().reset(**more)


class Nowhere(Walk):
    snapshot_level = "none"


@pytest.fixture(autouse=True)
def _fresh():
    for kind in (Walk, Saved, Forgetful):
        kind.acted = 0
    Saved.live.clear()


def policy():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 1}
    config = LlamaConfig(
        vocab_size=384,
        intermediate_size=48,
        max_position_embeddings=1024,
        initializer_range=0.2,
        eos_token_id=1,
        bos_token_id=None,
        **sizes,
    )
    return TransformersPolicy(LlamaForCausalLM(config), TOKENIZER, slots=8)


def rollout_of(make, plays=None, agent=None, keep=True, **limits):
    config = AgentConfig(format="text", **(agent or {}))
    rollout = Rollout(plays or policy(), config, Limits(**{"turns": 5, "turn_tokens": 12} | limits), keep_states=keep)
    rollout.envs.build = lambda task: make()
    return rollout


def root(seed=3, **more):
    return Job("a", Task("Walk-v0", 7), seed, group="g", key=(0, 0), **more)


def branch(parent, turn, token=0, seed=8, id="b", group="g"):
    return Job(id, parent.task, seed, group=group, key=(0, 1, id), stem=Stem(parent, turn, token))


def run(rollout, *jobs):
    return asyncio.run(rollout.run(jobs))


def ids(trajectory):
    return [turn.completion_ids.tolist() for turn in trajectory.turns]


@pytest.mark.parametrize("make", [Saved, Walk])
def test_a_branch_at_turn_3_of_a_5_turn_limit_is_truncated_at_turn_5(make):
    rollout = rollout_of(make)
    (parent,) = run(rollout, root())
    before = make.acted
    (child,) = run(rollout, branch(parent, 3))
    assert (len(child.turns), child.stop) == (5, StopReason.MAX_TURNS)
    assert all(mine is theirs for mine, theirs in zip(child.turns[:3], parent.turns[:3], strict=True))
    assert (child.parent, child.branch_turn, child.branch_token) == ("a", 3, None)
    assert child.world_seed == parent.seed
    assert child.seed == 8
    assert child.info["restored"] == ("snapshot" if make is Saved else "replay")
    assert make.acted - before == (2 if make is Saved else 5)
    assert child.info["task_type"] == "walk"
    assert child.info["seconds"] >= sum(sum(turn.seconds.values()) for turn in parent.turns[:3])


@pytest.mark.parametrize("make", [Saved, Walk])
@pytest.mark.parametrize("agent", [{}, {"context": 1}, {"admissible": True}])
def test_with_its_parents_draws_a_branch_is_its_parent(make, agent):
    rollout = rollout_of(make, agent=agent)
    (parent,) = run(rollout, root())
    for turn in range(5):
        (child,) = run(rollout, branch(parent, turn, seed=parent.seed))
        assert ids(child) == ids(parent)
        for mine, theirs in zip(child.turns, parent.turns, strict=True):
            assert mine.observation == theirs.observation
            assert np.array_equal(mine.prompt_ids, theirs.prompt_ids)
            assert np.allclose(mine.logprobs, theirs.logprobs, atol=1e-5)


def test_other_draws_go_another_way_in_the_same_world():
    rollout = rollout_of(Saved)
    (parent,) = run(rollout, root())
    (child,) = run(rollout, branch(parent, 2))
    assert ids(child)[2:] != ids(parent)[2:]
    seen = [{t.observation for t in trajectory.turns if t.observation[:2] == "ok"} for trajectory in (child, parent)]
    assert seen[0] <= seen[1] or seen[1] <= seen[0]  # actions change nothing here, replies that are none do not act


def test_a_branch_of_a_branch_and_of_its_stem():
    rollout = rollout_of(Saved)
    (parent,) = run(rollout, root())
    (child,) = run(rollout, branch(parent, 2))
    (grandchild,) = run(rollout, branch(child, 4, id="c"))
    assert [a is b for a, b in zip(grandchild.turns, child.turns, strict=True)] == [True] * 4 + [False]
    assert grandchild.world_seed == parent.seed
    (other,) = run(rollout, branch(child, 1, id="d"))  # no state of the child's own: the actions are taken again
    assert other.turns[0] is parent.turns[0]
    assert other.stop is StopReason.MAX_TURNS


def test_a_replay_that_shows_something_else_is_a_failure_of_its_own_kind():
    rollout = rollout_of(Forgetful, Idle())
    (parent,) = run(rollout, root())
    (child,) = run(rollout, branch(parent, 3))
    assert child.stop is StopReason.REPLAY_DIVERGED
    assert not child.trusted
    assert "turn 1: observation was 'ok 1" in child.error
    assert rollout.failures == {"replay_diverged/restore": 1}


def test_an_environment_that_cannot_go_back_is_refused():
    rollout = rollout_of(Nowhere, Idle())
    (parent,) = run(rollout, root())
    with pytest.raises(UserError, match="snapshot_level none"):
        run(rollout, branch(parent, 3))


def test_tokens_of_the_stem_count_towards_the_episodes_limit():
    (parent,) = run(rollout_of(Walk, turn_tokens=10), root())
    spent = sum(map(len, ids(parent)[:3]))
    rollout = rollout_of(Walk, turn_tokens=10, episode_tokens=spent + 4)
    (child,) = run(rollout, branch(parent, 3))
    assert child.stop is StopReason.MAX_TOKENS
    assert child.sampled_tokens == spent + 4


@pytest.mark.parametrize("make", [Saved, Walk])
def test_a_branch_in_the_middle_of_a_reply_goes_on_from_that_token(make):
    rollout = rollout_of(make)
    (parent,) = run(rollout, root())
    turn = next(i for i, t in enumerate(parent.turns) if i and len(t.completion_ids) == 12)
    (child,) = run(rollout, branch(parent, turn, 5))
    mine, theirs = child.turns[turn], parent.turns[turn]
    assert mine is not theirs
    assert np.array_equal(mine.completion_ids[:5], theirs.completion_ids[:5])
    assert np.array_equal(mine.logprobs[:5], theirs.logprobs[:5])
    assert mine.completion_ids.tolist() != theirs.completion_ids.tolist()
    assert len(mine.completion_ids) <= 12
    assert (child.branch_turn, child.branch_token) == (turn, 5)
    whole = torch.from_numpy(np.concatenate([mine.prompt_ids, mine.completion_ids]).astype(np.int64))
    with torch.no_grad():
        logp = torch.log_softmax(rollout.policy.model(whole[None]).logits[0], -1)
    at = torch.arange(len(mine.prompt_ids), len(whole))
    assert np.allclose(logp[at - 1, whole[at]].numpy(), mine.logprobs, atol=1e-4)


def test_a_stop_string_that_began_before_the_cut_still_stops():
    class Written(Walk):
        pass

    rollout = rollout_of(Written, agent={}, keep=False)
    rollout.agent = AgentConfig(format="action")
    (parent,) = run(rollout, root())
    text = "<action>go</action>"
    written = np.asarray(TOKENIZER(text)["input_ids"], np.int32)
    turn = parent.turns[1]
    n = len(written)
    turn.completion_ids, turn.logprobs = written, np.full(n, -1, np.float32)
    turn.entropies, turn.versions = np.ones(n, np.float32), [(0, 0)]
    forced = rollout.policy
    real = forced._logits

    def certain(rows, blocks, starts):
        logits = real(rows, blocks, starts)
        if rows[0].request.begun:
            logits[:] = -1e9
            logits[0, int(written[n - 1])] = 0.0
        return logits

    forced._logits = certain
    (child,) = run(rollout, branch(parent, 1, n - 1))
    assert child.turns[1].text == text
    assert child.turns[1].action == "go"


def test_the_same_branches_bit_for_bit():
    runs = []
    for _ in range(2):
        rollout = rollout_of(Saved)
        parents = run(rollout, root(), Job("z", Task("Walk-v0", 2), 4, group="g", key=(1, 0)))
        jobs = [branch(p, t, 3 * k, seed=t, id=f"{p.id}{t}{k}") for p in parents for t in (1, 2, 4) for k in (0, 1)]
        runs.append([[t.logprobs.tobytes() for t in child.turns] for child in run(rollout, *jobs)])
    assert runs[0] == runs[1]


def test_states_are_given_back():
    rollout = rollout_of(Saved, Idle())
    (parent,) = run(rollout, root())
    assert len(Saved.live) == 5
    run(rollout, branch(parent, 3))
    rollout.forget()
    assert not Saved.live

    class Breaks(Saved):
        def step(self, action):
            if self.turn == 2:
                raise OSError("lost")
            return super().step(action)

    rollout = rollout_of(Breaks, Idle())
    assert not run(rollout, root())[0].trusted
    assert not Saved.live


def test_a_stem_of_another_group_is_no_parent():
    rollout = rollout_of(Walk)
    (parent,) = run(rollout, root())
    (child,) = run(rollout, branch(parent, 2, group="other"))
    assert (child.parent, child.branch_turn) == (None, None)
    assert (child.info["stem"], child.info["stem_turn"]) == ("a", 2)


def test_a_stem_without_tokens_is_told_as_its_agent_would_have_said_it():
    (demo,) = run(rollout_of(Walk, Random()), root())
    rollout = rollout_of(Walk)
    (child,) = run(rollout, branch(demo, 2))
    assert [len(t.completion_ids) > 0 for t in child.turns] == [False, False, True, True, True]
    text = rollout.policy.tokenizer.decode(child.turns[2].prompt_ids)
    assert all(str(turn.action) in text for turn in demo.turns[:2])


@pytest.mark.parametrize("scripted", [False, True])
def test_a_guide_takes_the_first_turn_after_the_stem_and_the_policy_goes_on(scripted):
    rollout = rollout_of(Saved, Random() if scripted else None)
    (parent,) = run(rollout, root())
    job = branch(parent, 2)
    job.guide = "look here"
    (child,) = run(rollout, job)
    guided = child.turns[2]
    assert (guided.action, guided.policy, len(guided.completion_ids)) == ("look here", "expert", 0)
    assert len(child.turns) == 5
    if not scripted:
        assert not guided.trainable
        assert all(len(turn.completion_ids) for turn in child.turns[3:])
        assert "look here" in rollout.policy.tokenizer.decode(child.turns[3].prompt_ids)


def test_a_hint_is_told_once_and_known_to_branches():
    rollout = rollout_of(Saved)
    job = root()
    job.hint = "A solution begins: go."
    (parent,) = run(rollout, job)
    texts = [rollout.policy.tokenizer.decode(turn.prompt_ids) for turn in parent.turns]
    assert [text.count(job.hint) for text in texts] == [1] * 5
    assert job.hint not in parent.turns[0].observation
    (child,) = run(rollout, branch(parent, 3, seed=parent.seed))
    assert ids(child) == ids(parent)
    assert child.info["hint"] == job.hint


def test_a_stem_of_an_agent_that_talks_otherwise_is_refused():
    (parent,) = run(rollout_of(Walk), root())
    with pytest.raises(UserError, match="talks otherwise"):
        run(rollout_of(Walk, agent={"system": "Be brief."}), branch(parent, 2))


def test_a_stem_ends_before_a_turn_and_within_a_reply():
    (parent,) = run(rollout_of(Walk), root())
    for turn, token in ((5, 0), (-1, 0), (1, 99), (1, -1), (1, len(parent.turns[1].completion_ids))):
        with pytest.raises(ValueError, match="of a"):
            Stem(parent, turn, token)


def test_the_store_keeps_what_is_shared(tmp_path):
    rollout = rollout_of(Saved)
    (parent,) = run(rollout, root())
    children = run(rollout, branch(parent, 3), branch(parent, 2, 1, id="c"))
    group = Group(parent.task, "g", [parent, *children])
    (back,) = store.read(store.write(tmp_path, "x", [group]))
    for old, new in zip(group, back, strict=True):
        assert ids(old) == ids(new)
        assert (old.parent, old.branch_turn, old.branch_token) == (new.parent, new.branch_turn, new.branch_token)
        assert old.world_seed == new.world_seed
    assert back.trajectories[1].turns[2] is back.trajectories[0].turns[2]
    assert back.trajectories[2].turns[2] is not back.trajectories[0].turns[2]


async def _call(call):
    return await call()


def test_a_stored_episode_is_executed_again(tmp_path):
    (parent,) = run(rollout_of(Walk), root())
    (back,) = store.read(store.write(tmp_path, "x", [Group(parent.task, "g", [parent])]))[0]
    assert asyncio.run(re_execute(Walk(), back, 5, _call)) is None
    back.turns[2].observation = "else"
    found = asyncio.run(re_execute(Walk(), back, 5, _call))
    assert (found.turn, found.what, found.stored) == (2, "observation", "else")
    (back,) = store.read(tmp_path)[0]
    back.turns[3].rewards = {"reward": 1.0}
    assert str(asyncio.run(re_execute(Walk(), back, 5, _call))) == "turn 3: rewards was 1.0, is now 0.25"
    back.turns[3].rewards = {"reward": 0.25}
    back.stop = StopReason.TERMINATED
    assert asyncio.run(re_execute(Walk(), back, 5, _call)).what == "end"
    assert asyncio.run(re_execute(Walk(), back, 4, _call)) is None


@pytest.mark.parametrize("workers", [0, 1])
def test_household_branches_in_this_process_and_in_another(workers):
    rollout = Rollout(Random(), limits=Limits(turns=8), workers=workers, keep_states=True)
    try:
        task = Task("agentrl/Household-v0", "tiny-train-00000", (("size", "tiny"),))
        (parent,) = run(rollout, Job("a", task, 1, group="g"))
        (child,) = run(rollout, Job("b", task, 2, group="g", stem=Stem(parent, 4)))
        rollout.forget()
        (again,) = run(rollout, Job("b", task, 2, group="g", stem=Stem(parent, 4)))
    finally:
        rollout.close()
    assert child.trusted
    assert (child.info["restored"], again.info["restored"]) == ("snapshot", "replay")
    assert [t.action for t in child.turns] == [t.action for t in again.turns]
    assert [t.observation for t in child.turns] == [t.observation for t in again.turns]
    assert [t.state_key for t in child.turns] == [t.state_key for t in again.turns]
