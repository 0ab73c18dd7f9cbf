"""``agentrl/KeyDoor-v0``: rooms in a row, a key, a locked door and a goal; small enough to be solved exactly."""
