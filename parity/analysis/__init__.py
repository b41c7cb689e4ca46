"""Runs and recordings for people: polars frames and plots; reads, and decides nothing."""
