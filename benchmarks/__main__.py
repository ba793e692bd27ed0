"""`./run bench`: the command line."""

import argparse
import json
import sys
from pathlib import Path

from benchmarks import ingest, stress


def main(arguments: list[str]) -> int:
    """Run one benchmark; print its figures, and write them as JSON where asked."""
    parser = argparse.ArgumentParser(prog="./run bench", description=sys.modules["benchmarks"].__doc__)
    parser.add_argument("name", choices=["ingest", "stress"])
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the load, once: to see that it works"
    )
    parser.add_argument("--only", choices=["throughput", "latency"], help="this part alone")
    parser.add_argument("--readings", type=int, choices=[1, 10, 100], help="this size of message alone")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each throughput; the median counts")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    given = parser.parse_args(arguments)
    if given.name == "stress":
        figures = stress.run(is_quick=given.quick)
    else:
        options = ingest.Options(given.quick, given.repeats, given.only, given.readings)
        figures = ingest.run(options)
    print(json.dumps(figures, indent=2))
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
