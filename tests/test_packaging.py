"""What a built distribution holds: the linked folders as real files under agentrl/, and nothing beside it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINKED = ("envs", "tools", "trainers")
DATA = (".yaml", ".json", ".jinja", ".safetensors")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was made from it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def package_files() -> set[str]:
    """Every file of the package in this checkout, the linked folders included."""
    tops = [("agentrl", ROOT / "agentrl"), *((f"agentrl/{name}", ROOT / name) for name in LINKED)]
    return {
        f"{prefix}/{path.relative_to(top).as_posix()}"
        for prefix, top in tops
        for path in top.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_package_whole_and_nothing_else(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"agentrl", "agentrl_toolkit-0.1.0.dist-info"}
    missing = {name for name in package_files() if name.endswith((".py", ".typed", *DATA))} - names
    assert not missing
    for folder in LINKED:
        assert any(name.startswith(f"agentrl/{folder}/") for name in names)
    entry_points = zipfile.ZipFile(wheel).read("agentrl_toolkit-0.1.0.dist-info/entry_points.txt").decode()
    assert "agentrl = agentrl.cli.main:main" in entry_points


def test_the_sdist_holds_real_files_and_no_links(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert not [m.name for m in members if m.issym() or m.islnk()]
    assert any(m.name.endswith("/agentrl/envs/core.py") for m in members)


@pytest.mark.parametrize("name", LINKED)
def test_the_checkout_has_its_links(name: str) -> None:
    assert (ROOT / "agentrl" / name).resolve() == ROOT / name
