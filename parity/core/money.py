"""Exact money: the two decimal contexts that everything about cash and positions is counted in.

Neither ever rounds: a result that would need it raises. Never here: a float.
"""

from __future__ import annotations

from decimal import Context as DecimalContext
from decimal import Decimal, Inexact, InvalidOperation, Overflow, Rounded
from typing import Final

# Wide enough for any product formed here; a result that would be rounded raises instead.
EXACT: Final = DecimalContext(prec=200, traps=[Inexact, InvalidOperation, Overflow])
# The same, but it refuses a result of too many digits even where those left out are zeros: what it
# does give has the very digits that WIDE gives.
SAME: Final = DecimalContext(prec=200, traps=[Inexact, Rounded, InvalidOperation, Overflow])
# A sum of what was exact one by one always fits.
# Their text is the thread's: `str` writes the E of an exponent as `capitals` of its context says,
# in snapshots and in the commissions that are kept; it reads back as equal. Digests have their own.
# Beside it copy_abs(), never abs() or a sign: those round to the thread's own context, which a
# strategy may have changed.
WIDE: Final = DecimalContext(prec=2_000, traps=[Inexact, InvalidOperation, Overflow])
NOTHING: Final = Decimal(0)
