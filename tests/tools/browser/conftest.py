"""A site of awkward pages, and a browser in a loop of the test's own."""

import asyncio
import os
from typing import Any

import pytest


@pytest.fixture(scope="session")
def chromium() -> Any:
    """Chromium, started. Without it the tests are skipped, or fail where AGENTRL_REQUIRE names web."""
    try:
        from agentrl.tools.browser.chromium import shared

        asyncio.run(shared().run(shared()._started()))
    except Exception as error:
        if "web" in os.environ.get("AGENTRL_REQUIRE", "").split(","):
            raise
        pytest.skip(f"no browser here: {str(error).splitlines()[0]}")
    return shared()
