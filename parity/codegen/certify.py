"""A driver's certificate, read from the LLVM IR that numba made of it.

"portable": only `+ - * /`, sqrt, comparisons and integers, so the bits are the same on every
machine. "host-libm": it calls a function whose bits depend on the C library or the CPU. Fast-math
and fused multiply-add are refused. What is not known to be portable is taken to be host-libm.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from parity.model.errors import KernelError

PORTABLE: Final = "portable"
HOST_LIBM: Final = "host-libm"

# Exact by IEEE 754, or not about numbers at all.
_EXACT: Final = re.compile(r"(sqrt|fabs|floor|ceil|trunc|rint|nearbyint|copysign|fmod)f?")
_EXACT_INTRINSICS: Final = re.compile(
    r"llvm\.(sqrt|fabs|floor|ceil|trunc|rint|nearbyint|round|roundeven|copysign|is\.fpclass"
    r"|[su](max|min|add|sub|mul)|abs|ctpop|ctlz|cttz|bswap|bitreverse|fsh[lr]|vector\.|masked\."
    r"|mem|lifetime|assume|expect|dbg|experimental\.noalias|invariant|stack|x86\.atomic"
    r"|umul|smul|uadd|sadd|usub|ssub|[su]cmp|trap|ubsantrap|prefetch|load\.relative)"
)
_RUNTIME: Final = re.compile(
    r"_?Py[A-Z_]\w*|NRT_\w+|numba_(do_raise|unpickle|gil_\w+|runtime_\w+|recreate_record"
    r"|native_\w+|adapt_\w+|extract_\w+|get_\w+|object_\w+|attempt_\w+|fatal_error)|memset|memcpy"
    r"|memmove|memcmp|printf|puts"
)
_FAST_FLAG: Final = re.compile(
    r"= (?:tail |musttail |notail )?(?:fadd|fsub|fmul|fdiv|frem|fneg|fcmp|select|phi|call)"
    r"(?: (?:nnan|ninf|nsz))* (fast|reassoc|contract|arcp|afn)\b"
)
_DECLARED: Final = re.compile(r'^declare [^@\n]*@"?([^"(\s]+)"?\(', re.MULTILINE)
_FUSED: Final = re.compile(r"llvm\.(?:fma|fmuladd)\b|^fmaf?$")


class Certificate(msgspec.Struct, frozen=True):
    """What the IR of a driver shows: its class, and the calls that are not portable."""

    kind: str
    calls: tuple[str, ...] = ()


def certify(ir: str, name: str) -> Certificate:
    """Classify a driver by its LLVM IR.

    Args:
        ir: the optimised module, helpers linked in.
        name: the kernel's name, for the error.

    Raises:
        KernelError: the IR has fast-math flags or fused multiply-adds.
    """
    fast = _FAST_FLAG.search(ir)
    if fast is not None:
        raise KernelError(
            f"kernel {name}: compiled code has the fast-math flag {fast[1]!r}",
            cure="drivers are built without fast-math; take it out of every helper",
        )
    calls = sorted(c for c in set(_DECLARED.findall(ir)) if not _portable(c))
    fused = [c for c in calls if _FUSED.search(c)]
    if fused:
        raise KernelError(
            f"kernel {name}: compiled code has fused multiply-adds ({', '.join(fused)})",
            cure="write a * b + c as it stands",
        )
    return Certificate(HOST_LIBM if calls else PORTABLE, tuple(calls))


def _portable(call: str) -> bool:
    return (
        _EXACT.fullmatch(call) is not None
        or _EXACT_INTRINSICS.match(call) is not None
        or _RUNTIME.fullmatch(call) is not None
    )
