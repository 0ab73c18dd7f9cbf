"""``agentrl/MiniWoB-<task>-v0``: the MiniWoB++ tasks in real Chromium."""
