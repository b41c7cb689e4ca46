"""The public face fits a screen, is exactly what it says, and costs nothing to import."""

import subprocess
import sys

import parity

PUBLIC_NAMES_MAX = 40


def test_public_names_fit_a_screen() -> None:
    """At most 40 names are public, each named once."""
    assert len(parity.__all__) == len(set(parity.__all__))
    assert len(parity.__all__) <= PUBLIC_NAMES_MAX


def test_every_public_name_is_importable() -> None:
    """Every name of `__all__` can be had from the package."""
    missing = [name for name in parity.__all__ if not hasattr(parity, name)]

    assert missing == []


def test_dir_shows_the_public_names() -> None:
    """`dir(parity)` offers the public names and no other, whatever was imported meanwhile."""
    shown = [name for name in dir(parity) if not name.startswith("__")]

    assert sorted(name for name in parity.__all__ if not name.startswith("__")) == sorted(shown)


def test_import_is_lazy() -> None:
    """`import parity` loads none of its rooms."""
    code = "import sys, parity; print(*[m for m in sys.modules if m.startswith('parity.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
