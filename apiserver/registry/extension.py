"""Kinds that configure the API server itself: admission webhooks and policies, flow control, certificate requests."""

from typing import Any

from apimachinery.duration import human
from apimachinery.errors import FieldError
from apimachinery.table import Column
from apiserver.registry.admission_rules import validate_policy, validate_policy_binding, validate_webhooks
from apiserver.registry.certificate_rules import (
    keep_decisions,
    stamp_conditions,
    validate_request,
    validate_request_update,
)
from apiserver.registry.flow_rules import validate_flow_schema, validate_flow_status, validate_priority_level
from apiserver.registry.objectmeta import keep_for_status
from apiserver.registry.objectmeta import validate_update as validate_metadata_update
from apiserver.registry.strategy import AGE, NAME, Object, Strategy

# --- webhooks ---------------------------------------------------------------------------------------------------


class WebhooksStrategy(Strategy):
    allow_unconditional_update = False
    columns = (
        NAME,
        Column("Webhooks", "integer", description="Webhooks indicates the number of webhooks registered"),
        AGE,
    )

    def default(self, obj: Object) -> None:
        for webhook in obj.get("webhooks") or ():
            webhook.setdefault("failurePolicy", "Fail")
            webhook.setdefault("matchPolicy", "Equivalent")
            webhook.setdefault("namespaceSelector", {})
            webhook.setdefault("objectSelector", {})
            webhook.setdefault("timeoutSeconds", 10)
            if obj.get("kind") == "MutatingWebhookConfiguration":
                webhook.setdefault("reinvocationPolicy", "Never")
            service = (webhook.get("clientConfig") or {}).get("service")
            if service is not None:
                service.setdefault("port", 443)
            for rule in webhook.get("rules") or ():
                rule.setdefault("scope", "*")

    def prepare_for_create(self, obj: Object) -> None:
        obj["metadata"]["generation"] = 1

    def prepare_for_update(self, new: Object, old: Object) -> None:
        if new.get("webhooks") != old.get("webhooks"):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def rules(self, obj: Object) -> list[FieldError]:
        return validate_webhooks(obj.get("webhooks") or [])

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        found = validate_metadata_update(new["metadata"], old["metadata"])
        return found + validate_webhooks(new.get("webhooks") or [], old.get("webhooks") or [])

    def cells(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"]["name"], len(obj.get("webhooks") or ()), self.age(obj, now)]


# --- admission policies -----------------------------------------------------------------------------------------


def _default_match(constraints: Object | None) -> None:
    if constraints is None:
        return
    constraints.setdefault("matchPolicy", "Equivalent")
    constraints.setdefault("namespaceSelector", {})
    constraints.setdefault("objectSelector", {})
    for field in ("resourceRules", "excludeResourceRules"):
        for rule in constraints.get(field) or ():
            rule.setdefault("scope", "*")


class AdmissionPolicyStrategy(Strategy):
    allow_unconditional_update = False
    has_status = True
    has_generation = True
    columns = (
        NAME,
        Column(
            "Validations",
            "integer",
            description="Validations indicates the number of validation rules defined in this configuration",
        ),
        Column("ParamKind", description="ParamKind specifies the kind of resources used to parameterize this policy"),
        AGE,
    )

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("failurePolicy", "Fail")
        _default_match(spec.get("matchConstraints"))

    def rules(self, obj: Object) -> list[FieldError]:
        return validate_policy(obj["spec"], obj["metadata"].get("name", ""), "spec")

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        kind = spec.get("paramKind")
        shown = f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else "<unset>"
        return [obj["metadata"]["name"], len(spec.get("validations") or ()), shown, self.age(obj, now)]


class AdmissionPolicyBindingStrategy(Strategy):
    allow_unconditional_update = False
    has_generation = True
    columns = (
        NAME,
        Column(
            "PolicyName", description="PolicyName indicates the policy definition which the policy binding binded to"
        ),
        Column("ParamRef", description="ParamRef indicates the param resource which sets the configration param"),
        AGE,
    )

    def default(self, obj: Object) -> None:
        _default_match(obj.setdefault("spec", {}).get("matchResources"))

    def rules(self, obj: Object) -> list[FieldError]:
        return validate_policy_binding(obj["spec"], "spec")

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        reference = spec.get("paramRef")
        shown = "<unset>"
        if reference:
            shown = "/".join(p for p in (reference.get("namespace"), reference.get("name")) if p) or "*"
        return [obj["metadata"]["name"], spec.get("policyName", ""), shown, self.age(obj, now)]


# --- flow control -----------------------------------------------------------------------------------------------


class FlowSchemaStrategy(Strategy):
    has_status = True
    has_generation = True
    columns = (
        NAME,
        Column("PriorityLevel", description="`priorityLevelConfiguration` should reference a PriorityLevelConfiguration in the "
               "cluster."),
        Column("MatchingPrecedence", "integer", description="`matchingPrecedence` is used to choose among the FlowSchemas that match "
               "a given request."),
        Column("DistinguisherMethod", description="`distinguisherMethod` defines how to compute the flow distinguisher for requests "
               "that match this schema."),
        AGE,
        Column("MissingPL", description="References a broken or non-existent PriorityLevelConfiguration"),
    )  # fmt: skip

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("matchingPrecedence"):
            spec["matchingPrecedence"] = 1000

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        keep_for_status(new["metadata"], old["metadata"])

    def rules(self, obj: Object) -> list[FieldError]:
        found = validate_flow_schema(obj["spec"], obj["metadata"].get("name", ""), "spec")
        return found + validate_flow_status(obj)

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        return validate_flow_status(new)

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        dangling = next((c.get("status") for c in status.get("conditions") or () if c.get("type") == "Dangling"), "?")
        return [
            obj["metadata"]["name"],
            (spec.get("priorityLevelConfiguration") or {}).get("name", ""),
            spec.get("matchingPrecedence", 0),
            (spec.get("distinguisherMethod") or {}).get("type") or "<none>",
            self.age(obj, now),
            dangling,
        ]


_QUEUES = {"queues": 64, "handSize": 8, "queueLengthLimit": 50}


class PriorityLevelStrategy(Strategy):
    has_status = True
    has_generation = True
    columns = (
        NAME,
        Column("Type", description="`type` indicates whether this priority level is subject to limitation on request execution."),
        Column("NominalConcurrencyShares", description="`nominalConcurrencyShares` (NCS) contributes to the computation of the "
               "NominalConcurrencyLimit (NominalCL) of this level."),
        Column("Queues", description="`queues` is the number of queues for this priority level."),
        Column("HandSize", description="`handSize` is a small positive number that configures the shuffle sharding of requests into "
               "queues."),
        Column("QueueLengthLimit", description="`queueLengthLimit` is the maximum number of requests allowed to be waiting in a given "
               "queue of this priority level at a time."),
        AGE,
    )  # fmt: skip

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("type") == "Exempt":
            exempt = spec.setdefault("exempt", {})
            exempt.setdefault("nominalConcurrencyShares", 0)
            exempt.setdefault("lendablePercent", 0)
        if "limited" in spec:
            spec["limited"].setdefault("nominalConcurrencyShares", 30)
            spec["limited"].setdefault("lendablePercent", 0)
            queuing = (spec["limited"].get("limitResponse") or {}).get("queuing")
            if queuing is not None:
                for field, value in _QUEUES.items():
                    if not queuing.get(field):
                        queuing[field] = value

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        keep_for_status(new["metadata"], old["metadata"])

    def rules(self, obj: Object) -> list[FieldError]:
        found = validate_priority_level(obj["spec"], obj["metadata"].get("name", ""), "spec")
        return found + validate_flow_status(obj)

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        return validate_flow_status(new)

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        limited, exempt = spec.get("limited") or {}, spec.get("exempt") or {}
        queuing = (limited.get("limitResponse") or {}).get("queuing") or {}
        shares = limited.get("nominalConcurrencyShares", exempt.get("nominalConcurrencyShares", "<none>"))
        return [
            obj["metadata"]["name"],
            spec.get("type", ""),
            str(shares),
            *(str(queuing.get(f, "<none>")) for f in ("queues", "handSize", "queueLengthLimit")),
            self.age(obj, now),
        ]


# --- certificate requests ---------------------------------------------------------------------------------------


class CertificateRequestStrategy(Strategy):
    has_status = True
    selectable = ("spec.signerName",)
    columns = (
        NAME,
        AGE,
        Column("SignerName", description="signerName indicates the requested signer, and is a qualified name."),
        Column("Requestor", description="request contains an x509 certificate signing request encoded in a \"CERTIFICATE REQUEST\" PEM "
               "block."),
        Column("RequestedDuration", description="expirationSeconds is the requested duration of validity of the issued certificate."),
        Column("Condition", description="conditions applied to the request."),
    )  # fmt: skip

    def validate_name(self, name: str, prefix: bool) -> list[str]:
        """Any name will do."""
        return []

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        new["spec"] = old.get("spec") or {}

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        keep_decisions(new, old)
        stamp_conditions(new, old)

    def before_approval_update(self, new: Object, old: Object) -> None:
        self._carry_over(new, old)
        self.prepare_for_approval(new, old)
        self._refuse(new, self._update_problems(new, old, decides=True))

    def prepare_for_approval(self, new: Object, old: Object) -> None:
        """``/approval`` adds Approved and Denied conditions and touches nothing else."""
        conditions = (new.get("status") or {}).get("conditions")
        new["spec"], new["status"] = old.get("spec") or {}, dict(old.get("status") or {})
        if conditions:
            new["status"]["conditions"] = conditions
        else:
            new["status"].pop("conditions", None)
        stamp_conditions(new, old)

    def rules(self, obj: Object) -> list[FieldError]:
        return validate_request(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return self._update_problems(new, old)

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return self._update_problems(new, old, signs=True)

    def _update_problems(
        self, new: Object, old: Object, *, decides: bool = False, signs: bool = False
    ) -> list[FieldError]:
        found = validate_request_update(new, old, decides=decides, signs=signs)
        return found + validate_metadata_update(new["metadata"], old["metadata"])

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        signer = (obj.get("spec") or {}).get("signerName", "")
        return {**super().selectable_fields(obj), "spec.signerName": signer}

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        conditions = {c.get("type") for c in status.get("conditions") or ()}
        decided = "Denied" if "Denied" in conditions else "Approved" if "Approved" in conditions else "Pending"
        shown = [
            decided,
            *(["Failed"] if "Failed" in conditions else []),
            *(["Issued"] if status.get("certificate") else []),
        ]
        seconds = spec.get("expirationSeconds")
        return [
            obj["metadata"]["name"],
            self.age(obj, now),
            spec.get("signerName") or "<none>",
            spec.get("username", ""),
            human(seconds) if seconds is not None else "<none>",
            ",".join(shown),
        ]
