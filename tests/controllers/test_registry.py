import pytest

from controllers import registry


def names(*flags: str) -> set[str]:
    return {entry.name for entry in registry.selected(flags)}


def test_a_star_means_all_that_are_on_by_default() -> None:
    assert names("*") == {entry.name for entry in registry.LOOPS if entry.on_by_default}


def test_loops_are_left_out_and_chosen_by_name_or_alias() -> None:
    assert "deployment-controller" not in names("*", "-deployment-controller")
    assert "deployment-controller" not in names("*", "-deployment")
    assert names("deployment") == {"deployment-controller"}


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match='"deploymint" is not in the list of known controllers'):
        names("*", "-deploymint")


@pytest.mark.parametrize("entry", registry.LOOPS, ids=lambda entry: entry.name)
def test_every_entry_loads_a_loop_of_its_name(entry: registry.Entry) -> None:
    assert entry.load().name == entry.name
