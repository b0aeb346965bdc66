"""Histograms of the gradients and parameters of a torch model, while it is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError, ArgumentTypeError
from .data_types.histogram import Histogram


class Watcher:
    """Hands histograms of a model to `take`, with every so many of its backward passes, until it is closed.

    Parameters
    ----------
    take : callable
        Given a dict of names to histograms.
    model : torch.nn.Module
    log : {"gradients", "parameters", "all", None}
    every : int
    number : int
        Of the model, among those that are watched.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        If these are nothing of the kind.
    """

    def __init__(self, take: Callable[[dict[str, Any]], None], model: Any, log: str | None, every: int, number: int):
        if not hasattr(model, "named_parameters"):
            raise ArgumentTypeError("models", model, "a torch.nn.Module, or a list of them")
        if log not in ("gradients", "parameters", "all", None):
            raise ArgumentError("log", log, "'gradients', 'parameters', 'all' or None")
        self.model, self._take, self._every = model, take, max(int(every), 1)
        self._prefix = f"graph_{number}" if number else ""
        self._hooks: list[Any] = []
        for name, parameter in model.named_parameters():
            if log in ("gradients", "all") and parameter.requires_grad:
                self._hooks.append(parameter.register_hook(self._hook(f"gradients/{self._prefix}{name}")))
        if log in ("parameters", "all"):
            self._hooks.append(model.register_forward_hook(self._parameters()))

    def _hook(self, name: str) -> Callable[[Any], None]:
        calls = 0

        def of_gradient(gradient: Any) -> None:
            nonlocal calls
            calls += 1
            if calls % self._every == 0:
                self._hand_over({name: gradient})

        return of_gradient

    def _parameters(self) -> Callable[[Any, Any, Any], None]:
        calls = 0

        def of_model(model: Any, given: Any, found: Any) -> None:
            nonlocal calls
            calls += 1
            if calls % self._every == 0:
                self._hand_over({f"parameters/{self._prefix}{name}": one for name, one in model.named_parameters()})

        return of_model

    def _hand_over(self, tensors: dict[str, Any]) -> None:
        arrays = {name: one.detach().float().cpu().numpy() for name, one in tensors.items()}
        self._take({name: Histogram(array) for name, array in arrays.items() if array.size})

    def close(self) -> None:
        """Hand over no more; a second call does nothing."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
