"""Leases: heartbeats of nodes and leaders' claims."""

from typing import Any

from apimachinery.errors import FieldError, forbidden_field, invalid_value
from apimachinery.table import Column
from apiserver.registry.objectmeta import NON_NEGATIVE
from apiserver.registry.strategy import AGE, NAME, Object, Strategy


class LeaseStrategy(Strategy):
    allow_create_on_update = True
    # A leader that overwrites what it has not read would steal the lease.
    allow_unconditional_update = False
    columns = (
        NAME,
        Column(
            "Holder",
            description="holderIdentity contains the identity of the holder of a current lease. If Coordinated Leader Election is "
            "used, the holder identity must be equal to the elected LeaseCandidate.metadata.name field.",
        ),
        AGE,
    )

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})

    def rules(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        found: list[FieldError] = []
        if spec.get("leaseDurationSeconds", 1) <= 0:
            seconds = spec["leaseDurationSeconds"]
            found.append(invalid_value("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
        if spec.get("leaseTransitions", 0) < 0:
            found.append(invalid_value("spec.leaseTransitions", spec["leaseTransitions"], NON_NEGATIVE))
        if spec.get("preferredHolder") and not spec.get("strategy"):
            found.append(forbidden_field("spec.preferredHolder", "may only be specified if `strategy` is defined"))
        return found

    def cells(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"]["name"], (obj.get("spec") or {}).get("holderIdentity", ""), self.age(obj, now)]
