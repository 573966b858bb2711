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
