"""Hybrid strategies: rules and a model composed by a policy, none of which knows the others."""
