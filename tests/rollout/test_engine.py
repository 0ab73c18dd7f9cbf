"""Many episodes at once: order, retries, reports, bit-identical runs, clean ends."""

import asyncio
import random
import re
import time

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from agentrl.agents.chat import AgentConfig
from agentrl.envs import registry
from agentrl.envs.core import Env
from agentrl.errors import UserError
from agentrl.policies.scripted import Idle
from agentrl.policies.transformers import TransformersPolicy
from agentrl.rollout.engine import Rollout, preflight
from agentrl.rollout.episode import Job
from agentrl.rollout.limits import Limits
from agentrl.rollout.status import Status
from agentrl.trainers.models import train_tokenizer
from agentrl.types import StopReason, Task

TOKENIZER = train_tokenizer(["<action>go</action> ok start"], 320)


class Fake(Env):
    """A task is a number of turns to the end; ``hooks`` make it misbehave."""

    blocking = False
    hooks: dict = {}
    made: list = []

    def __init__(self):
        self.closed = 0
        self.made.append(self)

    def reset(self, *, seed=None, options=None):
        self.task, self.turn = options["task"], 0
        self.hooks.get("reset", lambda env: None)(self)
        return f"start {self.task} {seed}", {}

    def step(self, action):
        self.turn += 1
        self.hooks.get("step", lambda env: None)(self)
        return f"ok {self.turn}", 0.0, self.turn >= self.task, False, {}

    def close(self):
        self.closed += 1
        self.hooks.get("close", lambda env: None)(self)
        super().close()


def rollout_of(policy=None, make=Fake, **more):
    rollout = Rollout(policy or Idle(), AgentConfig(format="text"), **{"limits": Limits(turn_tokens=6)} | more)
    rollout.envs.build = lambda task: make()
    return rollout


@pytest.fixture(autouse=True)
def _fresh():
    Fake.hooks, Fake.made = {}, []


def jobs(tasks):
    return [Job(f"j{i}", Task("Fake-v0", task), i, key=(i,)) for i, task in enumerate(tasks)]


def model(seed=0):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=384,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        intermediate_size=48,
        max_position_embeddings=512,
        initializer_range=0.2,
        eos_token_id=1,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)


def run(rollout, work, *args, **more):
    return asyncio.run(rollout.run(work, *args, **more))


def test_trajectories_come_in_the_order_of_the_jobs_and_are_told_as_they_end():
    told = []
    done = run(rollout_of(concurrency=3), jobs([5, 1, 3, 2]), told.append)
    assert [t.id for t in done] == ["j0", "j1", "j2", "j3"]
    assert [len(t.turns) for t in done] == [5, 1, 3, 2]
    assert sorted(t.id for t in told) == ["j0", "j1", "j2", "j3"]


def test_environments_are_reused_and_closed_once():
    rollout = rollout_of(concurrency=2)
    run(rollout, jobs([1] * 9))
    assert len(Fake.made) <= 2
    rollout.close()
    rollout.close()
    assert [env.closed for env in Fake.made] == [1] * len(Fake.made)


def test_never_more_than_concurrency_at_once():
    live, most = set(), []

    def reset(env):
        live.add(env)
        most.append(len(live))

    Fake.hooks = {"reset": reset, "step": lambda env: live.discard(env) if env.turn == env.task else None}
    run(rollout_of(concurrency=3), jobs([4, 1, 2, 5, 1, 3, 2]))
    assert max(most) <= 3


def crash(env):
    if env.task == 3 and env.turn == 2:
        raise RuntimeError("crashed")


def test_a_failure_is_data_and_only_the_first_traceback_is_printed(capsys):
    Fake.hooks = {"step": crash}
    rollout = rollout_of()
    done = run(rollout, jobs([1, 3, 2, 3]))
    assert [t.stop for t in done] == [StopReason.TERMINATED, StopReason.ENV_ERROR] * 2
    assert [t.trusted for t in done] == [True, False] * 2
    assert rollout.failures == {"env_error/step": 2}
    printed = capsys.readouterr().err
    assert printed.count("Traceback") == 1
    assert re.search(r"Fake-v0#3 \(episode j[13], turn 2\)", printed)
    assert "RuntimeError: crashed" in printed
    failed = [env for env in Fake.made if env.closed]
    assert len(failed) == 2  # an environment that failed is not used again


def test_failures_are_tried_again():
    tries = []

    def flaky(env):
        tries.append(env)
        if len(tries) < 3:
            raise OSError("connection lost")

    Fake.hooks = {"reset": flaky}
    rollout = rollout_of()
    (done,) = run(rollout, jobs([1]), retries=2)
    assert done.trusted
    assert rollout.failures == {"env_error/reset": 2}
    tries.clear()
    assert not run(rollout_of(), jobs([1]), retries=1)[0].trusted


def test_an_environment_that_cannot_be_built_or_closed_fails_alone(capsys):
    count = []

    def make():
        count.append(1)
        if len(count) == 1:
            raise MemoryError("no room")
        return Fake()

    Fake.hooks = {"close": crash_close}
    rollout = rollout_of(make=make, concurrency=4)
    done = run(rollout, jobs([2, 2, 2]))
    assert sorted(t.stop for t in done) == ["env_error", "terminated", "terminated"]
    assert [t.error for t in done if not t.trusted] == ["MemoryError: no room"]
    rollout.close()
    assert all(env.closed for env in Fake.made)
    assert "close failed" in capsys.readouterr().err


def crash_close(env):
    raise RuntimeError("will not close")


class Slow(Fake):
    blocking = True

    def step(self, action):
        time.sleep(random.SystemRandom().uniform(0, 0.004))
        return super().step(action)


def record(trajectory):
    return [
        (turn.prompt_ids.tobytes(), turn.completion_ids.tobytes(), turn.logprobs.tobytes(), turn.entropies.tobytes())
        for turn in trajectory.turns
    ]


@pytest.mark.parametrize("make", [Fake, Slow])
def test_deterministic_runs_are_bit_identical_however_slow_the_environments(make):
    """More jobs than places: an episode that waits for a place must not be left out of a batch."""
    runs, forwards = [], set()
    for _ in range(4):
        policy = TransformersPolicy(model(), TOKENIZER, slots=4)
        rollout = rollout_of(policy, make, concurrency=3)
        runs.append([record(t) for t in run(rollout, jobs([1, 4, 2, 3, 1, 5, 2, 1, 3, 2]))])
        rollout.close()
        counters = policy.counters
        forwards.add((counters.forwards, counters.computed_positions, counters.prefill_tokens))
    assert all(one == runs[0] for one in runs)
    assert len(forwards) == 1


def test_episodes_do_not_depend_on_what_plays_beside_them():
    work = jobs([3, 2, 4])
    together = run(rollout_of(TransformersPolicy(model(), TOKENIZER), deterministic=False), work)
    for job, trajectory in zip(work, together, strict=True):
        (alone,) = run(rollout_of(TransformersPolicy(model(), TOKENIZER)), [job])
        assert [t.completion_ids.tolist() for t in alone.turns] == [t.completion_ids.tolist() for t in trajectory.turns]


def test_in_context_full_every_episode_is_one_segment():
    done = run(rollout_of(TransformersPolicy(model(), TOKENIZER)), jobs([3, 2, 4]))
    assert [len(t.segments()) for t in done] == [1, 1, 1]


def test_cancelling_closes_what_is_in_use_and_leaves_the_policy_usable():
    policy = TransformersPolicy(model(), TOKENIZER, slots=4)
    rollout = rollout_of(policy, concurrency=4)

    async def cancelled():
        task = asyncio.create_task(rollout.run(jobs([1000] * 6)))
        while policy.counters.forwards < 5:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        rollout.close()

    asyncio.run(cancelled())
    assert Fake.made
    assert all(env.closed == 1 for env in Fake.made)
    fresh = run(rollout_of(TransformersPolicy(model(), TOKENIZER)), jobs([2, 3]))
    again = run(rollout_of(policy), jobs([2, 3]))
    assert [t.turns[-1].completion_ids.tolist() for t in fresh] == [t.turns[-1].completion_ids.tolist() for t in again]


def test_what_the_user_can_mend_ends_the_run_and_closes_everything():
    def refuse(env):
        if env.task == 3:
            raise UserError("task 3 is not for you")

    Fake.hooks = {"reset": refuse}
    rollout = rollout_of(TransformersPolicy(model(), TOKENIZER), concurrency=2)
    with pytest.raises(UserError, match="task 3"):
        run(rollout, jobs([1, 2, 3, 1]))
    rollout.close()
    assert all(env.closed == 1 for env in Fake.made)


def spared(wanted, spares, seconds):
    """Jobs of one group; each turn of job i takes ``seconds[i]``."""
    work = [Job(f"j{i}", Task("Fake-v0", 1), i, group="g", key=(i,), spare=i >= wanted) for i in range(wanted + spares)]

    def reset(env):
        env.number = next(i for i, job in enumerate(work) if job.seed == env.seed)
        time.sleep(seconds[env.number])

    return work, reset


class Timed(Fake):
    blocking = True

    def reset(self, *, seed=None, options=None):
        self.seed = seed
        return super().reset(seed=seed, options=options)


def test_spares_do_not_take_the_place_of_slow_siblings():
    work, Fake.hooks["reset"] = spared(2, 1, [0.2, 0.0, 0.05])
    done = run(rollout_of(make=Timed, deterministic=False), work)
    assert [t.id for t in done if t.id != "j2"] == ["j0", "j1"]


def test_spares_that_are_not_needed_are_stopped():
    work, Fake.hooks["reset"] = spared(2, 2, [0.0, 0.0, 5.0, 5.0])
    begin = time.monotonic()
    done = run(rollout_of(make=Timed, deterministic=False), work)
    assert [t.id for t in done] == ["j0", "j1"]
    assert time.monotonic() - begin < 4


def test_a_spare_replaces_a_broken_sibling_without_another_try():
    work, reset = spared(2, 1, [0.0, 0.0, 0.1])

    def broken(env):
        reset(env)
        if env.number == 0:
            raise OSError("gone")

    Fake.hooks["reset"] = broken
    rollout = rollout_of(make=Timed, deterministic=False)
    done = run(rollout, work, retries=5)
    assert [(t.id, t.trusted) for t in done] == [("j0", False), ("j1", True), ("j2", True)]
    assert rollout.failures == {"env_error/reset": 1}


def test_who_watches_sees_what_runs_and_who_is_stuck(monkeypatch):
    Fake.hooks = {"step": lambda env: time.sleep(0.5 if env.task == 3 else 0.01)}
    rollout = rollout_of(make=Timed, concurrency=2, limits=Limits(turns=1, step_seconds=0.8))
    seen, named = [], []
    watch = Status.watch
    monkeypatch.setattr(Status, "watch", lambda self: watch(self, 0.05))
    monkeypatch.setattr("agentrl.rollout.engine._warn", named.append)
    rollout.say = seen.append
    run(rollout, jobs([3, 1, 1, 1, 3]))
    assert any("queued" in line and "policy busy" in line for line in seen)
    assert sorted(line.split(" (")[0] for line in named) == ["stuck: Fake-v0#3"] * 2
    assert all("turn 0, step" in line for line in named)
    assert not rollout.live
    assert not rollout.queued


def test_two_runs_share_the_places_oldest_first():
    order = []
    Fake.hooks = {"reset": lambda env: order.append(env.task)}
    rollout = rollout_of(make=Fake, concurrency=1, deterministic=False)

    async def both():
        return await asyncio.gather(rollout.run(jobs([1, 2, 3])), rollout.run(jobs([4, 5])))

    old, new = asyncio.run(both())
    assert order == [1, 2, 3, 4, 5]
    assert len(old) == 3
    assert len(new) == 2


def test_preflight_names_what_is_wrong():
    registry.register("EngineFake-v0", entry_point=Fake, splits={"train": range(3)}, max_turns=5)
    assert asyncio.run(preflight(Task("EngineFake-v0", 1))) < 5
    assert Fake.made[-1].closed == 1
    Fake.hooks = {"reset": lambda env: 1 / 0}
    with pytest.raises(UserError, match=r"EngineFake-v0 fails in reset \(task 1\): ZeroDivisionError"):
        asyncio.run(preflight(Task("EngineFake-v0", 1)))
    with pytest.raises(UserError, match="did you mean 'EngineFake-v0'"):
        asyncio.run(preflight(Task("EngineFaek-v0", 1)))
    rollout = Rollout(Idle())
    (done,) = run(rollout, [Job("j", Task("EngineFake-v0", 9), 0)])
    assert done.stop is StopReason.ENV_ERROR
    Fake.hooks = {}
    (done,) = run(rollout, [Job("j", Task("EngineFake-v0", 9), 0)])
    assert done.stop is StopReason.MAX_TURNS  # the registered limit
    assert len(done.turns) == 5


def test_no_more_environments_are_made_than_a_machine_can_hold():
    class Heavy(Fake):
        at_once = 2
        made: list = []

    registry.register("EngineHeavy-v0", entry_point=Heavy, splits={"train": [3]}, max_turns=5)
    jobs = [Job(str(i), Task("EngineHeavy-v0", 3), i) for i in range(7)]
    assert len(run(Rollout(Idle()), jobs)) == 7
    assert len(Heavy.made) == 2
