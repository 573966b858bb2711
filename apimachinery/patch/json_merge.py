"""JSON merge patch (RFC 7386): null removes, objects merge, everything else replaces."""

from apimachinery.patch import Json


def apply(original: Json, patch: Json) -> Json:
    if not isinstance(patch, dict):
        return patch
    merged = dict(original) if isinstance(original, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = apply(merged.get(key), value)
    return merged


def diff(original: Json, modified: Json) -> Json:
    """The smallest merge patch from one to the other; {} when they are equal."""
    if not isinstance(original, dict) or not isinstance(modified, dict):
        return modified
    patch: dict[str, Json] = {key: None for key in original if key not in modified}
    for key, value in modified.items():
        if key not in original:
            patch[key] = value
        elif original[key] != value or type(original[key]) is not type(value):
            patch[key] = diff(original[key], value)
    return patch


def three_way(last: Json, modified: Json, live: Json) -> Json:
    """What ``kubectl apply`` sends for kinds without a schema: changes from ``live``, and deletions of what only ``last`` had.

    Lists are replaced as a whole; {} when nothing is to be done.
    """
    patch: dict[str, Json] = {}
    for key, wanted in modified.items():
        had = live.get(key)
        if isinstance(wanted, dict) and isinstance(had, dict):
            mine = last.get(key)
            inner = three_way(mine if isinstance(mine, dict) else {}, wanted, had)
            if inner:
                patch[key] = inner
        elif had != wanted:
            patch[key] = wanted
    patch.update((key, None) for key in last if key not in modified and key in live)
    return patch
