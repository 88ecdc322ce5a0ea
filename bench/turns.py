"""Measures contenders by turns: the order alternates, a pause before each turn lets the threads of the last one go to sleep, and the
first run of a turn is not counted (uncounted_runs). Times are medians over all runs; ratios are medians over the turns."""

import gc
import math
import os
import statistics
import time
from dataclasses import dataclass, field

MAX_RUNS_A_TURN = 64


@dataclass(frozen=True)
class Pace:
    turns: int = 9
    turn_seconds: float = 0.25
    pause_seconds: float = 0.05
    uncounted_runs: int = 1
    warm_up_seconds: float = 1


@dataclass
class Times:
    turns: list = field(default_factory=list)  # a list of seconds each

    @property
    def median(self):
        return statistics.median(s for turn in self.turns for s in turn)

    @property
    def fastest(self):
        return min(s for turn in self.turns for s in turn)

    @property
    def total(self):
        return sum(s for turn in self.turns for s in turn)

    def ratio_to(self, other):
        """Median over the turns of how much longer this takes than the other. Only the first turns count, if one has fewer."""
        return statistics.median(statistics.median(a) / statistics.median(b) for a, b in zip(self.turns, other.turns))


def take_turn(runner, first, layers, inputs, pace):
    """Runs first, first + 1, ... of the common sequence."""
    seconds, sequence, clock = [], first, time.perf_counter
    os.sched_setaffinity(0, take_turn.cpus)  # some library may have pinned this thread
    if hasattr(runner, "begin_turn"):
        runner.begin_turn()
    time.sleep(pace.pause_seconds)
    for _ in range(pace.uncounted_runs):
        runner.run(sequence % layers, sequence // layers % inputs)
    start = clock()
    while len(seconds) < MAX_RUNS_A_TURN and (not seconds or clock() - start < pace.turn_seconds):
        sequence += 1
        layer, index = sequence % layers, sequence // layers % inputs
        begin = clock()
        runner.run(layer, index)
        seconds.append(clock() - begin)
    return seconds


take_turn.cpus = os.sched_getaffinity(0)


def warm_up(runner, layers, inputs, seconds):
    """Once through everything that will be used, or as far as the time allows: packed weights are read from their file when first used."""
    start = time.perf_counter()
    for sequence in range(layers * inputs):
        if time.perf_counter() - start >= seconds:
            break
        runner.run(sequence % layers, sequence // layers % inputs)


def measure(runners, layers, inputs, pace, enough=None):
    """runners: {name: has run(layer, index)}. enough: {name: seconds of runs, after which it takes no more turns}.
    Returns ({name: Times}, {name: reason of failure})."""
    times, failures = {name: Times() for name in runners}, {}
    gc.collect()
    gc.disable()
    try:
        for turn in range(pace.turns):
            names = list(runners)
            for name in reversed(names) if turn % 2 else names:
                if name in failures or times[name].total >= (enough or {}).get(name, math.inf):
                    continue
                try:
                    if turn == 0:
                        warm_up(runners[name], layers, inputs, pace.warm_up_seconds)
                    times[name].turns.append(take_turn(runners[name], turn, layers, inputs, pace))
                except Exception as error:  # a contender's failure is a result
                    failures[name] = f"{type(error).__name__}: {error}"
    finally:
        gc.enable()
    return {name: t for name, t in times.items() if name not in failures}, failures
