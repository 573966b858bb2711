from apimachinery.apply.managed import (
    APPLY,
    MAX_UPDATERS,
    UPDATE,
    Managed,
    Manager,
    Owned,
    capped,
    decode,
    encode,
    manager_of,
)
from tests.apimachinery.apply.deployments import T


def _owned(name: str, time: str | None = None, version: str = "v1") -> Owned:
    return Owned({"f:" + name: {}}, version, time)


def _updaters(count: int, version: str = "v1") -> Managed:
    names = [f"u{i:02}" for i in range(count)]
    return {manager_of(n, UPDATE, version, ""): _owned(n, T[i], version) for i, n in enumerate(names)}


def test_an_applier_is_the_same_at_every_version_and_an_updater_is_not() -> None:
    assert manager_of("m", APPLY, "v1", "") == manager_of("m", APPLY, "v2", "")
    assert manager_of("m", UPDATE, "v1", "") != manager_of("m", UPDATE, "v2", "")
    assert manager_of("m", UPDATE, "v1", "") != manager_of("m", UPDATE, "v1", "status")


def test_entries_are_sorted_as_upstream_sorts_them() -> None:
    managed = {
        Manager("b", UPDATE, "v1", ""): _owned("b", T[2]),
        Manager("z", UPDATE, "v1", ""): _owned("z", T[1]),
        Manager("a", UPDATE, "v1", "status"): _owned("x", T[2]),
        Manager("a", UPDATE, "v1", ""): _owned("y", T[2]),
        Manager("n", UPDATE, "v1", ""): _owned("n"),
        Manager("y", APPLY, "", ""): _owned("y", T[9]),
    }
    entries = encode(managed)
    assert [(e["manager"], e.get("subresource")) for e in entries] == [
        ("y", None),
        ("n", None),
        ("z", None),
        ("a", None),
        ("a", "status"),
        ("b", None),
    ]
    assert list(entries[4]) == ["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource"]


def test_entries_that_say_the_same_are_not_written_anew() -> None:
    entries = encode({Manager("a", UPDATE, "v1", ""): _owned("a", T[1])})
    assert encode(decode(entries, trusted=True))[0] is entries[0]


def test_managers_are_identified_as_upstream_does() -> None:
    assert Manager("a<", UPDATE, "v1", "status").identifier() == (
        '{"manager":"a\\u003c","operation":"Update","apiVersion":"v1","subresource":"status"}'
    )
    assert Manager("a", APPLY, "", "").identifier() == '{"manager":"a","operation":"Apply"}'


def test_as_many_updaters_as_allowed_are_kept_and_appliers_do_not_count() -> None:
    managed = _updaters(MAX_UPDATERS) | {Manager(f"a{i}", APPLY, "", ""): _owned("x") for i in range(5)}
    assert capped(managed) is managed


def test_the_oldest_updaters_are_folded_into_one() -> None:
    found = capped(_updaters(MAX_UPDATERS + 2))
    assert len(found) == MAX_UPDATERS
    ancient = found[manager_of("ancient-changes", UPDATE, "v1", "")]
    assert ancient.fields == {"f:u00": {}, "f:u01": {}, "f:u02": {}}
    assert ancient.time == T[2]


def test_folding_goes_on_into_the_same_entry() -> None:
    found = capped(_updaters(MAX_UPDATERS + 1))
    found[manager_of("new", UPDATE, "v1", "")] = _owned("new", T[40])
    found = capped(found)
    assert len(found) == MAX_UPDATERS
    assert found[manager_of("ancient-changes", UPDATE, "v1", "")].fields == {"f:u00": {}, "f:u01": {}, "f:u02": {}}


def test_versions_are_folded_apart() -> None:
    old = {manager_of("old", UPDATE, "v0", ""): _owned("old", None, "v0")}
    found = capped(old | _updaters(MAX_UPDATERS))
    assert len(found) == MAX_UPDATERS
    assert manager_of("old", UPDATE, "v0", "") in found
    assert found[manager_of("ancient-changes", UPDATE, "v1", "")].fields == {"f:u00": {}, "f:u01": {}}
