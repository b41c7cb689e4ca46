"""Where order becomes a fact and is kept: sequencer, journal, sealing, Parquet recordings.

Reads no clock and starts nothing by itself. Nothing is imported here, so that a command which
needs only one room does not pay for DuckDB or pyarrow:

* `sequencer`: seq and verdicts (pure numpy).
* `journal`: the append-only record that survives a kill; `sealing` turns it into Parquet.
* `manifest`: what a recording says about itself; `layout`: its Parquet columns and encodings.
* `writer`: new recordings (imports, and the empty one a live run fills); `reader`: all reading,
  by `scan` (DuckDB) or from `cache` (mapped Arrow), under the laws of `selection` and `order`.
* `given`: the instrument table of a new one, as a caller gives it.
"""
