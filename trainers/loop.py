"""A training run: what comes before the iterations (:mod:`agentrl.trainers.iteration`), between and after them."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from agentrl.agents.chat import AgentConfig, probe_template
from agentrl.envs import plugins, registry
from agentrl.errors import UserError
from agentrl.evaluation import suites
from agentrl.evaluation.evaluate import evaluate
from agentrl.policies.base import Learning
from agentrl.policies.load import load_model, locate, server_of
from agentrl.policies.transformers import TransformersPolicy
from agentrl.policies.vllm import VLLMPolicy
from agentrl.policies.vllm_weights import Lora
from agentrl.rollout.engine import Rollout, preflight
from agentrl.rollout.teacher import Teacher
from agentrl.seeds import derive
from agentrl.store.files import point
from agentrl.store.frames import Trajectories, Turns
from agentrl.store.seal import check
from agentrl.trainers import adapters, checkpoint, credit, memory, sharded
from agentrl.trainers.demos import Demos
from agentrl.trainers.iteration import Iteration
from agentrl.trainers.journal import Journal
from agentrl.trainers.losses.objective import objective
from agentrl.trainers.models import parameters
from agentrl.trainers.progress import Observer, Phases
from agentrl.trainers.recipe import Recipe, validate
from agentrl.trainers.record import Record
from agentrl.trainers.sampling import Sampling
from agentrl.trainers.scorers import Scorers, check_scorers
from agentrl.trainers.update import Learner
from agentrl.trainers.whole_history import WholeHistory
from agentrl.types import Task

WINDOW = 5  # iterations that success is averaged over, for the collapse alarm and the best checkpoint


@dataclass
class Run:
    """A finished (or stopped) run. ``policy`` is what ``--policy`` takes."""

    folder: Path
    summary: dict[str, Any]

    @property
    def policy(self) -> str:
        return str(self.folder)

    @property
    def trajectories(self) -> Trajectories:
        """What was played: a row a trajectory with ``.to_pandas()``, a group with ``.group(0)``."""
        return Trajectories(self.folder)

    @property
    def turns(self) -> Turns:
        """The same, a row a turn with ``.to_pandas()``."""
        return Turns(self.folder)

    def __str__(self) -> str:
        if not self.before or not self.after:
            return f"run {self.folder}"
        return f"run {self.folder}: success {self.before['success']:.1%} -> {self.after['success']:.1%} on unseen tasks"

    @property
    def before(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.summary.get("before")
        return found

    @property
    def after(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.summary.get("after")
        return found


@dataclass
class Training:
    """One run. ``Training.new`` or ``Training.resume``, then ``run``."""

    recipe: Recipe
    record: Record
    observer: Observer
    resumed: Path | None = None
    again: bool = False  # the folder is known to hold this run
    phases: Phases = field(default_factory=Phases)
    begin: float = field(default_factory=time.perf_counter)
    spent: float = 0.0  # seconds of the run before it was resumed

    @classmethod
    def new(cls, recipe: Recipe, folder: Path, observer: Observer | None = None) -> Training:
        return cls(recipe, Record(folder), observer or Observer())

    @classmethod
    def resume(cls, folder: Path, observer: Observer | None = None, iterations: int | None = None) -> Training:
        """``folder``: a run, or one of its checkpoints to go back to.

        Raises UserError where there is nothing to resume or nothing left to do, and for a damaged checkpoint.
        """
        at = None
        if (folder / checkpoint.STATE).exists():
            at, folder = folder.resolve(), folder.resolve().parents[1]
        path = folder / "recipe.yaml"
        if not path.exists():
            raise UserError(f"{folder} holds no run (no recipe.yaml)")
        data = yaml.safe_load(path.read_text())
        if iterations is not None:
            data["iterations"] = iterations
        recipe = validate(data, str(path))
        last = folder / "checkpoints" / "last"
        if at is None and (folder / "summary.json").exists() and _iteration(last) >= recipe.iterations:
            raise UserError(f"{folder} is finished ({recipe.iterations} iterations): nothing to resume")
        if at is None and last.is_symlink():
            at = last.resolve()
            if not at.exists():
                raise UserError(f"{last} leads to {at}, which is gone; name another: --resume {at.parent}/NUMBER")
        if at is not None:
            check(at)
        return cls(recipe, Record(folder), observer or Observer(), at, True)

    def run(self) -> Run:
        with contextlib.ExitStack() as held:
            return self._run(held)

    def _run(self, held: contextlib.ExitStack) -> Run:
        """``held``: what is closed when the run ends, however that is."""
        recipe, record, say = self.recipe, self.record, self.observer.note
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        for name in recipe.plugins:
            plugins.load(name)
        if sharded.processes() > 1:
            sharded.check(recipe)
        plan = credit.plan(recipe.rewards, recipe.credit)  # names and options are wrong before anything is loaded
        credit.anchor_key(recipe.anchor)
        check_scorers(plan, recipe)
        weights, tasks = self._tasks()
        sampling = Sampling.of(recipe.rollout, recipe.seed, weights)
        if recipe.mc_value and recipe.rollout.staleness:
            raise UserError("mc_value plays on from what was played last, so it needs rollout.staleness=0")
        if recipe.policy.engine != "transformers" and (sampling.entropies or "entropy" in plan.needs):
            which = "rollout.brancher" if sampling.entropies else "credit"
            raise UserError(f"{which} reads entropies, and policy.engine vllm gives none: use transformers")
        goes_back = sampling.branches or recipe.mc_value is not None  # to earlier states of the environment
        needs = objective(recipe.loss.policy, recipe.loss.corrections, recipe.loss.terms).runnable().needs
        if "demonstration" in needs and recipe.demos is None:
            raise UserError("the loss learns from demonstrations: set demos to a folder of stored episodes")
        if "teacher" in needs and recipe.loss.teacher is None:
            raise UserError("the loss follows a teacher: set loss.teacher to a policy")
        if "full" in needs and (recipe.rollout.stream or recipe.demos is not None):
            raise UserError("the loss reads the whole history, which rollout.stream and demos do not give")
        suite = self._suite() if recipe.evaluate else None
        with self.phases("preflight"):
            offers = functools.partial(credit.refuse_what_lacks, plan=plan, anchor=recipe.anchor)
            for env in weights:
                own = [task for task in tasks if task.env == env]
                seconds = asyncio.run(preflight(own[0], branches=goes_back, check=offers))
                say(f"environment {env}: {len(own)} training tasks, first reset {1000 * seconds:.1f} ms")
        if recipe.anchor == "privileged":
            say("note: anchors are privileged: credit compares states by what no agent could know")
        record.track(recipe)
        if self.resumed is None:
            record.start(recipe, self.again)
        else:
            record.cut(_iteration(self.resumed))
            checkpoint.go_back(record.checkpoints, self.resumed)
        with self.phases("load"):
            where = self.resumed or locate(recipe.policy.path)
            # adapters go on beside the weights they began with: the checkpoint's are merged, and rounded
            model, tokenizer = load_model(locate(recipe.policy.path) if recipe.lora else where)
            if recipe.lora:
                adapters.add(model, recipe.lora, recipe.policy.path, derive(recipe.seed, "lora"))
                if self.resumed is not None:
                    adapters.take(model, adapters.read(self.resumed))
            agent = self._agent(where)
            slots = min(recipe.rollout.concurrency, 1024)
            policy: Learning
            if recipe.policy.engine != "transformers":
                told: dict[str, Any] = {"server": server_of(recipe.policy.engine), "sleep": recipe.policy.sleep}
                told |= {"max_gap": recipe.loss.max_logprob_gap, "transfer": recipe.policy.transfer}
                if recipe.lora:
                    told["lora"] = Lora(recipe.lora.rank, functools.partial(adapters.save, model))
                served = locate(recipe.policy.path) if recipe.lora else where
                policy = VLLMPolicy(served, name=recipe.policy.path, slots=slots, trainer=model, **told)
                say("note: vLLM batches requests as they arrive: reruns differ by rounding")
            else:
                policy = TransformersPolicy(copy.deepcopy(model), tokenizer, name=recipe.policy.path, slots=slots)
            held.callback(policy.close)
            if sharded.processes() > 1:
                learner: Learner = sharded.lead(recipe, where, self.resumed is not None, model, tokenizer)
            else:
                learner = Learner.of(recipe, model, tokenizer)
            demos, window = None, model.config.get_text_config().max_position_embeddings
            if "full" in needs and agent.context == "full":
                raise UserError("the loss reads the whole history, and so does the agent: set agent.context")
            whole = WholeHistory(tokenizer, agent, window) if "full" in needs else None
            if recipe.demos is not None:
                demos = Demos.load(recipe.demos, recipe.demo_share, tokenizer, agent, window)
        stale = recipe.rollout.staleness
        copies = 5  # two of the weights, gradient, two moments
        copies += (learner.reference is not None) + (learner.teacher is not None)
        copies += stale + 1 if stale else recipe.loss.old == "snapshot"
        copies += 5 * (recipe.prime is not None) + 4 * (recipe.agentprm is not None)
        needed = memory.estimate(model, recipe, copies)
        say(f"policy {recipe.policy.path}: {parameters(model) / 1e6:.2f}M parameters; {needed}")
        for line in (*learner.notes, *probe_template(tokenizer)):
            say(f"note: {line}")
        sampling.vocabulary = len(tokenizer)
        first = 0
        state: dict[str, Any] = {"credit": {}, "sampling": sampling.state}
        if self.resumed is not None:
            saved = checkpoint.load_state(self.resumed)
            learner.load(saved["learner"])
            first, self.spent = int(saved["iteration"]), float(saved["seconds"])
            state |= {name: saved[name] for name in state if name in saved}
            sampling.state = state["sampling"]
            policy.version = first
            say(f"resumed after {first} of {recipe.iterations} iterations")
        if self.resumed is None:  # the first good checkpoint is where the run begins
            self._save(0, learner, tokenizer, agent, state, True)
        before = self._measure("before", suite, policy, agent)
        rollout = Rollout(
            policy,
            agent,
            recipe.limits,
            recipe.rollout.concurrency,
            recipe.rollout.deterministic,
            recipe.rollout.workers,
            keep_states=goes_back,
            recycle=recipe.rollout.recycle,
            say=self.observer.status,
            teacher=Teacher() if sampling.labels else None,
        )
        scorers = Scorers(recipe, plan, learner, rollout, policy, self.observer)
        if self.resumed is not None:
            scorers.load(saved)
        parts = (recipe, record, self.observer, self.phases, tasks, rollout, learner, policy, sampling, scorers)
        step = Iteration(*parts, Journal(record.journal, first), demos, whole)
        history = [line["success"] for line in record.metrics()]
        stopped: str | None = None
        done = first
        try:
            for iteration in range(first, recipe.iterations):
                metrics, state = step.run(iteration, state)
                done = iteration + 1
                history.append(metrics["success"])
                record.log(metrics)
                self.observer.iteration(metrics, recipe.iterations)
                step.interrupts.release()
                stopped = _collapsed(history)
                if done % recipe.checkpoint_every == 0 or done == recipe.iterations or stopped:
                    saved_at = range(recipe.checkpoint_every, done, recipe.checkpoint_every)
                    best = all(_smooth(history) >= _smooth(history[:at]) for at in saved_at)
                    self._save(done, learner, tokenizer, agent, state, best)
                    step.finished.cut()
                if stopped:
                    break
        except KeyboardInterrupt:
            step.close()
            if step.interrupts.held:  # weights may be half changed: what was saved last is whole
                done = _iteration(record.checkpoints / "last")
            elif done > _iteration(record.checkpoints / "last"):
                self._save(done, learner, tokenizer, agent, state, False)
            learner.close()
            say(f"stopped after {done} iterations; go on with: agentrl train --resume {record.folder}")
            raise
        else:
            learner.close()
        finally:
            step.interrupts.drop()
            step.close()
            rollout.close()
            record.close()
        if stopped:
            good = record.checkpoints / "best"
            if good.exists():
                point(record.checkpoints, "last", good.resolve())
                best_weights = adapters.read(good) if recipe.lora else load_model(good.resolve())[0].state_dict()
                policy.update(best_weights, _iteration(good))
            kept = _iteration(record.checkpoints / "last")
            say(f"warning: {stopped}; checkpoints/last is now the best one, of iteration {kept}")
        after = self._measure("after", suite, policy, agent)
        return self._finish(before, after, stopped)

    # -- around the iterations ------------------------------------------------------------------------------------

    def _tasks(self) -> tuple[dict[str, float], list[Task]]:
        """Environment ids with their weights, and the tasks of all of them."""
        if not self.recipe.envs:
            raise UserError("the recipe names no environment: set env")
        weights: dict[str, float] = {}
        tasks: list[Task] = []
        for name, share in self.recipe.envs.items():
            found = registry.resolve(name)
            if found.spec.id in weights:
                raise UserError(
                    f"env names {found.spec.id} twice: groups of one environment come from one list of tasks"
                )
            weights[found.spec.id] = share.weight
            kwargs = tuple(sorted(share.kwargs.items()))
            ids = registry.split(found.spec, found.split or "train", share.kwargs)
            tasks += [Task(found.spec.id, id, kwargs) for id in ids]
        return weights, tasks

    def _suite(self) -> suites.Suite:
        """What is measured before and after: the suite of the recipe, or all that is unseen of its environments."""
        if name := self.recipe.suite:
            return suites.load(name, kwargs=None if suites.file_of(name) else self.recipe.kwargs)
        envs = self.recipe.envs.items()
        return suites.joined(
            [suites.load(f"{registry.resolve(name).spec.id}:unseen", kwargs=share.kwargs) for name, share in envs]
        )

    def _agent(self, where: Path | str) -> AgentConfig:
        taught = load_agent(where)
        return self.recipe.agent or taught or AgentConfig()

    def _measure(
        self, name: str, suite: suites.Suite | None, policy: Learning, agent: AgentConfig
    ) -> dict[str, Any] | None:
        if suite is None:
            return None
        known: dict[str, Any] | None = self.record.read_json(f"{name}.json") if name == "before" else None
        if known is not None:
            return known
        self.observer.phase(f"evaluate {name}", len(suite.tasks()) * suite.attempts)
        with self.phases("evaluate"):
            found = evaluate(suite, policy, agent=agent, name=name, on_done=lambda t, n: self.observer.episode(t))
        self.observer.note(f"{name}: success {found.overall} ({suite.name})")
        self.record.json(f"{name}.json", found.plain())
        if name == "after":
            self.record.examples(found.trajectories)
        return found.plain()

    def _save(
        self, done: int, learner: Learner, tokenizer: Any, agent: AgentConfig, state: dict[str, Any], best: bool
    ) -> None:
        with self.phases("checkpoint"):
            seconds = self.spent + time.perf_counter() - self.begin
            saved = {"learner": learner.state(), "iteration": done, "seconds": seconds, **state}
            folder, keep = self.record.checkpoints, self.recipe.checkpoint_keep
            path = checkpoint.save(folder, done, learner.plain(), tokenizer, agent.model_dump(), saved, keep)
            if best:
                point(self.record.checkpoints, "best", path)

    def _finish(self, before: dict[str, Any] | None, after: dict[str, Any] | None, stopped: str | None) -> Run:
        self.record.curve()
        rate = ("success", "ci_low", "ci_high", "episodes", "productivity")
        summary = {
            "before": {key: before.get(key) for key in rate} if before else None,
            "after": {key: after.get(key) for key in rate} if after else None,
            "wall_s": self.spent + time.perf_counter() - self.begin,
            "phases": self.phases,
            "seed": self.recipe.seed,
            "iterations": _iteration(self.record.checkpoints / "last"),
            "stopped": stopped,
        }
        self.record.json("summary.json", summary)
        return Run(self.record.folder, summary)


def load_agent(where: Path | str) -> AgentConfig | None:
    """How a stored policy was taught to talk."""
    path = Path(where) / "agent.json"
    return AgentConfig.model_validate(json.loads(path.read_text())) if path.exists() else None


def _iteration(path: Path) -> int:
    name = path.resolve().name
    return int(name) if path.exists() and name.isdigit() else 0


def _smooth(history: Sequence[float]) -> float:
    return float(np.mean(history[-WINDOW:]))


def _collapsed(history: Sequence[float]) -> str | None:
    """Why a run should stop: success fell to less than half of what it was, for as long as the window."""
    if len(history) < 2 * WINDOW:
        return None
    best = max(_smooth(history[: i + 1]) for i in range(WINDOW - 1, len(history)))
    now = _smooth(history)
    if best >= 0.1 and now < 0.5 * best:
        return f"collapse: success fell from {best:.0%} to {now:.0%} (means of {WINDOW} iterations)"
    return None
