"""Which strings are names: DNS labels and subdomains, qualified names, label values, ports, environment variables.

Each function returns the list of upstream's complaints about a value, empty when it is fine
(``k8s.io/apimachinery/pkg/util/validation``).
"""

import re

_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_DNS1123_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS1123_SUBDOMAIN = _DNS1123_LABEL + r"(\." + _DNS1123_LABEL + r")*"
_DNS1035_LABEL = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_WILDCARD = r"\*\." + _DNS1123_SUBDOMAIN
_C_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"
_PERCENT = r"[0-9]+%"
_HEADER = r"[-A-Za-z0-9]+"
_CONFIG_KEY = r"[-._a-zA-Z0-9]+"

_match_qualified = re.compile(_QUALIFIED).fullmatch
_match_label_value = re.compile(_LABEL_VALUE).fullmatch
_match_dns1123_label = re.compile(_DNS1123_LABEL).fullmatch
_match_dns1123_subdomain = re.compile(_DNS1123_SUBDOMAIN).fullmatch
_match_dns1035_label = re.compile(_DNS1035_LABEL).fullmatch
_match_wildcard = re.compile(_WILDCARD).fullmatch
_match_c_identifier = re.compile(_C_IDENTIFIER).fullmatch
_match_percent = re.compile(_PERCENT).fullmatch
_match_header = re.compile(_HEADER).fullmatch
_match_config_key = re.compile(_CONFIG_KEY).fullmatch
_match_port_charset = re.compile(r"[-a-z0-9]+").fullmatch
_search_letter = re.compile(r"[a-z]").search

_QUALIFIED_MESSAGE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
EMPTY = "must be non-empty"


def max_length(limit: int) -> str:
    return f"must be no more than {limit} characters"


def between(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


def _regex_error(message: str, pattern: str, *examples: str) -> str:
    if not examples:
        return f"{message} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{e}', " for e in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{pattern}')"


_QUALIFIED_ERROR = _regex_error(_QUALIFIED_MESSAGE, _QUALIFIED, "MyName", "my.name", "123-abc")


def qualified_name(value: str) -> list[str]:
    """``name`` or ``prefix.example.com/name``: label keys, annotation keys, resource names, finalizers."""
    problems: list[str] = []
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        return [
            f"a qualified name {_QUALIFIED_ERROR} with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')"
        ]
    if slash:
        if not prefix:
            problems.append("prefix part " + EMPTY)
        else:
            problems += ["prefix part " + p for p in dns1123_subdomain(prefix)]
    if not name:
        problems.append("name part " + EMPTY)
    elif len(name) > 63:
        problems.append("name part " + max_length(63))
    if not _match_qualified(name):
        problems.append("name part " + _QUALIFIED_ERROR)
    return problems


def label_value(value: str) -> list[str]:
    problems = [max_length(63)] if len(value) > 63 else []
    if not _match_label_value(value):
        message = f"a valid label must be an empty string or consist of {_QUALIFIED_MESSAGE[len('must consist of ') :]}"
        problems.append(_regex_error(message, _LABEL_VALUE, "MyValue", "my_value", "12345"))
    return problems


def dns1123_label(value: str) -> list[str]:
    problems = [max_length(63)] if len(value) > 63 else []
    if not _match_dns1123_label(value):
        if _match_dns1123_subdomain(value):
            problems.append("must not contain dots")
        else:
            message = (
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
                "and must start and end with an alphanumeric character"
            )
            problems.append(_regex_error(message, _DNS1123_LABEL, "my-name", "123-abc"))
    return problems


def dns1123_subdomain(value: str) -> list[str]:
    problems = [max_length(253)] if len(value) > 253 else []
    if not _match_dns1123_subdomain(value):
        message = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
            "and must start and end with an alphanumeric character"
        )
        problems.append(_regex_error(message, _DNS1123_SUBDOMAIN, "example.com"))
    return problems


def dns1035_label(value: str) -> list[str]:
    problems = [max_length(63)] if len(value) > 63 else []
    if not _match_dns1035_label(value):
        message = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
            "start with an alphabetic character, and end with an alphanumeric character"
        )
        problems.append(_regex_error(message, _DNS1035_LABEL, "my-name", "abc-123"))
    return problems


def wildcard_dns1123_subdomain(value: str) -> list[str]:
    problems = [max_length(253)] if len(value) > 253 else []
    if not _match_wildcard(value):
        message = (
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must "
            "consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
        )
        problems.append(_regex_error(message, _WILDCARD, "*.example.com"))
    return problems


def c_identifier(value: str) -> list[str]:
    if _match_c_identifier(value):
        return []
    message = (
        "a valid C identifier must start with alphabetic character or '_', "
        "followed by a string of alphanumeric characters or '_'"
    )
    return [_regex_error(message, _C_IDENTIFIER, "my_name", "MY_NAME", "MyName")]


def port_number(value: int) -> list[str]:
    return [] if 1 <= value <= 65535 else [between(1, 65535)]


def port_name(value: str) -> list[str]:
    """An IANA service name, as container ports and probes use it."""
    problems = []
    if len(value) > 15:
        problems.append(max_length(15))
    if not _match_port_charset(value):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _search_letter(value):
        problems.append("must contain at least one letter (a-z)")
    if "--" in value:
        problems.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def percent(value: str) -> list[str]:
    if _match_percent(value):
        return []
    message = "a valid percent string must be a numeric string followed by an ending '%'"
    return [_regex_error(message, _PERCENT, "1%", "93%")]


def http_header_name(value: str) -> list[str]:
    if _match_header(value):
        return []
    message = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [_regex_error(message, _HEADER, "X-Header-Name")]


def env_var_name(value: str) -> list[str]:
    """The relaxed rule that v1.33 uses by default: printable ASCII without '='."""
    problems = [] if value else ["environment variable name " + EMPTY]
    if any(not " " <= c <= "~" or c == "=" for c in value):
        problems.append(
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
        )
    return problems


def config_map_key(value: str) -> list[str]:
    """A key of a ConfigMap or Secret: it becomes a file name, so it may not climb out of its directory."""
    problems = [max_length(253)] if len(value) > 253 else []
    if not _match_config_key(value):
        message = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        problems.append(_regex_error(message, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if value in (".", ".."):
        problems.append(f"must not be '{value}'")
    elif value.startswith(".."):
        problems.append("must not start with '..'")
    return problems


def path_segment_name(value: str) -> list[str]:
    """Names of RBAC objects: anything that can stand between two slashes of a URL."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{c}'" for c in "/%" if c in value]


def mask_trailing_dash(prefix: str) -> str:
    """A ``generateName`` as it is checked: what follows its last dash is not known yet (upstream's quirk kept)."""
    return prefix[:-2] + "a" if len(prefix) > 1 and prefix.endswith("-") else prefix
