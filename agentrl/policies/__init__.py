"""Policies: where tokens (or, for scripted ones, actions) come from."""
