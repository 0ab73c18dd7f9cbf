"""Agents: messages to token ids, sampled ids to actions."""
