"""Wire formats: from the bytes of one message to tick records, and back.

A codec refuses by raising Undecodable, whatever the bytes; it never guesses, rounds or drops.
"""

from __future__ import annotations

from parity.model.errors import InputRefused


class Undecodable(InputRefused):
    """A message that is not a tick as its codec knows it; it ends up as a quarantine control."""
