"""The composition root: which parts make a backtest, a paper run, a recorder, a proof.

Modes differ in one file, `modes.py`; everything below this room takes plain collaborators.
"""
