"""Validators: what stands between a candidate and a signal, in a fixed order.

`limits` is what a configuration asks for, `context` what a validator sees, `checks` the pure
functions in their order, `past` and `market` what they remember, `gate` all of it for one executor.
"""
