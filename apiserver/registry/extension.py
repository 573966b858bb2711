"""Kinds that configure the API server itself: admission webhooks and policies, flow control, certificate requests."""

from typing import Any

from apimachinery.duration import human
from apimachinery.errors import FieldError, duplicate, invalid_value, not_supported, required
from apimachinery.selectors import validate_label_selector
from apimachinery.table import Column
from apiserver.registry.objectmeta import IMMUTABLE, keep_for_status
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
        found: list[FieldError] = []
        seen: set[str] = set()
        for i, webhook in enumerate(obj.get("webhooks") or ()):
            where, name = f"webhooks[{i}]", webhook.get("name", "")
            if name in seen:
                found.append(duplicate(f"{where}.name", name))
            seen.add(name)
            found += _webhook(webhook, where)
        return found

    def cells(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"]["name"], len(obj.get("webhooks") or ()), self.age(obj, now)]


def _webhook(webhook: Object, path: str) -> list[FieldError]:
    name, client = webhook.get("name", ""), webhook.get("clientConfig") or {}
    found: list[FieldError] = []
    if not name:
        found.append(required(f"{path}.name"))
    elif len(name.split(".")) < 3:
        detail = "should be a domain with at least three segments separated by dots"
        found.append(invalid_value(f"{path}.name", name, detail))
    if "sideEffects" not in webhook:
        found.append(required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun"))
    elif webhook["sideEffects"] not in ("None", "NoneOnDryRun"):
        found.append(not_supported(f"{path}.sideEffects", webhook["sideEffects"], ("None", "NoneOnDryRun")))
    if not webhook.get("admissionReviewVersions"):
        found.append(required(f"{path}.admissionReviewVersions", "must specify one of v1, v1beta1"))
    if ("url" in client) == ("service" in client):
        found.append(required(f"{path}.clientConfig", "exactly one of url or service is required"))
    seconds = webhook["timeoutSeconds"]
    if not 1 <= seconds <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        found.append(invalid_value(f"{path}.timeoutSeconds", seconds, detail))
    for field, choices in (("failurePolicy", ("Fail", "Ignore")), ("matchPolicy", ("Equivalent", "Exact"))):
        if webhook[field] not in choices:
            found.append(not_supported(f"{path}.{field}", webhook[field], choices))
    for field in ("namespaceSelector", "objectSelector"):
        found += validate_label_selector(webhook.get(field), f"{path}.{field}")
    for i, rule in enumerate(webhook.get("rules") or ()):
        fields = ("operations", "apiGroups", "apiVersions", "resources")
        found += [required(f"{path}.rules[{i}].{f}") for f in fields if not rule.get(f)]
    return found


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
        spec = obj["spec"]
        found: list[FieldError] = []
        if "matchConstraints" not in spec:
            found.append(required("spec.matchConstraints"))
        elif not spec["matchConstraints"].get("resourceRules"):
            found.append(required("spec.matchConstraints.resourceRules"))
        if not spec.get("validations") and not spec.get("auditAnnotations"):
            detail = "validations or auditAnnotations must contain at least one item"
            found.append(required("spec.validations", detail))
        for i, validation in enumerate(spec.get("validations") or ()):
            if not validation.get("expression", "").strip():
                found.append(required(f"spec.validations[{i}].expression", "expression is not specified"))
        return found

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
        return [required(f"spec.{f}") for f in ("policyName", "validationActions") if not obj["spec"].get(f)]

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
        spec = obj["spec"]
        found: list[FieldError] = []
        if not 1 <= spec["matchingPrecedence"] <= 10000:
            detail = "must be between 1 and 10000, both inclusive"
            found.append(invalid_value("spec.matchingPrecedence", spec["matchingPrecedence"], detail))
        if not (spec.get("priorityLevelConfiguration") or {}).get("name"):
            detail = "must reference a priority level"
            found.append(required("spec.priorityLevelConfiguration.name", detail))
        return found

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
        spec = obj["spec"]
        if spec.get("type") not in ("Exempt", "Limited"):
            return [not_supported("spec.type", spec.get("type", ""), ("Exempt", "Limited"))]
        if spec["type"] == "Limited" and "limited" not in spec:
            return [required("spec.limited", "must not be empty when type is Limited")]
        return []

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

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        new["spec"] = old.get("spec") or {}

    def prepare_for_approval(self, new: Object, old: Object) -> None:
        """``/approval`` adds Approved and Denied conditions and touches nothing else."""
        conditions = (new.get("status") or {}).get("conditions")
        new["spec"], new["status"] = old.get("spec") or {}, dict(old.get("status") or {})
        if conditions:
            new["status"]["conditions"] = conditions
        else:
            new["status"].pop("conditions", None)

    def rules(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        found: list[FieldError] = []
        if not spec.get("request"):
            found.append(invalid_value("spec.request", "", "PEM block type must be CERTIFICATE REQUEST"))
        if not spec.get("usages"):
            found.append(required("spec.usages"))
        signer = spec.get("signerName", "")
        if not signer:
            found.append(required("spec.signerName"))
        elif "/" not in signer:
            detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
            found.append(invalid_value("spec.signerName", signer, detail))
        if spec.get("expirationSeconds", 600) < 600:
            detail = "may not specify a duration less than 600 seconds (10 minutes)"
            found.append(invalid_value("spec.expirationSeconds", spec["expirationSeconds"], detail))
        return found

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        issued = (old.get("status") or {}).get("certificate")
        if issued and (new.get("status") or {}).get("certificate") != issued:
            return [invalid_value("status.certificate", "<omitted>", IMMUTABLE)]
        return []

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
