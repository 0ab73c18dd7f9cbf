"""Images to answer to, paid by what the answer's letters add up to: so replies of random weights differ in reward."""

import random

from colours import COLOURS, png

import agentrl as ar


@ar.register("Looks-v0", splits={"train": range(100), "unseen": range(100, 110)}, max_turns=3)
class Looks(ar.Env):
    def reset(self, *, seed=None, options=None):
        self.rng = random.Random(f"looks {(options or {}).get('task', seed)}")
        return self.look(), {}

    def look(self):
        image = {"type": "image", "image": png(COLOURS[self.rng.choice(list(COLOURS))], self.rng.choice([16, 24]))}
        return [{"role": "user", "content": [image, {"type": "text", "text": "colour?"}]}]

    def step(self, action):
        return self.look(), sum(map(ord, action)) % 7 / 21, False, False, {}
