"""The kinds of step function: Python, numba, native; and which one a user has given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .checks import step_function
from .engine.forms import Form, form_of, packed_params
from .engine.metrics import is_identity
from .engine.native import NativeStep
from .engine.states import StateCodec
from .engine.steps import Step
from .errors import ArgumentError, StateError
from .jit_parts.dispatchers import is_numba
from .kernel import NativeLoop


class CompiledStep(Step):
    """A native step function with its parameters.

    Parameters
    ----------
    function : NativeStep
    params : mapping of str to numbers or lists of them
    """

    runs_itself = True

    def __init__(self, function: NativeStep, params: Mapping[str, Any]) -> None:
        super().__init__(function, params)  # type: ignore[arg-type]
        self._native, self._packed = function, packed_params(params)

    def same(self, other: Step) -> bool:
        """Whether both make the same calls."""
        if not isinstance(other, CompiledStep) or self._native != other._native:
            return False
        return repr(dict(self.params)) == repr(dict(other.params))

    def require_branch(self, parent: Step, before: StateCodec, now: StateCodec, state: Any) -> None:
        """Refuse a state of another form than the C function was recorded with: it would read it as the other."""
        if isinstance(parent, CompiledStep) and parent._native == self._native:
            form = self.form(before)
            if self.form(now) != form:
                raise StateError("", form.misfit(state), form.advice(state))

    def form(self, codec: StateCodec) -> Form:
        """Return how states of `codec` lie in memory."""
        return form_of(codec, step=self._native)

    def bound(self, codec: StateCodec) -> Callable[[], NativeLoop]:
        """Return a function that gives the loop for states of `codec`."""
        native = self._native
        loop = NativeLoop(
            native.address, per_block=native.per_block, form=self.form(codec), params=self._packed, keep=native
        )
        return lambda: loop

    def observer(
        self, codec: StateCodec, names: Sequence[str], metrics: Sequence[Any], example: Any
    ) -> NativeLoop | None:
        """Return what observes the numbers of the state itself, None where other metrics are asked for."""
        form = self.form(codec)
        if len(metrics) != 1 or not is_identity(metrics[0]) or not form.width:
            return None
        return self.bound(codec)()


def step_of(step_fn: Any, params: Mapping[str, Any], backend: str) -> Step:
    """Return `step_fn` with its parameters, as what it is.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        If it cannot be called as ``step_fn(state, rng, **params)``, or cannot draw from such an rng.
    """
    if isinstance(step_fn, NativeStep):
        kind, make = "native", CompiledStep
    elif is_numba(step_fn):
        from .jit import NumbaStep  # heavy, and only where numba is there already

        kind, make = "numba", NumbaStep  # type: ignore[assignment]
        step_function(step_fn.py_func, params)
    else:
        return Step(step_function(step_fn, params), params)
    if backend != "numpy":
        advice = f"A {kind} step draws from numpy's bit generator"
        raise ArgumentError("backend", backend, "'numpy' for this step_fn", advice)
    return make(step_fn, params)
