from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def guess() -> str:
    return f"{ROOT / 'examples' / 'guess.py'}:Guess-v0"
