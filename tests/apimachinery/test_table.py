"""Tables of rows that the server prints."""

from apimachinery.table import Column, Row, partial_metadata, table


def test_a_table_has_definitions_and_rows_with_objects() -> None:
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": {}}
    built = table(
        [Column("Name", format="name"), Column("Node", priority=1)],
        [Row(["p", "n"], partial_metadata(pod))],
        {"resourceVersion": "5"},
    )
    assert built["metadata"] == {"resourceVersion": "5"}
    assert built["columnDefinitions"][1] == {
        "name": "Node",
        "type": "string",
        "format": "",
        "description": "",
        "priority": 1,
    }
    assert built["rows"] == [
        {
            "cells": ["p", "n"],
            "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "p"}},
        }
    ]


def test_later_events_of_a_watch_leave_the_definitions_out() -> None:
    assert table([Column("Name")], [Row(["p"])], with_columns=False) == {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": None,
        "rows": [{"cells": ["p"]}],
    }
