"""Sweeps: `sweep` writes down what is to be tried, `agent` tries it, run by run."""

from __future__ import annotations

from .agent import agent as agent
from .controller import Controller as Controller
from .controller import controller as controller
from .space import trial_params as trial_params
from .store import sweep as sweep
