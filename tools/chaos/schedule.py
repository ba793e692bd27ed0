"""When what is hit: decided by the seed before the run begins, so that a run can be repeated."""

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "kill platform",
    "stop PostgreSQL",
    "stop PostgreSQL at once",
    "start PostgreSQL",
    "restart broker",
    "kill broker",
    "stop Redis",
    "start Redis",
    "flush Redis",
]


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """Something that is done `at_s` seconds after the first message."""

    at_s: float
    kind: Kind


@dataclass(frozen=True, slots=True)
class Faults:
    """What a run does to its services.

    Attributes:
        seconds: How long messages are published.
        kills: How often the platform is killed with SIGKILL.
        database_stop_s: Length of the orderly stop of PostgreSQL; an immediate one, a twelfth of it, follows.
        broker_restarts: How often the broker is stopped with SIGTERM and started.
        redis_stop_s: Length of the stop of Redis; it is flushed twice besides.
        broker_kills: How often the broker is killed with SIGKILL, which may lose what it had just accepted.
    """

    seconds: float = 300.0
    kills: int = 20
    database_stop_s: float = 60.0
    broker_restarts: int = 5
    redis_stop_s: float = 30.0
    broker_kills: int = 0


SHORT = Faults(
    seconds=30.0, kills=3, database_stop_s=5.0, broker_restarts=1, redis_stop_s=4.0, broker_kills=0
)


def schedule(seed: int, faults: Faults) -> list[Event]:
    """Return the events in order of time, all within the time of publishing.

    Raises:
        ValueError: the stops of PostgreSQL do not fit into the time.
    """
    dice = random.Random(seed)
    events: list[Event] = []
    first, last = faults.seconds * 0.05, faults.seconds * 0.95
    at_once_s = faults.database_stop_s / 12
    room_s = last - first - faults.database_stop_s - at_once_s - 2.0
    if room_s < 0:
        raise ValueError(f"{faults.seconds:g} s are too short for a stop of {faults.database_stop_s:g} s")
    if faults.database_stop_s:
        stop_at = first + dice.uniform(0, room_s * 0.6)
        events += [Event(stop_at, "stop PostgreSQL")]
        events += [Event(stop_at + faults.database_stop_s, "start PostgreSQL")]
        stop_at = dice.uniform(stop_at + faults.database_stop_s + 2.0, last - at_once_s)
        events += [Event(stop_at, "stop PostgreSQL at once")]
        events += [Event(stop_at + at_once_s, "start PostgreSQL")]
    if faults.redis_stop_s:
        stop_at = dice.uniform(first, last - faults.redis_stop_s)
        events += [Event(stop_at, "stop Redis"), Event(stop_at + faults.redis_stop_s, "start Redis")]
        events += [Event(dice.uniform(first, last), "flush Redis") for _ in range(2)]
    events += [Event(at_s, "kill platform") for at_s in _scattered(dice, faults.kills, first, last)]
    events += [
        Event(at_s, "restart broker") for at_s in _scattered(dice, faults.broker_restarts, first, last)
    ]
    events += [Event(at_s, "kill broker") for at_s in _scattered(dice, faults.broker_kills, first, last)]
    return sorted(events)


def _scattered(dice: random.Random, count: int, first: float, last: float) -> list[float]:
    """Return one moment in each of `count` equal parts of the time: random, but never all at once."""
    width = (last - first) / max(1, count)
    return [first + width * (place + dice.random()) for place in range(count)]
