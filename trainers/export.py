"""A trained policy as an ordinary transformers folder, with a model card that says how it came about."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from agentrl.errors import UserError
from agentrl.policies.load import load_model, locate
from agentrl.trainers import adapters
from agentrl.trainers.loop import load_agent
from agentrl.trainers.models import parameters, save_policy
from agentrl.trainers.record import Record


def export(policy: str, out: Path, adapter: bool = False) -> Path:
    """Write ``policy`` (run folder, folder, bundled or hub name) to ``out``, which must not hold anything yet.

    The folder loads with ``AutoModelForCausalLM.from_pretrained`` alone; ``agent.json`` keeps how the policy talks. Of
    a run with adapters that is the merged model; with ``adapter`` the adapter alone, which
    ``peft.PeftModel.from_pretrained`` puts beside the model that the run began with.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already: choose another folder")
    where = locate(policy)
    part = Path(where) / adapters.FOLDER
    if adapter and not part.is_dir():
        raise UserError(f"{policy} was trained without adapters: there is none to export")
    model, tokenizer = load_model(where)
    agent = load_agent(where)
    partial = out.parent / f".{out.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    if adapter:
        shutil.copytree(part, partial)
        (partial / "agent.json").write_text(json.dumps(agent.model_dump() if agent else {}, indent=1) + "\n")
    else:
        save_policy(partial, model, tokenizer, agent.model_dump() if agent else {})
    if agent is None:
        (partial / "agent.json").unlink()
    text = card(out.resolve().name, policy, parameters(model), Path(policy))
    (partial / "README.md").write_text(text, encoding="utf-8")
    if out.is_dir():
        out.rmdir()
    partial.rename(out)
    return out


def card(title: str, source: str, size: int, run: Path) -> str:
    """The model card: what a run folder knows of recipe, data and results; a policy without a run says so."""
    parts = ["---", "library_name: transformers", "tags: [reinforcement-learning, agentrl]", "---", f"# {title}", ""]
    parts += [f"{size / 1e6:.2f}M parameters, float32. Exported from `{Path(source).name}` by agentrl.", ""]
    recipe_file = run / "recipe.yaml"
    if not recipe_file.exists():
        return "\n".join([*parts, "No training run is recorded with these weights.", ""])
    recipe = yaml.safe_load(recipe_file.read_text())
    parts += ["## Data", "", _data(recipe, run), "", "## Results", "", *_results(run), ""]
    text = yaml.safe_dump(recipe, sort_keys=False).strip()
    return "\n".join([*parts, "## Recipe", "", "```yaml", text, "```", ""])


def _data(recipe: dict[str, Any], run: Path) -> str:
    lines = Record(run).metrics()
    episodes = lines[-1].get("episodes", 0) if lines else 0
    envs = [recipe["env"]] if isinstance(recipe["env"], str) else [*recipe["env"]]
    beside = (
        f" Demonstrations of `{Path(recipe['demos']).name}` were learnt beside them." if recipe.get("demos") else ""
    )
    return (
        f"{episodes} episodes of {', '.join(f'`{env}`' for env in envs)} in {len(lines)} iterations, played by the "
        f"policy itself, which began as `{recipe['policy']['path']}`; seed {recipe['seed']}.{beside}"
    )


def _results(run: Path) -> list[str]:
    rows = []
    for name in ("before", "after"):
        path = run / f"{name}.json"
        if path.exists():
            found = json.loads(path.read_text())
            bounds = f"[{100 * found['ci_low']:.1f}, {100 * found['ci_high']:.1f}]"
            rows.append(f"| {name} | {found['suite']} | {100 * found['success']:.1f} {bounds} | {found['episodes']} |")
    if not rows:
        return ["Success on unseen tasks was not measured."]
    return ["| | suite | success, % (95% interval) | episodes |", "|---|---|---|---|", *rows]
