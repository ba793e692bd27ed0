"""The commands of the demo plant: run it, load its history, break something in the running one."""

import argparse
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

from domain.errors import PlatformError
from settings import SettingsError, load_settings
from tools.plant.broker import Broker, BrokerUnreachable, broker_of, connected
from tools.plant.demo import DemoRefused, databases, known_episodes, load_history, prepare, run_demo
from tools.plant.history import HistoryLoader
from tools.plant.model.episodes import FAULTS
from tools.plant.model.plant import DEFAULT_SEED, Plant
from tools.plant.publisher import CONTROL_TOPIC, REPLY_TOPIC
from tools.services.child import ServiceError

_ANSWER_TIMEOUT_S = 10.0
LABEL_FILE = "demo-labels.jsonl"


def main(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Run `demo` with these arguments and return its exit code: 0 done, 1 failed, 2 wrong arguments."""
    parser = argparse.ArgumentParser(prog="demo", description="The Riverside Utilities demo plant.")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--fault", metavar="F2", help="start this fault in the running plant")
    asked.add_argument("--clear", metavar="F2", nargs="?", const="all", help="end this fault, or all of them")
    asked.add_argument("--list", action="store_true", help="list the faults, and those that last")
    parser.add_argument(
        "--speed", type=float, help="how many times faster than in a real plant the fault runs"
    )
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="another plant (default: %(default)s)")
    parser.add_argument("--no-history", action="store_true", help="do not load the last 7 days")
    try:
        given = parser.parse_args(argv)
    except SystemExit as wrong:
        return wrong.code if isinstance(wrong.code, int) else 2
    try:
        if given.list:
            return _print_faults(broker_of(environ))
        if given.clear:
            return _print_cleared(ask(broker_of(environ), {"clear": given.clear}))
        if given.fault:
            return _print_started(trigger_fault(broker_of(environ), given.fault, speed=given.speed))
        run_demo(
            load_settings(environ),
            broker_of(environ),
            label_file=_label_file(environ),
            seed=given.seed,
            with_history=not given.no_history,
        )
    except (BrokerUnreachable, DemoRefused, PlatformError, ServiceError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def seed(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Run `seed`: register the devices and load their history, without publishing; return the exit code."""
    parser = argparse.ArgumentParser(prog="seed", description="Load the demo plant's devices and history.")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="another plant (default: %(default)s)")
    try:
        given = parser.parse_args(argv)
    except SystemExit as wrong:
        return wrong.code if isinstance(wrong.code, int) else 2
    started_s = int(time.time())
    try:
        settings = load_settings(environ)
        with databases(settings) as (app_database, system_database):
            tenant_id = prepare(settings, app_database, system_database)
            loader = HistoryLoader(system_database, tenant_id, started_s=started_s)
            plant = Plant(given.seed, known_episodes(_label_file(environ), started_s))
            load_history(loader, plant, threading.Event())
    except (DemoRefused, PlatformError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def trigger_fault(broker: Broker, fault: str, *, speed: float | None = None) -> dict[str, Any]:
    """Start a fault in the running plant and return its answer.

    Raises:
        BrokerUnreachable: The broker is away, or no plant answers.
    """
    return ask(broker, {"fault": fault} if speed is None else {"fault": fault, "speed": speed})


def ask(broker: Broker, request: dict[str, Any]) -> dict[str, Any]:
    """Ask the running plant's control desk and return its answer.

    Raises:
        BrokerUnreachable: The broker is away, or no plant answers.
    """
    request_id = secrets.token_hex(8)
    _, client = connected(broker, f"demo-asks-{request_id}")
    answers: list[dict[str, Any]] = []

    def answered(_client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        answer = json.loads(message.payload)
        if answer.get("request_id") == request_id:
            answers.append(answer)

    def subscribed(client: mqtt.Client, *_: object) -> None:
        client.publish(CONTROL_TOPIC, json.dumps({**request, "request_id": request_id}), qos=1)

    client.on_message = answered
    client.on_subscribe = subscribed
    client.subscribe(REPLY_TOPIC, qos=1)
    deadline = time.monotonic() + _ANSWER_TIMEOUT_S
    while not answers and time.monotonic() < deadline:
        client.loop(0.1)
    client.disconnect()
    client.loop(0.1)
    if not answers:
        raise BrokerUnreachable("no demo plant answers; start it with `./run`")
    return answers[0]


def _label_file(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("VAR_DIR") or "var") / LABEL_FILE


def _print_faults(broker: Broker) -> int:
    """List the faults; without a running plant, those that exist."""
    active: dict[str, dict[str, Any]] = {}
    try:
        active = {label["fault"]: label for label in ask(broker, {"list": True})["active"]}
    except BrokerUnreachable as error:
        print(error, file=sys.stderr)
    for spec in FAULTS.values():
        state = f"  ACTIVE until {active[spec.fault]['end']}" if spec.fault in active else ""
        print(f"{spec.fault:<4} {spec.asset:<6} {spec.title}{state}")
    return 0


def _print_started(answer: dict[str, Any]) -> int:
    if not answer["ok"]:
        print(answer["error"], file=sys.stderr)
        return 1
    started = answer["started"]
    print(f"{started['fault']} on {started['asset']}: {started['title']}")
    print(f"onset {started['onset']}, detectable from {started['detectable_from']}, end {started['end']}")
    if "broker" in answer:
        print(f"published to {answer['topic']}; the broker answered: {answer['broker']}")
    return 0


def _print_cleared(answer: dict[str, Any]) -> int:
    if not answer["ok"]:
        print(answer["error"], file=sys.stderr)
        return 1
    for label in answer["cleared"]:
        print(f"{label['fault']} on {label['asset']} ended")
    if not answer["cleared"]:
        print("nothing to clear")
    return 0
