"""What a trial finds, and the error that carries it."""

from __future__ import annotations

from typing import Any

from ..state.frozen import frozen


@frozen
class Finding:
    """What a trial found.

    Attributes
    ----------
    kind : {"lossy", "hidden", "unchanged"}
        Storing loses something; the step depends on something outside its arguments; no step changed the state.
    block, step : int
        The block, and the step at which the ways differ; of a loss that nothing shows yet, the step that is stored.
    path : str
        What leads to what is lost, or to what differs; empty where that is not known.
    live, restored : object
        What is there, in the live state and in what is restored (of ``"hidden"``: the first time, and again).
    cause : str
        What loses it: ``"codec"``, ``"ndarray"``, ``"__getstate__"``, ``"__reduce__"`` or another method of pickle,
        ``"identity"``, ``"order"``, ``"shared"``, ``"global"``, ``"generator"``, or empty.
    name : str
        The class whose attribute it is, the global, or the generator.
    stored_at : int
        The step of which the state was stored.
    others : tuple of str
        What else is lost.
    shows : tuple or None
        Where the states differ after that: step, path, live, restored.
    generators : tuple of str
        The global generators that a step drew from.
    culprits : tuple of str
        Names of what the step changes besides its state.
    """

    kind: str
    block: int
    step: int
    path: str = ""
    live: Any = None
    restored: Any = None
    cause: str = ""
    name: str = ""
    stored_at: int = 0
    others: tuple[str, ...] = ()
    shows: tuple[int, str, Any, Any] | None = None
    generators: tuple[str, ...] = ()
    culprits: tuple[str, ...] = ()


class TrialFailed(Exception):
    """The error for a recording that would not be the user's own loop."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__(finding.kind)
