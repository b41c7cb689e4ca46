"""Strategies that ask a model; they receive it, and never load one themselves."""
