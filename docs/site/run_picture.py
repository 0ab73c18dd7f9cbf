"""Take the picture of a run that README.md shows: python docs/site/run_picture.py runs/last (needs the extra web)."""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.async_api import async_playwright

from agentrl.tools.browser.chromium import executable
from agentrl.viewer.page import export

PICTURE = Path(__file__).parents[1] / "pictures" / "run.png"


async def main(run: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.html"
        export([run], file)
        async with async_playwright() as playwright:
            chromium = await playwright.chromium.launch(executable_path=executable(playwright), args=["--no-sandbox"])
            page = await chromium.new_page(viewport={"width": 1160, "height": 554}, color_scheme="light")
            await page.goto(file.as_uri())
            await page.wait_for_timeout(1000)  # curves are drawn
            picture = Image.open(io.BytesIO(await page.screenshot()))
            await chromium.close()
    picture.convert("RGB").quantize(64).save(PICTURE, optimize=True)
    print(f"{PICTURE.name}: {picture.size}, {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
