"""Allocations as CPython asks for them: a compiled hook before its allocators (PEP 445).

What counts is each request for a block, or for a block of another size, in the domains "mem" and
"object", which are used under the GIL only: the counts are exact. Not counted: what comes out of
a free list (a float, a small tuple, a frame), numpy's data, and what numba or C libraries ask the
system for. The hook must hold nothing of Python, which could not run inside its own allocator.
"""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar, Final

import numpy as np
from numba import cfunc, types

_DOMAINS: Final = (1, 2)  # PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ
_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_size_t
_C: Final = types.CPointer(types.int64)  # type: ignore[no-untyped-call]  # numba has no types
_V, _S = types.voidptr, types.uintp


class _Allocator(ctypes.Structure):
    """PyMemAllocatorEx of pymem.h."""

    _fields_: ClassVar = [  # type: ignore[mutable-override]  # as ctypes wants it
        (name, _POINTER) for name in ("ctx", "malloc", "calloc", "realloc", "free")
    ]


class Allocations:
    """Counts while it is entered; `count` is how many so far."""

    def __init__(self) -> None:
        self._counter = np.zeros(1, np.int64)
        self._before = [_Allocator() for _ in _DOMAINS]
        self._kept: list[Any] = []  # compiled code lives as long as something refers to it
        for domain, allocator in zip(_DOMAINS, self._before, strict=True):
            ctypes.pythonapi.PyMem_GetAllocator(domain, ctypes.byref(allocator))
        made = {bytes(one): self._hook(one) for one in {bytes(o): o for o in self._before}.values()}
        self._hooks = [made[bytes(one)] for one in self._before]

    @property
    def count(self) -> int:
        """How many requests there were."""
        return int(self._counter[0])

    def __enter__(self) -> Allocations:
        self._set(self._hooks)
        return self

    def __exit__(self, *_: object) -> None:
        self._set(self._before)

    @staticmethod
    def _set(allocators: list[_Allocator]) -> None:
        for domain, allocator in zip(_DOMAINS, allocators, strict=True):
            ctypes.pythonapi.PyMem_SetAllocator(domain, ctypes.byref(allocator))

    def _hook(self, before: _Allocator) -> _Allocator:
        """Return an allocator that counts, then asks the one before.

        Its `ctx` is the counter's address; the one before gets its own back, given as a number.
        """
        own = before.ctx or 0
        malloc = ctypes.CFUNCTYPE(_POINTER, _SIZE, _SIZE)(before.malloc)
        calloc = ctypes.CFUNCTYPE(_POINTER, _SIZE, _SIZE, _SIZE)(before.calloc)
        realloc = ctypes.CFUNCTYPE(_POINTER, _SIZE, _POINTER, _SIZE)(before.realloc)
        free = ctypes.CFUNCTYPE(None, _SIZE, _POINTER)(before.free)

        @cfunc(_V(_C, _S))
        def counted_malloc(counted: Any, size: Any) -> Any:
            counted[0] += 1
            return malloc(own, size)

        @cfunc(_V(_C, _S, _S))
        def counted_calloc(counted: Any, count: Any, size: Any) -> Any:
            counted[0] += 1
            return calloc(own, count, size)

        @cfunc(_V(_C, _V, _S))
        def counted_realloc(counted: Any, block: Any, size: Any) -> Any:
            counted[0] += 1
            return realloc(own, block, size)

        @cfunc(types.void(_C, _V))
        def passed_on(counted: Any, block: Any) -> None:
            free(own, block)

        made = (counted_malloc, counted_calloc, counted_realloc, passed_on)
        self._kept += [malloc, calloc, realloc, free, *made]
        return _Allocator(self._counter.ctypes.data, *(one.address for one in made))
