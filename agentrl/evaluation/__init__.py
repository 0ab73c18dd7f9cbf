"""Evaluation: suites, the one function that measures a policy, and intervals."""
