"""docs/credit.md says what is true: its table is the registry's, its example runs, its output is what is printed.

``python tests/trainers/credit/test_docs.py`` writes the table and the output anew.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from agentrl.cli import main as cli
from agentrl.trainers.credit import TurnTable, assign, registry
from agentrl.trainers.credit.choose import describe

PAGE = Path(__file__).parents[3] / "docs" / "credit.md"
METHODS = re.compile(r"(<!-- methods:[^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
CONSOLE = re.compile(r"```console\n\$ agentrl ([^\n]*)\n(.*?)```", re.DOTALL)
PLAYED = re.compile(r"Here `milk.jsonl` .*?```json\n(.*?)```", re.DOTALL)


def methods() -> str:
    """The bundled methods as a table."""
    bundled = {id for ids in registry.BUILTIN.values() for id in ids} | set(registry.ALIASES)
    lines = ["| id | kind | formula | needs | source | parity |", "|---|---|---|---|---|---|"]
    for row in describe():
        if row["id"] in bundled:
            needs = ", ".join(row["needs"])
            cells = f"`{row['id']}`", row["kind"], row["formula"], needs, row["source"], row["parity"]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def printed(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What ``agentrl COMMAND`` prints in ``folder``, a hundred columns wide, without spaces at the ends of lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")
        patch.chdir(folder)
        with pytest.raises(SystemExit):
            cli.main(shlex.split(command))
    return "".join(line.rstrip() + "\n" for line in capsys.readouterr().out.splitlines())


def test_the_table_is_the_registrys() -> None:
    found = METHODS.search(PAGE.read_text())
    assert found is not None
    assert found.group(0).removeprefix(found.group(1)).removesuffix(found.group(2)) == methods()


def test_the_output_is_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = PAGE.read_text()
    (tmp_path / "milk.jsonl").write_text(PLAYED.search(text).group(1))
    shown = CONSOLE.findall(text)
    assert len(shown) == 4
    for command, output in shown:
        assert output == printed(command, tmp_path, capsys)


def test_the_example_runs_and_its_case_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.METHODS, "registered", dict(registry.METHODS.registered))
    [code] = [part for part in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "late" in part]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    exec(compile(code, str(PAGE), "exec"), {"__name__": "late"})
    table = TurnTable.from_arrays(ids=["a", "b"], group=["g", "g"], length=[2, 1], reward=[0, 1, 0])
    np.testing.assert_allclose(assign(table, credit="late").advantages, [0.375, 0.5, -0.5])
    np.testing.assert_allclose(assign(table, credit={"late": {"share": 0}}).advantages, [0.5, 0.5, -0.5])


def test_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "WRITE_DOCS" not in os.environ:
        pytest.skip("only when this file is run as a program")
    text = PAGE.read_text()
    (tmp_path / "milk.jsonl").write_text(PLAYED.search(text).group(1))
    text = METHODS.sub(lambda m: m.group(1) + methods() + m.group(2), text)
    text = CONSOLE.sub(lambda m: f"```console\n$ agentrl {m[1]}\n{printed(m[1], tmp_path, capsys)}```", text)
    PAGE.write_text(text)


if __name__ == "__main__":
    os.environ["WRITE_DOCS"] = "1"
    raise SystemExit(pytest.main(["-q", "--import-mode=importlib", f"{__file__}::test_write"]))
