"""Strategies that ship with parity: rules, ML, hybrids, declarative and SqueezeFlow.

The folder's one import name is `parity.strategies`; a second name would make a second registry.
"""

if __name__ != "parity.strategies":
    raise ImportError(
        f"{__name__!r} is not an import name: `import parity.strategies` instead"
        " (and start Python elsewhere, or run `pip install -e .`, if that one is not found)"
    )
