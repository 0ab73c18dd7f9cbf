"""Users' own code: files and modules that register environments, imported once.

They come from ``--plugin PATH``, from ``FILE.py:ID`` names, from ``[tool.agentrl] plugins = ["my_env.py"]`` in the
nearest pyproject.toml, and from the entry points ``agentrl.envs`` of installed packages. Nothing else is imported.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import logging
import sys
import tomllib
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from agentrl.errors import UserError, unknown

GROUP = "agentrl.envs"
_NOTED = "plugins.txt"
_log = logging.getLogger(__name__)
_loaded: dict[str, ModuleType] = {}  # what load() was asked for, as a worker can load it again
_discovered: set[Path | None] = set()


def load(plugin: str | Path) -> ModuleType:
    """Import a file (``my_env.py``) or a module (``my_package.envs``); a second time gives the same module."""
    path = Path(plugin).expanduser()
    if path.suffix == ".py" or path.is_file():
        return _load_file(path.resolve())
    name = str(plugin)
    if name not in _loaded:
        try:
            _loaded[name] = importlib.import_module(name)
        except UserError:
            raise
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
                raise UserError(f"plugin {name!r} is neither a file nor an installed module") from None
            raise UserError(f"plugin {name!r}: {_said(error)}") from error
        except Exception as error:
            raise UserError(f"plugin {name!r}: {_said(error)}") from error
    return _loaded[name]


def function(spec: str, what: str) -> Callable[..., Any]:
    """What ``FILE.py:NAME`` names; the file is imported once. Raises UserError where it holds no such function."""
    file, _, name = spec.rpartition(":")
    module = load(file)
    found: Any = getattr(module, name, None)
    if not callable(found):
        raise unknown(f"{what} of {file}:", name, [k for k, v in vars(module).items() if callable(v)])
    return found  # type: ignore[no-any-return]


def loaded() -> list[str]:
    """Every plugin so far, in order: absolute paths and module names. What a run records and a worker is sent."""
    return list(_loaded)


def remember(folder: Path) -> None:
    """Write beside what is stored which plugins it was made with."""
    (folder / _NOTED).write_text("".join(f"{plugin}\n" for plugin in _loaded))


def recall(folder: Path) -> None:
    """Load what :func:`remember` wrote, where it did."""
    file = folder / _NOTED
    for plugin in file.read_text().splitlines() if file.is_file() else ():
        load(plugin)


def note(module: str) -> None:
    """Remember a module the user imported in the ordinary way and that registered something."""
    found = sys.modules.get(module)
    if module == "__main__" or module.split(".")[0] == "agentrl" or found is None or found in _loaded.values():
        return
    file = getattr(found, "__file__", None)
    # A lone file by its path, as it may lie outside the path of whoever loads it again; a package's module by name.
    _loaded.setdefault(str(Path(file).resolve()) if file and not found.__package__ else module, found)


def discover() -> None:
    """Load what the nearest pyproject.toml and installed packages offer, once a process and folder."""
    project = _project()
    if project is not None and project not in _discovered:
        for plugin in declared(project):
            beside = project.parent / plugin
            load(beside if plugin.endswith(".py") or beside.is_file() else plugin)
        _discovered.add(project)
    if None not in _discovered:
        _discovered.add(None)
        for entry in importlib.metadata.entry_points(group=GROUP):
            try:
                load(entry.module)
            except UserError as error:  # somebody else's broken package must not break every command
                _log.warning("entry point %s: %s", entry.name, error)


def declared(project: Path) -> list[str]:
    """``[tool.agentrl] plugins`` of a pyproject.toml."""
    try:
        plugins = (
            tomllib.loads(project.read_text(encoding="utf-8")).get("tool", {}).get("agentrl", {}).get("plugins", [])
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{project}: {error}") from None
    if not isinstance(plugins, list) or not all(isinstance(plugin, str) for plugin in plugins):
        raise UserError(f"{project}: [tool.agentrl] plugins must be a list of paths or module names")
    return plugins


def _project() -> Path | None:
    here = Path.cwd()
    return next((p for p in (folder / "pyproject.toml" for folder in (here, *here.parents)) if p.is_file()), None)


def _load_file(path: Path) -> ModuleType:
    key = str(path)
    if key in _loaded:
        return _loaded[key]
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    name = f"agentrl_plugin_{path.stem}_{hashlib.blake2b(key.encode(), digest_size=4).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # at the end: the file finds its neighbours and shadows nothing
    sys.modules[name] = module  # before it runs, as dataclasses and pickle look classes up there
    _loaded[key] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name], _loaded[key]
        if isinstance(error, UserError) or not isinstance(error, Exception):
            raise
        raise UserError(f"{path}{_line(error, path)}: {_said(error)}") from error
    return module


def _line(error: Exception, path: Path) -> str:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f":{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f":{lines[-1]}" if lines else ""


def _said(error: Exception) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return " ".join(f"{type(error).__name__}: {text}".split())
