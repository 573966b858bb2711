"""Server-side apply and the ownership of fields: ``metadata.managedFields``.

``FieldManager`` is what the API server calls: ``update`` for every create, update and patch, ``apply`` for an apply patch.
Below it: ``shape`` (what the schema says about ownership), ``fieldset`` and ``element`` (sets of fields, in the form of
fieldsV1), ``compare`` and ``merge`` (two walks over objects), ``managed`` (the entries), ``conflict``, ``validate`` and
``lastapplied`` (the way over from client-side apply).
"""

from apimachinery.apply.fieldmanager import FieldManager, same_but_times
from apimachinery.apply.fieldset import FieldSet, fields

__all__ = ["FieldManager", "FieldSet", "fields", "same_but_times"]
