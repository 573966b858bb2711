import pytest

from componentbase.flags import FlagSet, duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), ("-10s", -10), ("100us", 1e-4)]
)
def test_durations_read_as_in_go(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "5 s", "s", "1m30", "abc", "-"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        duration(text)


@pytest.mark.parametrize(
    ("arguments", "value"), [([], True), (["--lead"], True), (["--lead=false"], False), (["--lead", "true"], True)]
)
def test_booleans_stand_alone_or_with_a_value(arguments: list[str], value: bool) -> None:
    flags = FlagSet("test", "")
    flags.boolean("lead", True)
    assert flags.parse_args(arguments).lead is value


@pytest.mark.parametrize("arguments", [["--lead=perhaps"], ["--period=soon"], ["--unknown"], ["--per=5s"]])
def test_bad_flags_end_the_process_with_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    flags = FlagSet("test", "")
    flags.boolean("lead", True)
    flags.duration("period", "5s")
    with pytest.raises(SystemExit) as ended:
        flags.parse_args(arguments)
    assert ended.value.code == 2
    assert "error" in capsys.readouterr().err
