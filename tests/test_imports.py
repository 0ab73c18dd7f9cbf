"""Importing agentrl stays cheap, one spelling of every module exists, and the public names are pinned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import agentrl

ROOT = Path(__file__).parents[1]

BLOCKED = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked by a test)", name=name)
sys.meta_path.insert(0, Refuse())
"""


def run(code: str, *, blocked: tuple[str, ...] = (), cwd: Path = Path("/")) -> str:
    """What a fresh Python prints for ``code``; from a folder that has no agentrl in it, unless told."""
    code = BLOCKED.format(names=blocked) + code
    env = {**os.environ, "PYTHONPATH": str(Path(agentrl.__file__).parents[1])}  # installed or not
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_core_needs_no_optional_dependency() -> None:
    run(
        "import agentrl, agentrl.envs.registry, agentrl.store, agentrl.trainers.credit\n"
        "agentrl.Env, agentrl.ToolEnv, agentrl.make, agentrl.register, agentrl.estimator, agentrl.Turn",
        blocked=("torch", "transformers", "tensorboard", "matplotlib", "playwright", "docker", "vllm", "ray"),
    )


def test_importing_agentrl_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "pandas", "pyarrow", "gymnasium", "numpy", "pydantic")
    assert run(f"import agentrl\nprint([m for m in {heavy} if m in sys.modules])").strip() == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    printed = run(
        "from agentrl.cli.main import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "import json; print(); print(json.dumps(sorted(sys.modules)))"
    )
    loaded = set(json.loads(printed.splitlines()[-1]))
    assert not loaded & {"torch", "transformers", "pandas", "pyarrow", "gymnasium", "agentrl.envs.registry"}


def test_every_module_has_one_spelling() -> None:
    code = (
        "import agentrl, agentrl.envs.registry, agentrl.tools, agentrl.trainers.credit\n"
        "print([m for m in sys.modules if m.partition('.')[0] in ('envs', 'tools', 'trainers')])"
    )
    assert run(code, cwd=ROOT).strip() == "[]"
    assert not {"envs", "tools", "trainers"} & set(sys.modules)


def test_public_names() -> None:
    assert sorted(agentrl.__all__) == agentrl.__all__
    assert set(agentrl.__all__) - {"__version__"} == set(agentrl._EXPORTS)
    for name in agentrl.__all__:
        assert getattr(agentrl, name) is not None
        assert name in dir(agentrl)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = agentrl.nonsense


def test_a_checkout_without_links_says_so(tmp_path: Path) -> None:
    package = tmp_path / "agentrl"
    package.mkdir()
    (package / "__init__.py").write_text((ROOT / "agentrl" / "__init__.py").read_text())
    (package / "envs").write_text("../envs")  # what git writes where links are off
    code = f"sys.path.insert(0, {str(tmp_path)!r})\ntry: import agentrl\nexcept ImportError as error: print(error)"
    said = run(code)
    assert said.startswith("agentrl/envs must be a link to ../envs")
    assert said.count("\n") == 1
