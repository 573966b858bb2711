"""The three patch languages of the API: JSON patch, JSON merge patch and strategic merge patch.

Pure functions from (object, patch) to a new object; nothing given is changed. What is wrong with a patch is a
``PatchError``: its ``code`` is what upstream answers with, 400 for a patch that cannot be read and 422 for one that cannot be
applied to this object.
"""

from typing import Any

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

Json = Any


class PatchError(Exception):
    """A patch that cannot be read (400) or not be applied (422)."""

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code = code
