"""`./run grafana`: write the dashboards anew, or put them into a Grafana."""

import argparse
import os
import sys

from tools.grafana.provision import Grafana, ProvisioningError, provision


def main(arguments: list[str]) -> int:
    """Do one of both; 0 when it is done."""
    parser = argparse.ArgumentParser(prog="./run grafana", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="write grafana/dashboards from tools/grafana")
    into = commands.add_parser(
        "provision",
        help="put data source and dashboards into a Grafana; its service account token is in GRAFANA_TOKEN",
    )
    into.add_argument("url", help="the Grafana, such as https://grafana.example.com")
    into.add_argument("--console", help="address of the platform's console, for the links")
    given = parser.parse_args(arguments)
    if given.command == "build":
        from tools.grafana.build import write

        print(*write(), sep="\n")
        return 0
    token = os.environ.get("GRAFANA_TOKEN")
    if not token:
        print("Set GRAFANA_TOKEN to a token of a service account that is Admin.", file=sys.stderr)
        return 2
    try:
        print(*provision(Grafana(given.url, token), os.environ, console=given.console), sep="\n")
    except ProvisioningError as error:
        print(f"Not done: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
