"""Proofs: replay a run, compare two, and say where they differ first. Never a live publisher."""
