"""numba step functions: ``@numba.njit def step(state, rng, **params)``, run over whole blocks by one native call.

A driver is generated around the step, compiled by numba and handed to the kernel as a C function, so that steps run
without Python between them. numba is the user's own: it is imported when a step that it compiled is to run.

How a numba step is called, state by state and parameter by parameter, is in ``docs/numba-steps.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ... import kernel
from ...errors import MetricError, StateError, StepError, StepReturnError
from ...state.codec import StateCodec
from ..memory import Form
from ..params import as_tuples
from ..signature import is_numba
from ..step import Step, StepCallable
from . import build, intrinsics
from .driver import driver_text
from .fallback import PublicLoop
from .fingerprint import Fingerprint
from .observe import NOTHING, Looks, looks_of, plain
from .params import ParamSlots
from .slots import TAKEN, Slot, StateSlots

#: Held by a step that numba runs on several threads.
_ALONE = kernel.Turn()  # a lock that no thread of a parent has in a fork
#: Where a dispatcher keeps the drivers made of it, so that they live and die together.
_DRIVERS = "_rewind_drivers"


@dataclass(frozen=True)
class _Kept:
    """What is known of one dispatcher: drivers by their text, digests of what it depended on when it was compiled."""

    drivers: dict[str, build.Built]
    sound: set[str]


def _kept(function: Any) -> _Kept:
    if not hasattr(function, _DRIVERS):
        setattr(function, _DRIVERS, _Kept({}, set()))
    kept: _Kept = getattr(function, _DRIVERS)
    return kept


class NumbaStep(Step):
    """A numba step function with its parameters.

    Parameters
    ----------
    function : numba dispatcher
        ``function(state, rng, **params) -> state``.
    params : mapping of str to a JSON scalar or a list of them
        Numbers arrive in slots of memory, text and None in the code, lists as tuples.

    Notes
    -----
    Compiling takes a second or two, once for each form of state; with what numba keeps on disk it takes a tenth of
    that in the next process. Pickles as its function and params.
    """

    runs_itself = True

    def __init__(self, function: StepCallable, params: Mapping[str, Any]) -> None:
        super().__init__(function, params)
        self._slots = ParamSlots(function, params)
        self._states: dict[int, tuple[StateCodec, StateSlots]] = {}

    def __getstate__(self) -> tuple[Any, ...]:
        return self.function, self.params

    def __setstate__(self, parts: tuple[Any, ...]) -> None:
        self.__init__(*parts)  # type: ignore[misc]

    def bound(self, codec: StateCodec) -> Callable[[], Any]:
        """Return a function that gives the loop for states of `codec`, for any thread: native, or a `PublicLoop`.

        Raises
        ------
        StateError
            If numba steps take no such state, or the step returns another type than it is given.
        StepError
            If numba cannot compile the step.
        """
        slots = self._state_slots(codec)
        native = build.has_native_generator()
        block = self._built(slots, None, native)
        loop: Any
        if native:
            loop = self._loop_class()(
                block.names["block"].address,
                per_block=True,
                form=slots.form(),
                params=self._slots.data,
                keep=block,
                explain=self._explain,
            )
        else:
            loop = PublicLoop(slots, block.names["block"], None, self._slots.data)
        return lambda: loop

    def form(self, codec: StateCodec) -> Form:
        """Return how states that `codec` keeps lie in memory.

        Raises
        ------
        StateError
            If numba steps take no such state.
        """
        return self._state_slots(codec).form()

    def observer(
        self, codec: StateCodec, names: Sequence[str], metrics: Sequence[Any], example: Any = NOTHING
    ) -> Any | None:
        """Return a loop whose `observe` evaluates these metrics, with their ``shapes``; None where it has to be Python.

        Parameters
        ----------
        codec : StateCodec
        names, metrics
            As `observe` of a sweep has them.
        example : state, optional
            A state to try numba functions among the metrics on: it shows how many numbers they give.

        Raises
        ------
        StateError, StepError
            As from `bound`.
        """
        slots = self._state_slots(codec)
        native = build.has_native_generator()
        block = self._built(slots, None, native)  # what is wrong with the step is said of the step
        known = [plain(metric, is_numba) for metric in metrics]
        looks = None if NOTHING in known or not metrics else looks_of(slots, known, codec.copy(example))
        if looks is None:
            return None
        try:
            observed = self._built(slots, looks, native)
        except StepError:  # a metric that only Python can call
            return None
        owners = [names[number] for number in looks.owners]
        if not native:
            public = PublicLoop(slots, block.names["block"], observed.names["observed"], self._slots.data, owners)
            public.shapes = looks.shapes
            return public
        loop = self._loop_class()(
            block.names["block"].address,
            per_block=True,
            form=slots.form(),
            params=self._slots.data,
            observed=observed.names["observed"].address,
            keep=(block, observed),
            explain=lambda code, state, rng: self._explain(code, state, rng, names, metrics),
        )
        loop.shapes = looks.shapes
        return loop

    def _arguments(self) -> dict[str, Any]:
        return {name: as_tuples(value) for name, value in self.params.items()}

    def _state_slots(self, codec: StateCodec) -> StateSlots:
        known = self._states.get(id(codec))
        if known is None:
            if codec.user is not None:
                problem = "a codec, and a numba step changes the state where it lies"
                raise StateError("", problem, f"leave codec out: {TAKEN}")
            known = self._states[id(codec)] = codec, StateSlots(codec.layout)
        return known[1]

    def _loop_class(self) -> Any:
        options = getattr(self.function, "targetoptions", {})
        return _OneAtATime if options.get("parallel") else _Loop

    def _built(self, slots: StateSlots, looks: Looks | None, native: bool) -> build.Built:
        """Return the driver of this step for such states, and the one that observes with `looks`."""
        functions = [self.function, *(looks.functions if looks is not None else ())]
        with build.LOCK:
            prints, about = [Fingerprint([function]) for function in functions], [build.versions()]
            is_sound = True
            for function, found in zip(functions, prints, strict=True):
                sound = _kept(function).sound
                if found.text is None:
                    is_sound = False
                elif not found.is_frozen:
                    sound.add(found.text)
                elif found.text not in sound:
                    is_sound = False
                about.append(f"function: {_name(function)} {found.text}")
            for cls in (group.cls for group in slots.groups if group.cls is not None):
                about.append(f"class: {cls.__module__}:{cls.__qualname__} {getattr(cls, '_fields', ())}")
            text = driver_text(slots, self._slots.layout, looks.looks if looks is not None else None, about, native)
            # The text says which objects the driver was made of only as far as their fingerprints do.
            key = text + repr([id(thing) for thing in (*functions, *(group.cls for group in slots.groups))])
            drivers = _kept(self.function).drivers
            if key not in drivers:
                drivers[key] = self._compiled(text, slots, functions, native, is_sound)
            return drivers[key]

    def _compiled(
        self, text: str, slots: StateSlots, functions: Sequence[Any], native: bool, is_sound: bool
    ) -> build.Built:
        given: dict[str, Any] = {f"c{group.number}": group.cls for group in slots.groups if group.cls is not None}
        given |= {f"d{slot.number}": slot.dtype for slot in slots.slots}
        given |= {f"m{i}": function for i, function in enumerate(functions[1:])}
        given |= {f"q_{name}": default for name, default in self._slots.defaults.items()}
        given["step"] = self.function
        if native:
            given["generator_at"] = intrinsics.generator_at()
        intrinsics.CHANGES.clear()
        try:
            driver = build.build(text, given, is_sound)
            if not native:
                name = "block" if len(functions) == 1 and "observed" not in driver.names else "observed"
                PublicLoop.compile(slots, driver.names[name], name == "observed")
            return driver
        except Exception as error:
            if intrinsics.CHANGES:
                raise _changed(*intrinsics.CHANGES[0], slots) from None
            raise StepError(0, error) from error

    def _explain(
        self, code: int, state: Any, rng: Any, names: Sequence[str] = (), metrics: Sequence[Any] = ()
    ) -> Exception:
        """Return or raise what the compiled step raised: by calling it once more, from Python."""
        if code < 0:
            for name, metric in zip(names, metrics, strict=True):
                try:
                    if callable(metric):
                        metric(state)
                except Exception as error:
                    raise MetricError(name, None, f"raised {type(error).__name__}: {error}") from error
            return MetricError(", ".join(names), None, "gave an array of another shape than before")
        new = self.function(state, rng, **self._arguments())
        if not _fits(state, new):
            return StateError("", intrinsics.OTHER_SHAPE, "return an array of the shape the step was given")
        return RuntimeError(
            "the compiled step raised, and did not when it was called again with the same state and rng; what it "
            "raised is not known. It depends on something that is not its state, rng or params"
        )


class _Loop(kernel.NativeLoop):
    """A native loop with room for what is known of its metrics."""

    bulk = True
    shapes: tuple[tuple[int, ...], ...] = ()


class _OneAtATime(_Loop):
    """For ``njit(parallel=True)``: some of numba's own thread pools end the process when two threads use them."""

    bulk = False

    def advance(self, *args: Any) -> Any:
        """Advance, when no other such step runs."""
        with _ALONE:
            return super().advance(*args)

    def observe(self, *args: Any) -> Any:
        """Observe, when no other such step runs."""
        with _ALONE:
            return super().observe(*args)


def _name(function: Any) -> str:
    return f"{function.__module__}:{function.__qualname__}"


def _fits(state: Any, new: Any) -> bool:
    if isinstance(state, tuple):
        return len(state) == len(new) and all(map(_fits, state, new))
    return getattr(state, "shape", ()) == getattr(new, "shape", ())


def _changed(old: Any, new: Any, slots: StateSlots) -> Exception:
    """Return the error for a step that was given a state of numba type `old` and returned `new`."""
    if str(new) == "none":
        return StepReturnError(0)
    advice = "return the type the step was given"
    if isinstance(slots.tree, Slot) and slots.tree.kind in ("int", "bool") and str(new).startswith("float"):
        advice = "start from a float: 0.0, not 0"
    return StateError(
        "", f"the numba type {old}, and step_fn returns {new}; a numba step keeps the type of its state", advice
    )
