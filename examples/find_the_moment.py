"""A service lost requests one night: walk backward from the damage to its cause, as in a debugger.

Requests come in at random and wait in a queue; four machines work it off. A machine fails now and then, and is back
some time later. What finds no room in the queue is lost.

    python examples/find_the_moment.py
"""

from dataclasses import dataclass

import rewind

N_MINUTES, SEED = 50_000, 68


@dataclass
class Service:
    queue: int = 0
    machines: int = 4
    lost: int = 0


def step(service, rng, room=100):
    # Two draws whatever happens: with the same noise, the same requests come in and the same luck strikes.
    n_new, luck = int(rng.poisson(10.0)), rng.random()
    n_waiting = max(service.queue + n_new - 3 * service.machines, 0)
    service.lost += max(n_waiting - room, 0)
    service.queue = min(n_waiting, room)
    if luck < 0.0006 * service.machines:
        service.machines -= 1
    elif luck > 0.96:
        service.machines = min(service.machines + 1, 4)
    return service


def one_more(service):
    service.machines += 1


def main():
    metrics = {name: name for name in ("queue", "machines", "lost")}
    run = rewind.record(step, Service(), N_MINUTES, seed=SEED, backend="numpy", observe=metrics)
    print(f"{N_MINUTES:,} minutes, and {run[-1].lost} requests were lost")

    # first: what was observed says which block to look into, and no other is replayed.
    bad = run.first("lost > 0")
    print(f"the first of them in minute {bad:,}: {run[bad]}")

    # A cursor walks about: ten steps back, and on backward until something held.
    cursor = run.at(bad).back(10)
    print(f"ten minutes before: {cursor.state}")
    calm = cursor.until("queue == 0", back=True)
    print(f"the queue had last been empty in minute {calm:,}, {bad - calm} minutes before the damage")
    print(f"machines were missing in {sum(1 for _ in run.where('machines < 4', calm, bad))} of these minutes")

    # last_change: the watchpoint of a debugger, backward. Asked again, it gives the change before that.
    last = run.last_change("machines", before=bad)
    print(f"their number last changed in minute {last:,}: {run[last - 1].machines} -> {run[last].machines}")
    before = run.last_change("machines", before=last)
    print(f"before that in minute {before:,}: {run[before - 1].machines} -> {run[before].machines}")
    print("all changes from the empty queue on:")
    changes = list(run.changes("machines", calm, bad))
    for t, old, new in changes:
        print(f"  minute {t:,}: {old} -> {new}, with {run[t].queue} in the queue")

    # Which failure was it? Take each back on the same noise, so that this is all that differs.
    hour = bad + 60
    for t, old, new in changes:
        if new < old:
            lost = run.branch(t, one_more, noise="same")[hour - t].lost
            print(f"without the failure in minute {t:,}: {lost} lost within the hour, not {run[hour].lost}")

    # diff: where a branch parts from the run; up to there a larger queue makes no difference.
    larger = run.branch(calm, noise="same", params={"room": 150})
    parted = run.diff(larger)
    print(f"with room for 150 all is the same up to minute {parted.step:,}, where {parted.path} is", end=" ")
    print(f"{parted.other}, not {parted.value}; {larger[hour - calm].lost} lost")


if __name__ == "__main__":
    main()
