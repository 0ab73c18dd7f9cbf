"""A recipe: everything a training run depends on, as one YAML file. Unknown keys are errors."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, field_validator, model_validator

from agentrl.agents.chat import AgentConfig
from agentrl.errors import UserError, unknown
from agentrl.policies.load import checked_engine
from agentrl.rollout.limits import Limits
from agentrl.trainers.trackers import Name as Tracker


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True)


class EnvShare(_Part):
    """One environment of several. A number alone is its weight."""

    weight: float = Field(1.0, gt=0, description="share of the groups, beside the weights of the others")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="arguments of the environment")

    @model_validator(mode="before")
    @classmethod
    def _weight(cls, given: Any) -> Any:
        return {"weight": given} if isinstance(given, int | float) else given


# An environment by name, or several by weight.
Envs = Annotated[
    Annotated[str, Tag("name")] | Annotated[dict[str, EnvShare], Tag("mixture")],
    Discriminator(lambda given: "mixture" if isinstance(given, dict) else "name"),
]


class PolicyConfig(_Part):
    path: str = Field("small", description="what: a bundled name, a folder, a run folder or a hub name")
    engine: str = Field("transformers", description="how tokens are made: transformers | vllm | vllm@ADDRESS")
    transfer: Literal["files", "ipc", "nccl"] = Field(
        "files", description="how weights get to vLLM: files | ipc (one GPU) | nccl (a server on other GPUs)"
    )
    sleep: bool = Field(False, description="vLLM gives its GPU memory back while the trainer learns")

    _known = field_validator("engine")(checked_engine)

    @model_validator(mode="after")
    def _possible(self) -> PolicyConfig:
        if self.engine == "transformers" and (self.transfer != "files" or self.sleep):
            raise ValueError("transfer and sleep are for the engine vllm")
        if self.transfer == "nccl" and not self.engine.startswith("vllm@http"):
            raise ValueError("transfer nccl needs a vLLM server on other GPUs: engine vllm@http://HOST:PORT")
        if self.transfer == "ipc" and self.engine != "vllm":
            raise ValueError("transfer ipc is for the engine that agentrl starts itself: engine vllm")
        return self


class RolloutConfig(_Part):
    tasks: int = Field(8, ge=1, description="tasks an iteration")
    group: int = Field(8, ge=1, description="episodes a task")
    temperature: float = Field(1.0, gt=0, description="sampling temperature; the loss uses the same")
    concurrency: int = Field(128, ge=1, description="episodes at once")
    deterministic: bool = Field(False, description="batches in a fixed order: the same weights bit for bit on a rerun")
    workers: int = Field(0, ge=0, description="processes that hold the environments; 0: this process")
    retries: int = Field(1, ge=0, description="new tries for an episode that failed through no fault of the policy")
    broken: Literal["fail", "retry", "viable"] = Field(
        "viable", description="a broken episode: end the run | try again, then drop its group | go on with the rest"
    )
    spares: int = Field(0, ge=0, description="more siblings started, to take the places of broken ones")
    recycle: int | None = Field(None, ge=1, description="episodes after which a worker process is replaced")
    staleness: int = Field(0, ge=0, description="updates that rollouts may lag behind; 0: strictly on-policy")
    stream: bool = Field(False, description="learn from groups as they end; the weights change when all have")
    source: str | dict[str, Any] = Field("uniform", description="which tasks are played")
    budget: str | dict[str, Any] = Field("equal", description="how many episodes each task gets")
    brancher: str | dict[str, Any] | None = Field(None, description="which episodes are branched; none: none")
    filter: str | dict[str, Any] | None = Field(None, description="which groups are learnt from; none: all")
    replay: str | dict[str, Any] | None = Field(None, description="which groups get a stored episode; none: none")

    @model_validator(mode="after")
    def _fixed_order(self) -> RolloutConfig:
        for name in ("staleness", "spares", "stream"):
            if self.deterministic and getattr(self, name):
                raise ValueError(f"{name} depends on who is first, so it needs deterministic: false")
        return self


class LossConfig(_Part):
    """``agentrl losses list`` says what there is: policy loss x corrections + terms."""

    policy: str | dict[str, Any] = Field("ppo", description="a policy loss, with its options")
    corrections: list[str | dict[str, Any]] = Field(default_factory=list, description="factors for stale samples")
    terms: list[str | dict[str, Any]] = Field(default_factory=list, description="further terms, each with a weight")
    teacher: str | None = Field(None, description="policy whose logprobs the term distil follows")
    old: Literal["sampler", "recompute", "interpolate", "snapshot", "ema"] = Field(
        "sampler", description="whose logprobs the ratio is taken to (docs/rollout.md)"
    )
    ema_decay: float = Field(0.9, ge=0, lt=1, description="share of the old mean that old: ema keeps at an update")
    aggregate: Literal["token", "turn", "sequence", "sequence-sum"] = Field("token", description="what counts equally")
    constant: float = Field(256.0, gt=0, description="divisor of sequence-sum (Dr.GRPO), in tokens")
    max_logprob_gap: float = Field(0.05, gt=0, description="mean |sampler - trainer| logprob above which a run stops")


class OptimConfig(_Part):
    lr: float = Field(1e-5, gt=0)
    muon: float | None = Field(None, gt=0, description="learning rate of Muon on the weight matrices; none: AdamW")
    weight_decay: float = Field(0.0, ge=0)
    warmup: int = Field(0, ge=0, description="optimiser steps of rising learning rate")
    anneal: bool = Field(False, description="let the learning rate fall linearly to a tenth over the run")
    grad_clip: float = Field(1.0, gt=0)
    ess: Literal["sqrt", "linear"] | None = Field(None, description="lower the rate where stale weights differ (VCPO)")
    ess_base: float = Field(1.0, gt=0, le=1, description="effective share of trajectories that gets the full rate")
    epochs: int = Field(1, ge=1, description="passes over an iteration's episodes")
    minibatches: int = Field(1, ge=1, description="optimiser steps a pass")
    batcher: Literal["trie", "packed", "padded"] = "trie"
    positions: int = Field(4096, ge=64, description="positions a forward pass, padding included: the memory knob")
    checkpointing: bool = Field(False, description="compute activations twice instead of keeping them: less memory")
    bf16: bool = Field(False, description="matrix products in bfloat16: faster, and logprobs differ by about 0.01")
    liger: bool = Field(False, description="Liger's kernels, on a GPU only (extra liger): faster, and less memory")


class LoraConfig(_Part):
    """Adapters beside frozen weights (LoRA, arXiv 2106.09685)."""

    rank: int = Field(16, ge=1)
    alpha: float = Field(32.0, gt=0, description="the adapters' products count alpha / rank times")
    modules: str = Field("all-linear", description="all-linear, or names joined by +: q_proj+v_proj")


class ValueConfig(_Part):
    """A value head on the policy: gives ``values`` to estimators that need them."""

    lr: float = Field(5e-3, gt=0, description="learning rate of the head")
    clip: float | None = Field(0.2, gt=0, description="how far a value may move in one update; none: off")
    trunk: float = Field(0.0, ge=0, description="share of the value loss's gradient that reaches the policy's layers")


class ContinuationConfig(_Part):
    """Continuations from each visited state: give ``mc_values`` to estimators that need them."""

    k: int = Field(4, ge=1, description="continuations a turn")


class PrimeConfig(_Part):
    """An implicit process reward model: gives ``token_rewards`` to estimators that need them."""

    lr: float = Field(1e-6, gt=0, description="its learning rate, as published; small policies want more")
    beta: float = Field(0.05, gt=0, description="chance of success = sigmoid(beta x sum of its rewards)")
    grad_clip: float = Field(10.0, gt=0)


class AgentPRMConfig(_Part):
    """A model of action values: gives ``score:action_value`` to methods that need it."""

    lr: float = Field(1e-5, gt=0, description="its learning rate; small policies want more")
    gamma: float = Field(1.0, ge=0, le=1, description="discount of what it learns, from the start of an episode")
    epochs: int = Field(1, ge=1, description="its optimiser steps an iteration")
    grad_clip: float = Field(1.0, gt=0)


class Recipe(_Part):
    name: str = "default"
    env: Envs = Field("", description="[FILE.py:]ID[:SPLIT], without a split: train; or several, {NAME: WEIGHT, ...}")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="arguments of the environment")
    policy: PolicyConfig = PolicyConfig()
    agent: AgentConfig | None = Field(None, description="how the policy talks; none: as it was taught, else defaults")
    limits: Limits = Limits()
    rollout: RolloutConfig = RolloutConfig()
    rewards: list[str | dict[str, Any]] = Field(default_factory=list, description="reward transforms, in order")
    credit: list[str | dict[str, Any]] = Field(default=["grpo"], description="estimators, added up")
    anchor: str = Field(
        "state_key", description="what makes two turns comparable: state_key, observation, privileged, FILE.py:FUNCTION"
    )
    value: ValueConfig | None = Field(None, description="a value head, for gae and gae-token; {} takes the defaults")
    mc_value: ContinuationConfig | None = Field(None, description="continuations, for mc-value; {} takes the defaults")
    prime: PrimeConfig | None = Field(None, description="a process reward model, for prime; {} takes the defaults")
    agentprm: AgentPRMConfig | None = Field(
        None, description="a model of action values, for agentprm; {} takes the defaults"
    )
    judge: str | None = Field(None, description="FILE.py:FUNCTION that compares two trajectories, for arena")
    loss: LossConfig = LossConfig()
    lora: LoraConfig | None = Field(None, description="train adapters instead of all weights; {} takes the defaults")
    demos: str | None = Field(None, description="stored episodes that are learnt beside the policy's own")
    demo_share: float = Field(0.2, gt=0, lt=1, description="of an iteration's samples that are demonstrations")
    optim: OptimConfig = OptimConfig()
    iterations: int = Field(20, ge=1)
    checkpoint_every: int = Field(5, ge=1, description="iterations")
    checkpoint_keep: int = Field(2, ge=1, description="newest checkpoints that stay, besides the best one")
    suite: str = Field(
        "", description="suite or environment for before and after; empty: the environment's unseen split"
    )
    evaluate: bool = Field(True, description="measure success before and after")
    trackers: list[Tracker] = Field(default=["tensorboard"], description="where metrics go besides metrics.jsonl")
    threads: int | None = Field(None, ge=1, description="torch threads; none: one a core")
    seed: int = 0
    plugins: list[str] = Field(default_factory=list, description="files or packages to import")

    @property
    def envs(self) -> dict[str, EnvShare]:
        """Environments by name, with weights and arguments."""
        if isinstance(self.env, dict):
            return self.env
        return {self.env: EnvShare(kwargs=self.kwargs)} if self.env else {}

    @model_validator(mode="after")
    def _streamed(self) -> Recipe:
        if not self.rollout.stream:
            return self
        rollout, optim = self.rollout, self.optim
        needed = {
            "rollout.staleness=0": not rollout.staleness,
            "rollout.budget=equal": rollout.budget == "equal",
            "no rollout.brancher": rollout.brancher is None,
            "no rollout.filter": rollout.filter is None,
            "no rollout.replay": rollout.replay is None,
            "optim.epochs=1": optim.epochs == 1,
            "optim.minibatches=1": optim.minibatches == 1,
            "no demos": self.demos is None,
            "no value, mc_value, prime, agentprm or judge": not (
                self.value or self.mc_value or self.prime or self.agentprm or self.judge
            ),
        }
        for what, holds in needed.items():
            if not holds:
                raise ValueError(f"rollout.stream learns from each group alone and once, so it needs {what}")
        return self

    @model_validator(mode="after")
    def _awake(self) -> Recipe:
        if self.policy.sleep and (self.rollout.staleness or self.rollout.stream):
            raise ValueError("policy.sleep is for an idle engine: rollout.staleness=0 and no rollout.stream")
        return self

    @model_validator(mode="after")
    def _arguments_of_one(self) -> Recipe:
        if isinstance(self.env, dict) and self.kwargs:
            raise ValueError("kwargs are of one environment; of several, env: {NAME: {weight: 1, kwargs: {...}}}")
        return self


def bundled() -> dict[str, Path]:
    folder = Path(str(resources.files("agentrl") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load(source: str | Path, changes: Sequence[str] = (), **known: Any) -> Recipe:
    """A bundled recipe's name or a YAML file, with ``a.b=c`` changes applied; ``known`` overrides top-level keys."""
    path = bundled().get(str(source)) or Path(source)
    if not path.is_file():
        raise unknown("recipe", source, bundled())
    try:
        data = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path} holds no recipe (a mapping of keys)")
    data.setdefault("name", path.stem)
    for change in changes:
        _apply(data, change)
    for key, value in known.items():
        if value is not None:
            data[key] = value
    return validate(data, str(path))


def validate(data: dict[str, Any], where: str) -> Recipe:
    """Raises UserError naming the key, what is allowed, and the nearest key for a misspelt one."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        keys = [str(k) for k in first["loc"] if k != "mixture"]
        if first["type"] == "extra_forbidden":
            raise _unknown_key(keys, where) from None
        if not keys:  # several keys that do not go together
            raise UserError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
        raise UserError(f"{where}: {'.'.join(keys)}: {first['msg']}, not {first['input']!r}") from None


def _unknown_key(keys: list[str], where: str) -> UserError:
    model: Any = Recipe
    for key in keys[:-1]:
        if key in model.model_fields:
            model = _model_in(model.model_fields[key].annotation) or model
    error = unknown("key", keys[-1], model.model_fields)
    prefix = ".".join(keys[:-1])
    return UserError(f"{where}: {f'in {prefix}: ' if prefix else ''}{error}")


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation speaks of, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _apply(data: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    if not equals or not path.strip():
        raise UserError(f"--set takes key=value, not {change!r}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {path}: {text!r} is not a YAML value") from None
    *outer, last = path.strip().split(".")
    for key in outer:
        inner = data.setdefault(key, {})
        if inner is None:
            inner = data[key] = {}
        if not isinstance(inner, dict):
            raise UserError(f"--set {path}: {key} is not a group of keys")
        data = inner
    data[last] = _number(value)


def _number(value: Any) -> Any:
    """YAML 1.1 reads ``7e-4`` as text; people mean the number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
