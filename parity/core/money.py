"""Exact money: the two decimal contexts that everything about cash and positions is counted in.

Neither ever rounds: a result that would need it raises. Never here: a float.
"""

from __future__ import annotations

from decimal import Context as DecimalContext
from decimal import Decimal, Inexact, InvalidOperation, Overflow
from typing import Final

# Wide enough for any product formed here; a result that would be rounded raises instead.
EXACT: Final = DecimalContext(prec=200, traps=[Inexact, InvalidOperation, Overflow])
# A sum of what was exact one by one always fits.
# Beside it copy_abs(), never abs() or a sign: those round to the thread's own context, which a
# strategy may have changed.
WIDE: Final = DecimalContext(prec=2_000, traps=[Inexact, InvalidOperation, Overflow])
NOTHING: Final = Decimal(0)
