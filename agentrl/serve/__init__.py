"""The current policy as an OpenAI-compatible server that keeps the exact ids of every session."""
