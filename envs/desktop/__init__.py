"""``agentrl/Desktop-v0``: a text editor, a calculator and a file manager, on a desktop of their own."""
