"""What the API server asks of a kind: the strategy.

The HTTP machine is the same for every kind; what differs (defaults, what a client may not set, rules, printed
columns, fields that can be selected) is a ``Strategy``. The default implementations here are what upstream does for
a plain kind, so most kinds override little.

Contract: objects are plain dicts that ``apimachinery.schema`` has decoded (right types, no nulls, unknown fields
pruned). ``default`` and ``prepare_*`` change their argument in place and never do I/O; ``validate*`` only look.
The order of a create is ``default``, admission, ``before_create``; of an update ``default``, admission,
``before_update`` (``before_status_update`` for ``/status``), which raise ``StatusError``.
"""

from collections.abc import Sequence
from typing import Any

from apimachinery import duration, errors, meta, names
from apimachinery.errors import FieldError, StatusError
from apimachinery.resources import Resource
from apimachinery.schema import schema_for
from apimachinery.schema.decoding import empty
from apimachinery.table import Column
from apiserver.registry import objectmeta

Object = dict[str, Any]

NAME = Column("Name", "string", "name", objectmeta.NAME_DESCRIPTION)
AGE = Column("Age", "string", "", objectmeta.CREATED_DESCRIPTION)


class Strategy:
    """One kind's behaviour; ``STRATEGIES`` holds an instance for each resource."""

    columns: tuple[Column, ...] = (NAME, AGE)
    allow_create_on_update = False
    """PUT to a name that does not exist creates it (leases, events, configuration of the API server's own)."""
    allow_unconditional_update = True
    """PUT without a resourceVersion takes the stored one; otherwise it is refused."""
    has_status = False
    """The kind has a ``/status`` subresource: the main resource cannot change status, and the other way round."""
    has_generation = False
    """``metadata.generation`` counts the changes of ``spec``."""
    default_grace_period: int | None = None

    def __init__(self, resource: Resource) -> None:
        self.resource = resource

    # --- names ---

    def validate_name(self, name: str, prefix: bool) -> list[str]:
        """What is wrong with a name; ``prefix`` for a ``generateName``. Most kinds: a DNS subdomain."""
        return names.dns1123_subdomain(names.mask_trailing_dash(name) if prefix else name)

    # --- defaults and preparation ---

    def default(self, obj: Object) -> None:
        """Fills in what the client left out, as upstream's decoder does on every read and write."""

    def prepare_for_create(self, obj: Object) -> None:
        if self.has_status:
            obj["status"] = self.empty_status()
        if self.has_generation:
            obj["metadata"]["generation"] = 1

    def empty_status(self) -> Object:
        """The status of what no controller has seen yet, with the fields that are written even when empty."""
        return empty(schema_for(self.resource).fields["status"])

    def prepare_for_update(self, new: Object, old: Object) -> None:
        if self.has_status:
            _keep(new, old, "status")
        if self.has_generation and new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        """Only status and metadata may change; upstream keeps labels on some kinds and lets others change them."""
        _keep(new, old, "spec")

    # --- rules ---

    def validate(self, obj: Object) -> list[FieldError]:
        """Everything wrong with a new object, metadata included."""
        return objectmeta.validate(obj["metadata"], self.resource.namespaced, self.validate_name) + self.rules(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        """Everything wrong with replacing ``old``: metadata's own rules, ``rules`` and ``update_rules``."""
        found = objectmeta.validate_update(new["metadata"], old["metadata"])
        return found + self.rules(new) + self.update_rules(new, old)

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return objectmeta.validate_update(new["metadata"], old["metadata"]) + self.status_rules(new, old)

    def rules(self, obj: Object) -> list[FieldError]:
        """The kind's own rules for everything below ``spec``, ``data`` and so on."""
        return []

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        """What may not change."""
        return []

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        return []

    def warnings(self, obj: Object, old: Object | None = None) -> list[str]:
        """What the client should hear about an object that is accepted (``Warning`` headers)."""
        return []

    # --- the write path ---

    def before_create(self, obj: Object, now: str | None = None) -> None:
        """Stamps a new object and refuses it when it breaks a rule (upstream's ``rest.BeforeCreate``)."""
        metadata = obj["metadata"]
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
            metadata.pop(field, None)
        metadata["uid"] = meta.new_uid()
        metadata["creationTimestamp"] = now or meta.now_rfc3339()
        if metadata.get("generateName") and not metadata.get("name"):
            metadata["name"] = meta.generate_name(metadata["generateName"])
        self.prepare_for_create(obj)
        self._refuse(obj, self.validate(obj))

    def before_update(self, new: Object, old: Object) -> None:
        """Keeps what only the system sets and refuses what breaks a rule (upstream's ``rest.BeforeUpdate``)."""
        self._carry_over(new, old)
        self.prepare_for_update(new, old)
        self._refuse(new, self.validate_update(new, old))

    def before_status_update(self, new: Object, old: Object) -> None:
        self._carry_over(new, old)
        self.prepare_for_status_update(new, old)
        self._refuse(new, self.validate_status_update(new, old))

    def _carry_over(self, new: Object, old: Object) -> None:
        objectmeta.carry_over(new["metadata"], old["metadata"])
        if self.allow_unconditional_update and not new["metadata"].get("resourceVersion"):
            new["metadata"]["resourceVersion"] = old["metadata"].get("resourceVersion", "")

    def _refuse(self, obj: Object, found: list[FieldError]) -> None:
        if found:
            raise errors.invalid(self.resource, obj["metadata"].get("name") or "", found)

    # --- reading ---

    def cells(self, obj: Object, now: float) -> list[Any]:
        """One row under ``columns``; ``now`` in seconds since the epoch."""
        return [obj["metadata"].get("name", ""), self.age(obj, now)]

    def row_conditions(self, obj: Object) -> Sequence[Object]:
        """What a Table says of a row beside its cells: upstream marks pods that are over."""
        return ()

    @staticmethod
    def age(obj: Object, now: float) -> str:
        return duration.age(obj["metadata"].get("creationTimestamp"), now)

    selectable: tuple[str, ...] = ()
    """Field labels beyond ``metadata.name`` and ``metadata.namespace`` that a field selector may name."""

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        """What ``fieldSelector`` sees of an object."""
        fields = {"metadata.name": obj["metadata"].get("name", "")}
        if self.resource.namespaced:
            fields["metadata.namespace"] = obj["metadata"].get("namespace", "")
        return fields

    def check_field_label(self, label: str) -> str:
        """The label that a selector's label means (a few have aliases); raises for one that is not supported."""
        if label in self.selectable or label in ("metadata.name", "metadata.namespace"):
            return label
        raise self.unsupported_field_label(label)

    def unsupported_field_label(self, label: str) -> StatusError:
        if self.selectable:
            return errors.bad_request(f"field label not supported: {label}")
        known = 'only "metadata.name", "metadata.namespace"'
        return errors.bad_request(f"{errors.quote(label)} is not a known field selector: {known}")

    # --- deletion ---

    def grace_period(self, obj: Object, requested: int | None) -> int | None:
        """Seconds between the request to delete and the removal, or None where the kind deletes at once."""
        return None


def _keep(new: Object, old: Object, field: str) -> None:
    """The stored value of a top-level field wins."""
    if field in old:
        new[field] = old[field]
    else:
        new.pop(field, None)
