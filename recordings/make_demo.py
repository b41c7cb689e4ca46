"""Rebuild recordings/demo, tick for tick, from the seed: `python recordings/make_demo.py [FOLDER]`.

The ticks are the same on every machine; the bytes of the Parquet file may differ between versions
of pyarrow, so tests compare ticks, not files. An existing folder is never overwritten.
"""

from __future__ import annotations

import sys
from pathlib import Path

from parity.sources.synthetic import SEED, TICKS, make_recording

DEMO = Path(__file__).resolve().parent / "demo"


def main(arguments: list[str]) -> None:
    """Write the recording to the folder named, or to recordings/demo."""
    folder = Path(arguments[0]) if arguments else DEMO
    make_recording(folder, seed=SEED, ticks=TICKS)
    print(f"{folder}: {TICKS} synthetic ticks, seed {SEED}")


if __name__ == "__main__":
    main(sys.argv[1:])
