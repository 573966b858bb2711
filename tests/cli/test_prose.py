from cli.prose import Prose, align


def test_cells_of_neighbouring_lines_stand_under_each_other() -> None:
    assert align(["Name:\tweb", "Namespace:\tdefault"]) == ["Name:       web", "Namespace:  default"]


def test_a_line_without_a_tab_ends_the_columns_above_it() -> None:
    lines = align(["a:\t1", "title", "longer:\t2"])
    assert lines == ["a:  1", "title", "longer:  2"]


def test_an_empty_last_cell_leaves_its_blanks_as_in_kubectl() -> None:
    assert align(["Name:\tx", "IP:\t"])[1] == "IP:    "


def test_several_labels_stand_below_the_first() -> None:
    prose = Prose()
    prose.mapping(0, "Labels:", {"b": "2", "a": "1"})
    prose.line(0, "Status:", "Running")
    assert prose.text() == "Labels:  a=1\n         b=2\nStatus:  Running\n"


def test_no_labels_are_said_to_be_none() -> None:
    prose = Prose()
    prose.mapping(0, "Labels:", None)
    assert prose.text() == "Labels:  <none>\n"
