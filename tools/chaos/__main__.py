"""`./run chaos`: the command line."""

import argparse
import dataclasses
import json
import os
import random
import sys
from pathlib import Path

from tools.bootstrap import PROJECT
from tools.chaos.schedule import SHORT, Faults
from tools.chaos.trial import Plan, Trial
from tools.services.child import ServiceError
from tools.services.instance import AlreadyRunning

EXIT_NOT_CLEAN = 1
EXIT_NO_RUN = 2


def plan_of(arguments: list[str]) -> tuple[Plan, Path | None]:
    """Read the command line; return the plan and where its figures go as JSON."""
    full = Faults()
    parser = argparse.ArgumentParser(prog="./run chaos", description=sys.modules["tools.chaos"].__doc__)
    parser.add_argument("--seed", type=int, help="repeat a run; a random one is printed otherwise")
    parser.add_argument("--short", action="store_true", help="the form of half a minute")
    parser.add_argument("--seconds", type=float, help=f"how long messages are published ({full.seconds:g})")
    parser.add_argument("--rate", type=float, help="messages a second (1000; short form 300)")
    parser.add_argument("--kills", type=int, help=f"SIGKILLs of the platform ({full.kills})")
    parser.add_argument("--database-stop", type=float, help=f"seconds ({full.database_stop_s:g})")
    parser.add_argument("--broker-restarts", type=int, help=f"by SIGTERM ({full.broker_restarts})")
    parser.add_argument("--redis-stop", type=float, help=f"seconds ({full.redis_stop_s:g})")
    parser.add_argument(
        "--broker-kill",
        type=int,
        nargs="?",
        const=5,
        default=0,
        metavar="TIMES",
        help="SIGKILL the broker too (5 times); what it loses is not the platform's and is only reported",
    )
    parser.add_argument(
        "--control", action="store_true", help="acknowledge before the commit: losses must be found"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    given = parser.parse_args(arguments)
    chosen = {
        "seconds": given.seconds,
        "kills": given.kills,
        "database_stop_s": given.database_stop,
        "broker_restarts": given.broker_restarts,
        "redis_stop_s": given.redis_stop,
        "broker_kills": given.broker_kill,
    }
    faults = dataclasses.replace(
        SHORT if given.short else full, **{name: value for name, value in chosen.items() if value is not None}
    )
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1_000_000)
    rate = given.rate or (300.0 if given.short else 1000.0)
    return Plan(seed, rate, faults, is_control=given.control), given.json


def main(arguments: list[str]) -> int:
    """Run once; 0 when it went as it must: a control has to lose, everything else must not."""
    plan, destination = plan_of(arguments)
    folder = Path(os.environ.get("VAR_DIR") or PROJECT / "var").absolute() / "chaos"

    def announce(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    announce(f"Seed {plan.seed}, {plan.rate:g} messages/s for {plan.faults.seconds:g} s")
    try:
        figures = Trial(plan, folder, os.environ, announce).run()
    except (ServiceError, AlreadyRunning, ValueError) as error:
        announce(f"No result: {error}")
        return EXIT_NO_RUN
    shown = json.dumps(figures, indent=2)
    print(shown)
    if destination is not None:
        destination.write_text(shown + "\n", encoding="utf-8")
    if plan.is_control:
        return 0 if figures["lost"] else EXIT_NOT_CLEAN
    if plan.faults.broker_kills:
        return 0
    return 0 if figures["passed"] else EXIT_NOT_CLEAN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
