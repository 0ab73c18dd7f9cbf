"""The clauses of the environment contract, one function each.

A clause returns a line that says what was seen, or raises :class:`Broken` or :class:`Skipped` with one. Its name is
the name of the check.
"""

from __future__ import annotations

import gc
import itertools
import re
import statistics
import traceback
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

from agentrl.envs import registry
from agentrl.envs.core import Snapshots
from agentrl.envs.hostile import hostile_actions
from agentrl.envs.trial import Broken, Episode, Skipped, Subject, act, begin, replay, same
from agentrl.types import Action, calls_of

Clause = Callable[[Subject], str]


def builds(subject: Subject) -> str:
    with subject.env() as env:
        offers = f", {len(env.tools)} tools" if env.tools else "" if env.instructions else ", without instructions"
        return type(env).__name__ + offers


def splits(subject: Subject) -> str:
    found = registry.splits(subject.spec, subject.kwargs)
    if not found:
        raise Broken("there are no splits")
    for name, tasks in found.items():
        if not len(tasks):
            raise Broken(f"split {name!r} is empty")
        if not isinstance(tasks[0], str | int):
            raise Broken(f"task ids must be text or whole numbers; split {name!r} holds {tasks[0]!r:.80}")
    for (a, left), (b, right) in itertools.combinations(found.items(), 2):
        shared = _shared(left, right)
        if shared is not None:
            raise Broken(f"task {shared!r} is in both {a!r} and {b!r}")
    return ", ".join(f"{name} {len(tasks)}" for name, tasks in found.items()) + ", disjoint"


def resets(subject: Subject) -> str:
    with subject.env() as env:
        for seed, task in enumerate(subject.tasks):
            try:
                begin(env, task, seed)
            except Broken:
                raise
            except Exception as error:
                raise Broken(f"reset to task {task!r} {raised(error)}") from error
        env.reset(seed=0)  # the seed picks a task
    return f"{len(subject.tasks)} tasks"


def spaces(subject: Subject) -> str:
    turns = sum(len(episode.actions) for episode in subject.random)
    return f"{turns} random turns give text or messages, finite rewards, plain infos"


def rewards(subject: Subject) -> str:
    with subject.env() as env:
        low, high = env.reward_range
    for episode in subject.played:
        if not low - 1e-6 <= sum(episode.rewards) <= high + 1e-6:
            raise Broken(
                f"an episode's rewards add up to {sum(episode.rewards):g}, outside {low:g}..{high:g} ({episode.label})"
            )
    return f"{len(subject.played)} episodes within {low:g}..{high:g}"


def determinism(subject: Subject) -> str:
    with subject.env() as env:
        for old in reversed(subject.played):  # in another order, as nothing may stay from the episode before
            same(old, replay(env, old), "played again with the same task and seed")
        for old in subject.random:
            start, again = old.seen[0][0], begin(env, old.task, old.seed + 1).seen[0][0]
            if again != start:
                raise Broken(
                    f"task {old.task!r} begins with {again!r:.60} at one seed and with {start!r:.60} at another: "
                    "the task must fix start and goal"
                )
        for seed in range(3):
            if env.reset(seed=seed)[0] != env.reset(seed=seed)[0]:
                raise Broken(f"reset(seed={seed}) must pick the same task every time")
    return f"{len(subject.played)} episodes played again, identical"


def isolation(subject: Subject) -> str:
    pairs = list(zip(subject.played[::2], subject.played[1::2], strict=False))
    for alone in pairs:
        with subject.env() as left, subject.env() as right:
            mixed = [begin(env, old.task, old.seed) for env, old in zip((left, right), alone, strict=True)]
            for i in range(max(len(old.actions) for old in alone)):
                for env, old, episode in zip((left, right), alone, mixed, strict=True):
                    if i < len(old.actions):
                        act(env, episode, old.actions[i])
        for old, episode in zip(alone, mixed, strict=True):
            same(old, episode, "beside a second instance")
    return f"{len(pairs)} pairs of instances, interleaved, do not touch each other"


def snapshots(subject: Subject) -> str:
    compared = 0
    with subject.env() as env, subject.env() as other:
        capable = isinstance(env, Snapshots)
        other.reset(seed=0, options={"task": subject.tasks[-1]})
        for old in subject.played:
            half = len(old.actions) // 2
            episode = begin(env, old.task, old.seed)
            if env.snapshot_level == "none":
                raise Skipped("snapshot_level is 'none': episodes cannot branch")
            if env.snapshot_level == "replay":
                return "by replay, which is deterministic"
            if not capable:
                raise Broken("snapshot_level is 'exact', but snapshot() and restore() are missing")
            for action in old.actions[:half]:
                act(env, episode, action)
            saved = env.snapshot()
            for where, what in ((env, None), (env, "restored"), (other, "restored in a second instance")):
                if what is not None:
                    where.restore(saved)
                branch = Episode(old.task, old.seed, seen=list(episode.seen))
                for action in old.actions[half:]:
                    act(where, branch, action)
                same(old, branch, what or "after taking a snapshot")
                compared += 1
            saved.free()
            saved.free()
    return f"{compared} continuations identical"


def idle(subject: Subject) -> str:
    for episode in subject.play(lambda env, rng: ""):
        if episode.success or sum(episode.rewards) > 0:
            raise Broken(f"saying nothing earns {sum(episode.rewards):g} ({episode.label})")
    return "saying nothing earns nothing"


def expert(subject: Subject) -> str:
    lost = [episode for episode in subject.expert if not episode.success]
    if lost:
        raise Broken(f"the expert fails {len(lost)} of {len(subject.expert)} episodes, first {lost[0].label}")
    turns = statistics.mean(len(episode.actions) for episode in subject.expert)
    return f"solves {len(subject.expert)} of {len(subject.expert)}, in {turns:.1f} turns"


def random_play(subject: Subject) -> str:
    rate = statistics.mean(episode.success for episode in subject.random)
    declared = subject.spec.random_success
    if declared is not None:
        if rate > declared + 0.2:
            raise Broken(f"random play succeeds in {rate:.0%}, declared is {declared:.0%}")
        return f"random play succeeds in {rate:.0%}, declared is {declared:.0%}"
    try:
        best, seen = statistics.mean(episode.success for episode in subject.expert), "the expert in"
    except Skipped:
        best, seen = 1.0, "there is no expert, at best"
    told = f"random play succeeds in {rate:.0%}, {seen} {best:.0%}"
    if best - rate < 0.5:
        raise Broken(f"{told}: under 50 points apart; make it harder to guess, or declare random_success")
    return told


def answer(subject: Subject) -> str:
    """The first observation must not tell what the expert does last."""
    with subject.env() as env:
        if env.points:
            raise Skipped("actions point at what is shown")
    episodes = [episode for episode in subject.expert if len(episode.actions) > 1]
    if len(episodes) < 3:
        raise Skipped("one turn: the answer has to follow from the observation")
    firsts = [_words(str(episode.seen[0][0])) for episode in episodes]
    if len(set(firsts)) == 1:
        return "every task begins with the same words"
    told = [e for e, first in zip(episodes, firsts, strict=True) if _mentions(first, e.actions[-1])]
    if len(told) > len(episodes) / 2:
        rate = f"{len(told)} of {len(episodes)} tasks, first {told[0].label}"
        raise Broken(f"the first observation holds the expert's last action in {rate}")
    return "the first observation does not hold the last action"


def hostile(subject: Subject) -> str:
    with subject.env() as env:
        actions = list(hostile_actions(env))
        for action in actions:
            episode = begin(env, subject.tasks[0], 0)
            try:
                act(env, episode, action)
            except Broken:
                raise
            except Exception as error:
                raise Broken(f"step({action!r:.60}) {raised(error)}") from error
    return f"{len(actions)} actions, none raises"


def latency(subject: Subject) -> str:
    reset = statistics.median(episode.seconds[0] for episode in subject.random) * 1e3
    step = statistics.median(s for episode in subject.random for s in episode.seconds[1:]) * 1e3
    with subject.env() as env:
        if step > 5 and not env.blocking:
            raise Broken(
                f"a step takes {step:.1f} ms in place: set blocking = True, so that it gets a thread of its own"
            )
    return f"reset {reset:.3g} ms, step {step:.3g} ms (medians)"


def memory(subject: Subject) -> str:
    """Episodes that were played before must not leave anything behind when they are played again."""
    some = subject.random[:5]

    def rounds(n: int) -> int:
        for _ in range(n):
            for old in some:
                replay(env, old)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    with subject.env() as env:
        tracemalloc.start()
        try:
            held = [rounds(2) for _ in range(4)]  # what leaks grows every time; a pool that fills up does not
            grown = min(after - before for before, after in itertools.pairwise(held)) / (2 * len(some))
        finally:
            tracemalloc.stop()
    if grown > 16 * 1024:
        raise Broken(f"every episode leaves {grown / 1024:.0f} KiB behind")
    return f"{max(grown, 0) / 1024:.1f} KiB an episode"


def close(subject: Subject) -> str:
    for _ in range(2):
        with subject.env() as env:
            begin(env, subject.tasks[0], 0)
            env.close()
            env.close()
    return "twice, and a new one works"


CLAUSES: Sequence[Clause] = (
    builds, splits, resets, spaces, rewards, determinism, isolation, snapshots,
    idle, expert, random_play, answer, hostile, latency, memory, close,
)  # fmt: skip
NEEDED = frozenset({"builds", "splits", "resets", "spaces"})  # without them the others cannot be judged


def raised(error: Exception) -> str:
    """``raised KeyError: 'x' (my_env.py:12)``, at the innermost line."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
    return f"raised {type(error).__name__}: {error}"[:300] + where


def _mentions(words: str, action: Action) -> bool:
    told = [action] if isinstance(action, str) else [str(v) for c in calls_of(action) for v in c.arguments.values()]
    return bool(told) and all(_words(value) in words for value in told)


def _words(text: str) -> str:
    """The words of a text between single spaces, so that one is found in another at whole words only."""
    return " " + " ".join(re.findall(r"\w+", text.lower())) + " "


def _shared(a: Sequence[Any], b: Sequence[Any]) -> Any:
    small, large = sorted((a, b), key=len)
    pool = large if isinstance(large, range) else set(large)
    return next((task for task in itertools.islice(small, 100_000) if task in pool), None)
