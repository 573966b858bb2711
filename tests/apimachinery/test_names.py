"""Which strings are names, and what upstream says of the others."""

import pytest

from apimachinery import names


@pytest.mark.parametrize("value", ["a", "a-b", "0a", "a" * 63])
def test_good_labels(value: str) -> None:
    assert names.dns1123_label(value) == []


@pytest.mark.parametrize("value", ["", "-a", "a-", "A", "a_b", "ä", "a\n"])
def test_bad_labels_are_told_the_pattern(value: str) -> None:
    (problem,) = names.dns1123_label(value)
    assert problem.startswith("a lowercase RFC 1123 label must consist of")
    assert problem.endswith("regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')")


def test_dots_in_a_label_are_named() -> None:
    assert names.dns1123_label("a.b") == ["must not contain dots"]


def test_length_and_pattern_are_both_told() -> None:
    assert names.dns1123_label("A" * 64)[0] == "must be no more than 63 characters"
    assert len(names.dns1123_label("A" * 64)) == 2


def test_subdomains_allow_dots() -> None:
    assert names.dns1123_subdomain("a.b-c.d") == []
    assert names.dns1123_subdomain("a..b")
    assert names.dns1123_subdomain("a." * 127) != []


def test_service_names_start_with_a_letter() -> None:
    assert names.dns1035_label("a1") == []
    assert names.dns1035_label("1a")


@pytest.mark.parametrize("value", ["app", "example.com/app", "A.b_c", "kubernetes.io/metadata.name"])
def test_good_qualified_names(value: str) -> None:
    assert names.qualified_name(value) == []


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("", "name part must be non-empty"),
        ("/a", "prefix part must be non-empty"),
        ("a/", "name part must be non-empty"),
        ("a/b/c", "a qualified name must consist of"),
        ("a" * 64, "name part must be no more than 63 characters"),
        ("UPPER/a", "prefix part a lowercase RFC 1123 subdomain"),
        ("-a", "name part must consist of alphanumeric"),
    ],
)
def test_bad_qualified_names(value: str, part: str) -> None:
    assert names.qualified_name(value)[0].startswith(part)


def test_label_values_may_be_empty() -> None:
    assert names.label_value("") == []
    assert names.label_value("a/b")[0].startswith("a valid label must be an empty string or consist of alphanumeric")


def test_port_names() -> None:
    assert names.port_name("http-2") == []
    assert names.port_name("8080") == ["must contain at least one letter (a-z)"]
    assert names.port_name("a--b") == ["must not contain consecutive hyphens"]
    assert names.port_name("-ab") == ["must not begin or end with a hyphen"]
    assert "must be no more than 15 characters" in names.port_name("a" * 16)


def test_keys_of_config_maps_do_not_climb() -> None:
    assert names.config_map_key("tls.crt") == []
    assert names.config_map_key("..") == ["must not be '..'"]
    assert names.config_map_key("..a") == ["must not start with '..'"]
    assert names.config_map_key("a/b")


def test_environment_variables_are_printable_ascii_without_equals() -> None:
    assert names.env_var_name("1 odd-but.allowed") == []
    assert names.env_var_name("a=b")
    assert names.env_var_name("") == ["environment variable name must be non-empty"]


def test_path_segments() -> None:
    assert names.path_segment_name("system:node") == []
    assert names.path_segment_name("a/b%") == ["may not contain '/'", "may not contain '%'"]
    assert names.path_segment_name("..") == ["may not be '..'"]


def test_a_generated_name_may_end_in_a_dash() -> None:
    assert names.dns1123_label(names.mask_trailing_dash("web-")) == []
