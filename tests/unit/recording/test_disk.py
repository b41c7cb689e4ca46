"""How files of a recording are read and removed."""

import os
from pathlib import Path

import pytest

from parity.recording import disk


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 16, 17, 64, 65, 1000])
def test_a_file_is_read_whole_by_any_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, threads: int
) -> None:
    """Also an empty one, and one that is no multiple of a thread's share."""
    monkeypatch.setattr(disk, "_SHARE_BYTES", 8)
    data = bytes(n * 7 % 251 for n in range(size))
    path = tmp_path / "a"
    path.write_bytes(data)

    assert data == bytes(disk.bytes_of(path, threads=threads))


@pytest.mark.parametrize("left", [0, 5, 8, 12, 16])
def test_a_file_that_ends_early_ends_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """What was cut off between asking for the size and reading is no run of zeros."""
    monkeypatch.setattr(disk, "_SHARE_BYTES", 8)
    path = tmp_path / "a"
    path.write_bytes(bytes(range(1, 25)))
    size_of = os.fstat

    def cut(descriptor: int) -> os.stat_result:
        found = size_of(descriptor)
        os.truncate(path, left)
        return found

    monkeypatch.setattr(disk.os, "fstat", cut)

    assert bytes(range(1, left + 1)) == bytes(disk.bytes_of(path, threads=3))


def test_a_file_removed_behind_has_no_name_at_once(tmp_path: Path) -> None:
    """Its descriptor is closed by a thread that ends."""
    path = tmp_path / "a"
    path.write_bytes(b"x")

    disk.remove_behind(path)

    assert not path.exists()
