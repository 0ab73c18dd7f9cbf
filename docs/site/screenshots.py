"""Take the pictures of docs/gallery.md anew: python docs/site/screenshots.py (needs the extra web and a desktop).

The expert plays some turns; then the page is what an agent would see, with the numbers that it calls elements by.
"""

from __future__ import annotations

import asyncio
import base64
import io
from pathlib import Path

from PIL import Image

import agentrl as ar

PICTURES = Path(__file__).parents[1] / "pictures"
# picture -> environment, task, turns of the expert before it, what is kept of the window
SHOWN = {
    "site": ("agentrl/Site-v0", "order-ship/3", 2, (640, 270)),
    "shop": ("agentrl/ShopWeb-v0", "unseen-00000", 2, (640, 240)),
    "desktop": ("agentrl/Desktop-v0", "files-move/3", 0, (800, 290)),
    "miniwob-flight": ("agentrl/MiniWoB-book-flight-v0", 10000, 0, (162, 212)),
    "miniwob-tab": ("agentrl/MiniWoB-click-tab-2-v0", 10000, 0, (162, 212)),
}


async def main() -> None:
    for name, (id, task, turns, size) in SHOWN.items():
        env = ar.make(id)
        await env.areset(seed=0, options={"task": task})
        for _ in range(turns):
            await env.astep(env.expert())
        window = getattr(env, "window", None) or getattr(env, "display", None) or env.browser
        window.screenshot = True
        looked = window.look()
        *_, shown = (await looked) if asyncio.iscoroutine(looked) else looked
        picture = Image.open(io.BytesIO(base64.b64decode(shown["image"].partition(",")[2])))
        file = PICTURES / f"{name}.png"
        picture.convert("RGB").crop((0, 0, *size)).quantize(24).save(file, optimize=True)
        print(f"{file.name}: {picture.size}, {file.stat().st_size} bytes")
        env.close()


if __name__ == "__main__":
    asyncio.run(main())
