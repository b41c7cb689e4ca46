"""Settings and strategy configurations: whatever users write into files, flags and variables.

Only `parity.cli`, `parity.face` and `parity.compose` import from here; lower rooms take plain
values. The modules: `settings` (of the machine), `strategies` (`--strategies` and `--set`), `rows`
(one strategy as written), `pyfile` (a user's Python file), `yaml`, `jsonrows` and `document` (plain
data with lines). They are imported by name, so that `parity --help` loads no pydantic.
"""
