"""Where ticks come from: recordings, Redpanda, pacing, synthetic feeds, codecs and importers.

The folder's one import name is `parity.sources`; a second name would make a second registry.
"""

if __name__ != "parity.sources":
    raise ImportError(
        f"{__name__!r} is not an import name: `import parity.sources` instead"
        " (and start Python elsewhere, or run `pip install -e .`, if that one is not found)"
    )
