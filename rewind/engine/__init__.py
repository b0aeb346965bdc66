"""Pure computation: blocks, states, sweeps and replays; no file, clock, environment or global."""
