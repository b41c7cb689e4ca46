"""Runs and recordings for people: polars frames, plots and cards; reads, and decides nothing."""
