import inspect
import pickle
import sys
from pathlib import Path

import pytest

from agentrl.envs import plugins, registry
from agentrl.errors import UserError

ENV = """
import agentrl as ar

@ar.register("{id}", splits={{"train": range(3)}}, max_turns=2)
class Small(ar.ToolEnv):
    def start(self, task, rng):
        return "hi"
    def score(self, answer):
        return float(answer == "yes")
"""


def write(folder: Path, name: str, id: str = "Small-v0") -> Path:
    path = folder / name
    path.write_text(ENV.format(id=id))
    return path


def test_a_file_is_imported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "small.py")
    module = plugins.load(path)
    monkeypatch.chdir(tmp_path)
    assert plugins.load("small.py") is module
    assert plugins.load(tmp_path / "x" / ".." / "small.py") is module
    assert module.__name__ != "small"
    assert sys.modules[module.__name__] is module
    assert plugins.loaded()[-1] == str(path)
    env = registry.make("Small-v0")
    assert pickle.loads(pickle.dumps(type(env))) is type(env)
    assert "class Small" in inspect.getsource(type(env))


def test_a_plain_import_of_the_same_file_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "small_twice.py")
    first = plugins.load(path)
    monkeypatch.syspath_prepend(tmp_path)
    import small_twice  # type: ignore[import-not-found]

    assert small_twice is not first
    assert type(registry.make("Small-v0")) is first.Small


def test_a_module_that_was_imported_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "small_noted.py")
    monkeypatch.syspath_prepend(tmp_path)
    import small_noted  # type: ignore[import-not-found]

    assert str(path) in plugins.loaded()
    assert plugins.load(path) is small_noted


def test_neighbours_can_be_imported_and_shadow_nothing(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_plugin.py").write_text("X = 1")
    (tmp_path / "json.py").write_text("raise SystemExit")
    (tmp_path / "plug.py").write_text("import json\nfrom neighbour_of_plugin import X\n")
    assert plugins.load(tmp_path / "plug.py").X == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef f(:\n", r"bad\.py:2: SyntaxError: invalid syntax"),
        (
            "\n\nimport no_such_module_anywhere\n",
            r"bad\.py:3: ModuleNotFoundError: No module named 'no_such_module_any",
        ),
        ("def f():\n    return 1 / 0\n\nf()\n", r"bad\.py:2: ZeroDivisionError: division by zero"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(text)
    for _ in range(2):  # a failed import leaves nothing behind
        with pytest.raises(UserError, match=message):
            plugins.load(path)
    assert str(path) not in plugins.loaded()


def test_missing_files_and_modules() -> None:
    with pytest.raises(UserError, match=r"nowhere\.py: no such file"):
        plugins.load("nowhere.py")
    with pytest.raises(UserError, match="'nowhere' is neither a file nor an installed module"):
        plugins.load("nowhere")


def test_modules_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pack_of_envs"
    package.mkdir()
    (package / "__init__.py").write_text("")
    write(package, "inner.py", "Inner-v0")
    monkeypatch.syspath_prepend(tmp_path)
    module = plugins.load("pack_of_envs.inner")
    assert module is plugins.load("pack_of_envs.inner")
    assert plugins.loaded()[-1] == "pack_of_envs.inner"
    assert registry.spec("Inner-v0").target == "pack_of_envs.inner:Small"


def test_the_project_is_found_from_a_folder_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "mine.py", "Mine-v0")
    (tmp_path / "pyproject.toml").write_text('[tool.agentrl]\nplugins = ["mine.py"]\n')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert registry.spec("Mine-v0").source == str(tmp_path / "mine.py")
    assert "Mine-v0" in [spec.id for spec in registry.listed()]


def test_a_project_says_what_is_wrong_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    project = tmp_path / "pyproject.toml"
    project.write_text('[tool.agentrl]\nplugins = "mine.py"\n')
    with pytest.raises(UserError, match="must be a list of paths"):
        registry.listed()
    project.write_text("[tool")
    with pytest.raises(UserError, match=r"pyproject\.toml: "):
        registry.listed()
    project.write_text('[tool.agentrl]\nplugins = ["gone.py"]\n')
    for _ in range(2):
        with pytest.raises(UserError, match=r"gone\.py: no such file"):
            registry.listed()


def test_nothing_in_the_current_folder_is_imported_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "mine.py", "Unasked-v0")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="unknown environment"):
        registry.spec("Unasked-v0")
