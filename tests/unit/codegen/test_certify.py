"""Certificates: what is portable, what hangs on the C library, what is refused."""

import math
from typing import Any

import pytest

from parity import codegen
from parity.codegen import HOST_LIBM, PORTABLE, build
from parity.codegen.certify import certify
from parity.codegen.fuse import driver_text
from parity.model.errors import KernelError

from .conftest import kernel_of


def arithmetic(state: Any, params: Any, out: Any, price: float) -> int:
    """Use everything that is exact by IEEE 754."""
    state.count += 1
    state.total += abs(price) * 0.1
    state.ring[state.count % 4] = math.sqrt(price) + math.floor(price) + math.ceil(price)
    out.value = min(max(state.total / state.count, 0.0), state.ring[0]) + price % 3.0
    if state.count // 2 > 3 and not math.isnan(price):
        return 1
    return 0


def exponential(state: Any, params: Any, out: Any, price: float) -> int:
    """Call one function whose last bit is the C library's business."""
    out.value = math.exp(price)
    return 1


@pytest.mark.slow
def test_arithmetic_is_portable() -> None:
    """+ - * /, sqrt, floor, remainders and comparisons are the same on every machine."""
    driver = build(kernel_of(arithmetic))

    assert (PORTABLE, ()) == (driver.certificate, driver.calls)


def test_a_planted_exponential_is_found() -> None:
    """A libm call marks the driver and is named."""
    driver = build(kernel_of(exponential))

    assert HOST_LIBM == driver.certificate
    assert any("exp" in call for call in driver.calls)


@pytest.mark.parametrize(
    "line",
    [
        "%1 = fadd fast double %a, %b",
        "%1 = fmul contract double %a, %b",
        "%1 = fsub nnan ninf reassoc double %a, %b",
        "%1 = tail call afn double @llvm.sqrt.f64(double %a)",
    ],
)
def test_fast_math_in_the_ir_is_refused(line: str) -> None:
    """Any flag that lets the compiler change bits is refused by its name."""
    with pytest.raises(KernelError, match="fast-math flag"):
        certify(f"define double @f() {{\n  {line}\n}}\n", "planted")


@pytest.mark.slow
@pytest.mark.parametrize("planted", ["fast", "contract", "reassoc"])
def test_planted_fast_math_is_found_in_compiled_code(
    monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    """Numba is told to, behind the back of every rule for users' code, and the IR shows it."""
    option = "True" if planted == "fast" else repr({planted})

    def text(kernel: Any, *, boundscheck: bool) -> str:
        plain = driver_text(kernel, boundscheck=boundscheck)
        assert "'fastmath': False" in plain
        return plain.replace("'fastmath': False", f"'fastmath': {option}")

    monkeypatch.setattr(codegen, "driver_text", text)
    with pytest.raises(KernelError, match=f"kernel probe: .* fast-math flag '{planted}'"):
        build(kernel_of(arithmetic))


@pytest.mark.parametrize(
    "line",
    [
        "declare <4 x double> @__svml_exp4(<4 x double>)",
        "declare <8 x double> @__svml_log8_ha(<8 x double>) local_unnamed_addr",
        "declare intel_ocl_bicc <2 x double> @__svml_sin2(<2 x double>)",
    ],
)
def test_vectors_of_svml_are_found(line: str) -> None:
    """Where numba was started with Intel's library its calls stand in the IR, and are named."""
    certificate = certify(f"{line}\n", "planted")

    assert HOST_LIBM == certificate.kind
    assert certificate.calls[0].startswith("__svml_")


@pytest.mark.parametrize("call", ["llvm.fma.f64", "llvm.fmuladd.f64", "fma"])
def test_fused_multiply_add_is_refused(call: str) -> None:
    """A fused a * b + c rounds once where others round twice."""
    with pytest.raises(KernelError, match="fused"):
        certify(f"declare double @{call}(double, double, double)\n", "planted")


@pytest.mark.parametrize(
    "call", ["exp", "pow", "llvm.pow.f64", "__svml_exp4", "numba_xxdot", "some_new_thing"]
)
def test_unknown_calls_are_not_taken_for_portable(call: str) -> None:
    """What is not known to be exact is host-libm."""
    assert (HOST_LIBM, (call,)) == (
        (found := certify(f"declare double @{call}(double)\n", "planted")).kind,
        found.calls,
    )
