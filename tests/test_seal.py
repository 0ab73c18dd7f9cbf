"""A sealed folder: whatever is changed, cut or taken away is noticed and named, and the newest whole one beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.errors import UserError
from agentrl.store.seal import NAME, check, seal


def sealed(folder: Path) -> Path:
    (folder / "part").mkdir(parents=True)
    (folder / "weights").write_bytes(bytes(range(200)))
    (folder / "part" / "state.pt").write_bytes(b"state")
    seal(folder)
    return folder


def test_what_is_as_it_was_passes_and_so_does_what_was_never_sealed(tmp_path: Path) -> None:
    check(sealed(tmp_path / "a"))
    (tmp_path / "a" / "later").write_text("not of it")
    check(tmp_path / "a")
    check(tmp_path)


@given(at=st.integers(0, 199), bit=st.integers(0, 7))
def test_any_changed_bit_is_noticed(at: int, bit: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = sealed(tmp_path_factory.mktemp("seal") / "a")
    held = bytearray((folder / "weights").read_bytes())
    held[at] ^= 1 << bit
    (folder / "weights").write_bytes(held)
    with pytest.raises(UserError, match=r"weights is damaged: it is not what was saved; there is no other beside it$"):
        check(folder)


@pytest.mark.parametrize("length", [0, 1, 199])
def test_a_cut_file_is_noticed(tmp_path: Path, length: int) -> None:
    folder = sealed(tmp_path / "a")
    (folder / "weights").write_bytes((folder / "weights").read_bytes()[:length])
    with pytest.raises(UserError, match="weights is damaged"):
        check(folder)


def test_the_newest_whole_one_is_named(tmp_path: Path) -> None:
    for name in ("000001", "000002", "000003", "000004"):
        sealed(tmp_path / name)
    (tmp_path / "last").symlink_to("000004")
    (tmp_path / "000004" / "part" / "state.pt").unlink()
    (tmp_path / "000003" / NAME).write_text("{")
    with pytest.raises(UserError, match=rf"part/state.pt is missing; the last good one is {tmp_path}/000002$"):
        check(tmp_path / "last")
    with pytest.raises(UserError, match=rf"{NAME} is damaged; the last good one is {tmp_path}/000002$"):
        check(tmp_path / "000003")


def test_files_that_are_not_read_need_not_be_whole(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "a")
    (folder / "part" / "state.pt").write_bytes(b"other")
    check(folder, leave=".pt")
    with pytest.raises(UserError, match=r"state\.pt is damaged"):
        check(folder)
