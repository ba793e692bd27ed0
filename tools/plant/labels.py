"""The label file: what was wrong with the plant, where and when; one JSON object a line."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.plant.model.episodes import FAULTS, Episode


def _rfc3339(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _unix_s(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def label(episode: Episode) -> dict[str, Any]:
    """Return an episode as it stands in the label file."""
    return {
        "fault": episode.fault,
        "title": FAULTS[episode.fault].title,
        "asset": episode.asset,
        "onset": _rfc3339(episode.onset_s),
        "detectable_from": _rfc3339(episode.detectable_from_s),
        "end": _rfc3339(episode.end_s),
        "duration_s": episode.duration_s,
    }


def write(path: Path, episodes: tuple[Episode, ...]) -> None:
    """Replace the label file; a reader sees the old or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(
        "".join(json.dumps(label(episode), ensure_ascii=False) + "\n" for episode in episodes),
        encoding="utf-8",
    )
    draft.replace(path)


def read(path: Path) -> tuple[Episode, ...]:
    """Return the episodes of a label file, none where there is no file.

    Raises:
        ValueError: A line is not a label; the message names the line.
    """
    if not path.exists():
        return ()
    episodes = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            fault = str(row["fault"])
            episodes.append(
                Episode(
                    fault=FAULTS[fault].fault,
                    asset=str(row["asset"]),
                    onset_s=_unix_s(row["onset"]),
                    duration_s=int(row["duration_s"]),
                    end_s=_unix_s(row["end"]),
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: not a label ({error})") from error
    return tuple(episodes)
