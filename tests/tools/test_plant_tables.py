"""The page about the plant shows the plant that is simulated."""

from pathlib import Path

from tools.plant.tables import faults_table, metrics_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "demo-plant.md"


def test_the_page_shows_every_metric_and_fault_as_they_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert metrics_table() in page
    assert faults_table() in page


def test_the_tables_are_complete() -> None:
    # E-601 and E-603 differ from E-602 in their bands, and every type is shown once.
    assert len(faults_table().splitlines()) == 15 + 2
    assert len(metrics_table().splitlines()) == 2 + 12 + 11 + 6 + 4 + 8 + 3 * 8 + 3
