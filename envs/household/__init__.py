"""``agentrl/Household-v0``: an ALFWorld-like world of rooms, furniture and things, told and acted in text."""
