"""Rules of resource names and amounts: what a container may ask for (upstream's ``validateResourceRequirements``)."""

from typing import Any

from apimachinery import names, quantity
from apimachinery.errors import FieldError, duplicate, forbidden_field, invalid_value, not_found_value, required
from apimachinery.resourcequota import is_extended, is_native
from apiserver.registry.objectmeta import NON_NEGATIVE

Object = dict[str, Any]

_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_COUNTED = (
    "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps", "persistentvolumeclaims",
    "services.nodeports", "services.loadbalancers",
)  # fmt: skip
#: Names without a domain that quotas know, and those that containers know.
QUOTA_NAMES = frozenset((
    *_COMPUTE, *(f"{p}.{name}" for p in ("requests", "limits") for name in _COMPUTE), "requests.storage", *_COUNTED,
))  # fmt: skip
_STANDARD = QUOTA_NAMES | {"storage"}
_HUGE_PAGES = "hugepages-"


def is_huge_pages(name: str) -> bool:
    return name.startswith(_HUGE_PAGES)


def overcommits(name: str) -> bool:
    """Whether more may be promised than there is."""
    return is_native(name) and not is_huge_pages(name)


def validate_resource_name(name: str, path: str) -> list[FieldError]:
    problems = names.qualified_name(name)
    if problems:
        return [invalid_value(path, name, p) for p in problems]
    if "/" not in name and name not in _STANDARD and not name.startswith((_HUGE_PAGES, "requests." + _HUGE_PAGES)):
        return [invalid_value(path, name, "must be a standard resource type or fully qualified")]
    return []


def validate_container_resource_name(name: str, path: str) -> list[FieldError]:
    found = validate_resource_name(name, path)
    if "/" not in name:
        if name not in _COMPUTE and not is_huge_pages(name):
            found.append(invalid_value(path, name, "must be a standard resource for containers"))
    elif not is_native(name) and (not is_extended(name) or names.qualified_name("requests." + name)):
        found.append(invalid_value(path, name, "doesn't follow extended resource name standard"))
    return found


def validate_quota_resource_name(name: str, path: str) -> list[FieldError]:
    found = validate_resource_name(name, path)
    if "/" not in name and name not in QUOTA_NAMES and not name.startswith((_HUGE_PAGES, "requests." + _HUGE_PAGES)):
        found.append(invalid_value(path, name, "must be a standard resource for quota"))
    return found


def validate_amount(name: str, amount: str, path: str) -> list[FieldError]:
    """Not negative, and whole where the resource comes in pieces."""
    parsed = quantity.parse(amount)
    found = [invalid_value(path, amount, NON_NEGATIVE)] if parsed.sign < 0 else []
    if (name in _COUNTED or is_extended(name)) and parsed.milli_value % 1000:
        found.append(invalid_value(path, amount, "must be an integer"))
    return found


def validate_resources(resources: Object, path: str, claims: frozenset[str] = frozenset()) -> list[FieldError]:
    """Requests never exceed limits; what cannot be overcommitted needs a limit equal to its request."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    found: list[FieldError] = []
    for name, amount in limits.items():
        found += _one(name, amount, f"{path}.limits[{name}]")
    for name, amount in requests.items():
        where = f"{path}.requests[{name}]"
        found += validate_container_resource_name(name, where) + validate_amount(name, amount, where)
        if name in limits:
            larger = quantity.compare(amount, limits[name])
            if larger and not overcommits(name):
                detail = f"must be equal to {name} limit of {limits[name]}"
                found.append(invalid_value(f"{path}.requests", amount, detail))
            elif larger > 0:
                detail = f"must be less than or equal to {name} limit of {limits[name]}"
                found.append(invalid_value(f"{path}.requests", amount, detail))
        elif not overcommits(name):
            found.append(required(f"{path}.limits", "Limit must be set for non overcommitable resources"))
        found += _huge_pages(name, amount, where)
    given = {*limits, *requests}
    if any(map(is_huge_pages, given)) and not given & {"cpu", "memory"}:
        found.append(forbidden_field(path, "HugePages require cpu or memory"))
    return found + _claims(resources.get("claims") or [], claims, f"{path}.claims")


def _one(name: str, amount: str, path: str) -> list[FieldError]:
    found = validate_container_resource_name(name, path)
    return found + validate_amount(name, amount, path) + _huge_pages(name, amount, path)


def _huge_pages(name: str, amount: str, path: str) -> list[FieldError]:
    """Only whole pages."""
    if not is_huge_pages(name):
        return []
    try:
        page = quantity.parse(name.removeprefix(_HUGE_PAGES)).value
    except ValueError:
        page = 0
    if page > 0 and quantity.value(amount) % page == 0:
        return []
    return [invalid_value(path, amount, f"{amount} is not positive integer multiple of {name}")]


def _claims(claims: list[Object], known: frozenset[str], path: str) -> list[FieldError]:
    """The devices that a container uses are among those that its pod claims."""
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, claim in enumerate(claims):
        where, name, request = f"{path}[{i}]", claim.get("name", ""), claim.get("request", "")
        if not name:
            found.append(required(where))
            continue
        if request:
            found += [invalid_value(f"{where}.request", request, p) for p in names.dns1123_label(request)]
        key = f"{name}/{request}" if request else name
        overlaps = not request and any(k.startswith(name + "/") for k in seen)
        if name in seen or key in seen or overlaps:
            found.append(duplicate(where, name if name in seen or overlaps else key))
        seen.add(key)
        if name not in known:
            error = not_found_value(where, name)
            detail = "must be one of the names in pod.spec.resourceClaims"
            detail += ": " + ", ".join(sorted(known)) if known else " which is empty"
            found.append(FieldError(error.type, where, name, detail))
    return found
