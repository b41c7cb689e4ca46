"""Compiled arithmetic for strategies and core: plain functions on arrays and numbers, no I/O."""
