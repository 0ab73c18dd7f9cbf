"""Evaluations that are stored, killed and gone on with; suites and what they refer to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import agentrl as ar
from agentrl import store
from agentrl.cli.main import main
from agentrl.envs import registry
from agentrl.evaluation import suites

GATED = """
import os, time
from pathlib import Path
import agentrl as ar

HERE = Path(__file__).parent

@ar.register("Gated-v0", splits={"train": [99], "unseen": range(12)}, max_turns=2)
class Gated(ar.ToolEnv):
    '''Answers; the last two tasks only when the gate is open.'''

    blocking = True  # in place a gated task would hold up the others

    def start(self, task, rng):
        with (HERE / "started").open("a") as file:
            file.write(f"{task}\\n")
        self.task = task
        return "?"

    @ar.tool(final=True)
    def answer(self) -> float:
        '''Answer.'''
        for _ in range(6000):
            if self.task < 10 or (HERE / "gate").exists():
                return 1.0
            time.sleep(0.02)
        raise TimeoutError

    def expert(self):
        return ar.ToolCall("answer")
"""


@pytest.mark.timeout(500)
def test_nothing_that_was_stored_before_a_kill_is_played_again(tmp_path: Path) -> None:
    (tmp_path / "gated.py").write_text(GATED)
    command = [
        sys.executable,
        "-m",
        "agentrl",
        "eval",
        "gated.py:Gated-v0",
        "--policy",
        "expert",
        "-o",
        "out",
        "--json",
    ]
    env = {**os.environ, "PYTHONPATH": str(Path(ar.__file__).parents[1])}
    first = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 200
        while len(list((tmp_path / "out" / "open").glob("*.parquet"))) < 10:
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    (tmp_path / "gate").touch()
    (tmp_path / "started").unlink()
    second = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert second.returncode == 0, second.stderr
    assert sorted(map(int, (tmp_path / "started").read_text().split())) == [0, 10, 11]  # 0: the pre-flight
    report = json.loads(second.stdout)
    assert report["episodes"] == 12
    assert report["success"] == 1.0
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert sum(len(group) for group in store.read(tmp_path / "out")) == 12


def test_more_attempts_go_on_from_fewer(tmp_path: Path) -> None:
    name = "agentrl/KeyDoor-v0"
    played: list[str] = []
    ar.evaluate(name, "random", k=1, limit=6, out=tmp_path, on_done=lambda t, n: played.append(t.id))
    both = ar.evaluate(name, "random", k=2, limit=6, out=tmp_path, on_done=lambda t, n: played.append(t.id))
    assert len(played) == len(set(played)) == 12
    alone = ar.evaluate(name, "random", k=2, limit=6)
    assert [t.reward for t in both.trajectories] == [t.reward for t in alone.trajectories]
    assert both.tasks == alone.tasks
    with pytest.raises(ar.UserError, match="holds another evaluation"):
        ar.evaluate(name, "idle", limit=6, out=tmp_path)


def test_as_many_tasks_of_an_environment_are_played_as_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(suites.load("agentrl/Calc-v0").tasks()) == suites.DEFAULT_TASKS
    assert len(suites.load("agentrl/Calc-v0", first=10).tasks()) == suites.DEFAULT_TASKS  # the limit cuts them
    assert len(suites.load("agentrl/Calc-v0", first=300).tasks()) == 300
    with pytest.raises(SystemExit):
        main(["eval", "agentrl/KeyDoor-v0", "--policy", "idle", "--first", "300", "--json"])
    shown = capsys.readouterr()
    assert json.loads(shown.out)["episodes"] == 44
    assert shown.err == "agentrl/KeyDoor-v0:unseen has 44 tasks, not 300\n"


def test_suites_and_what_they_refer_to() -> None:
    for name, path in suites.bundled().items():
        suite = suites.read(path)
        assert suite.description, name
        assert set(suite.reference) <= set(suites.REFERENCES), name
    found = ar.evaluate("keydoor-unseen", "random")
    assert found.success == pytest.approx(suites.load("keydoor-unseen").reference["random"], abs=5e-4)


def test_every_bundled_environment_has_a_suite() -> None:
    parts = [part for path in suites.bundled().values() for part in suites.read(path).parts]
    measured = {part.env for part in parts}
    bundled = {spec.id for spec in registry.listed() if spec.id.startswith("agentrl/")}
    left = {id for id in bundled - measured if not id.startswith("agentrl/MiniWoB-")}  # pages without a solver
    assert left == {"agentrl/OfficeWithUser-v0"}  # whose user is a model that somebody has to serve
    assert measured <= bundled


def test_parts_choose_tasks_by_id_and_have_levels(tmp_path: Path) -> None:
    file = tmp_path / "desk.yaml"
    office = {"env": "agentrl/Office-v0", "ids": ["tell_phone/*"], "first": 3, "level": "easy"}
    rest = {"env": "agentrl/Office-v0", "ids": ["reply/50", "reply/51"], "level": "hard"}
    file.write_text(json.dumps({"parts": [office, rest]}))
    found = ar.evaluate(str(file), "expert", out=tmp_path / "out")
    assert [t.task.id for t in found.trajectories] == [f"tell_phone/{i}" for i in (50, 51, 52)] + [
        "reply/50",
        "reply/51",
    ]
    assert {name: rate.episodes for name, rate in found.by_level.items()} == {"easy": 3, "hard": 2}
    assert list(found.by_split) == ["unseen"]
    again = ar.evaluate(str(file), "expert", out=tmp_path / "out")
    assert again.by_level == found.by_level
    assert ("success: level", "hard", 1.0) in [row[:3] for row in again.rows()]
    file.write_text(json.dumps({"parts": [{**office, "ids": ["tell_fone/*"]}]}))
    with pytest.raises(ar.UserError, match=r"no task of agentrl/Office-v0:unseen is called tell_fone/\*"):
        suites.load(str(file)).tasks()
    file.write_text(json.dumps({"parts": [{"env": "agentrl/Office-v0:novel"}]}))  # would be unseen, unsaid
    with pytest.raises(ar.UserError, match=r"a key of its own, split: novel"):
        suites.load(str(file)).tasks()


def test_tasks_of_two_environments_with_the_same_ids_are_told_apart() -> None:
    found = ar.evaluate("probes", "expert")
    assert found.overall.episodes == len(found.tasks) == len({t.id for t in found.trajectories}) == 160


def test_a_part_names_an_environment_of_ones_own_with_its_file(tmp_path: Path) -> None:
    guess = Path(__file__).parents[2] / "examples" / "guess.py"
    (tmp_path / "own.yaml").write_text(json.dumps({"parts": [{"env": f"{guess}:Guess-v0", "first": 4}]}))
    found = ar.evaluate(str(tmp_path / "own.yaml"), "expert")
    assert found.overall.episodes == 4
    assert {t.task.env for t in found.trajectories} == {"Guess-v0"}
