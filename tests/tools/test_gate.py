"""The gate: every check runs, the slow ones do not hide the others, and one failure is enough."""

from pathlib import Path

import pytest

from tools.gate import CHECKS, Gate, main


def test_every_check_is_run_and_judged_by_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.json").write_text("{}", encoding="utf-8")
    checks = {"good": ("json.tool", "good.json"), "bad": ("json.tool", "missing.json")}
    outcomes = Gate(checks, tmp_path).run()
    assert {outcome.name: outcome.passed for outcome in outcomes} == {"good": True, "bad": False}
    printed = capsys.readouterr().out
    assert "ok   good" in printed
    assert "FAIL bad" in printed
    assert "missing.json" in printed, "the output of a failed check is shown"


def test_an_unknown_check_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["spelling"])
    assert refused.value.code == 2
    assert ", ".join(CHECKS) in capsys.readouterr().err


def test_one_check_alone_can_be_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CHECKS, "help", ("json.tool", "--help"))
    monkeypatch.setitem(CHECKS, "missing", ("json.tool", "missing.json"))
    assert main(["help"]) == 0
    assert main(["missing"]) == 1
    assert "FAILED: missing" in capsys.readouterr().out
