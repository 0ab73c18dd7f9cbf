import base64
import random
import struct
import zlib

import agentrl as ar

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 50, 220)}


def png(colour: tuple[int, int, int], size: int = 16) -> str:
    """A square of one colour, as the data URL of a PNG."""
    rows = (b"\0" + bytes(colour) * size) * size
    chunks = [
        (b"IHDR", struct.pack(">2I5B", size, size, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).decode()


@ar.register("Colours-v0", splits={"train": range(0, 1000), "unseen": range(1000, 1100)}, max_turns=3)
class Colours(ar.Env):
    """Say the colour of each of three squares: an environment whose observations are images."""

    instructions = "Say what colour the square has: red, green or blue."

    def reset(self, *, seed=None, options=None):
        rng = random.Random(f"colours {(options or {}).get('task', seed)}")
        self.wanted = [rng.choice(list(COLOURS)) for _ in range(3)]
        self.turn, self.right = 0, 0
        return self.look(), {}

    def look(self) -> list[dict]:
        image = {"type": "image", "image": png(COLOURS[self.wanted[self.turn]])}
        return [{"role": "user", "content": [image, {"type": "text", "text": "colour?"}]}]

    def step(self, action):
        good = action == self.wanted[self.turn]
        self.turn, self.right = self.turn + 1, self.right + good
        done = self.turn == len(self.wanted)
        info = {"valid": action in COLOURS, "success": self.right == len(self.wanted)}
        return "the end" if done else self.look(), good / len(self.wanted), done, False, info

    def state_key(self):
        return self.turn, self.wanted

    def admissible_actions(self) -> list[str]:
        return list(COLOURS)

    def expert(self) -> str:
        return self.wanted[self.turn]
