"""PodSecurity: namespaces say by labels which standard their pods must keep (enforce), and about which to warn.

Pods that break the enforced standard are refused; workloads whose template would make such pods are let through with a warning,
as they may still be changed. The standards themselves are in ``podstandards``.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from apimachinery import errors, meta
from apimachinery.errors import FieldError, invalid_value, quote
from apiserver.admission.chain import Attributes, Plugin
from apiserver.admission.lister import Lister
from apiserver.admission.podstandards import BASELINE, RESTRICTED, Violation, violations

Object = dict[str, Any]
PRIVILEGED = "privileged"
#: From the loosest to the strictest.
LEVELS = (PRIVILEGED, BASELINE, RESTRICTED)
_PREFIX = "pod-security.kubernetes.io/"
_MODES = ("enforce", "audit", "warn")
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)")
#: A change of a namespace's labels is checked against this many of its pods.
_MAX_PODS = 3000
#: Where each kind that makes pods keeps the template.
_TEMPLATES: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "pods"): (),
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("apps", "daemonsets"): ("spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
}
_IGNORED_SUBRESOURCES = frozenset(("exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"))


class Standard(NamedTuple):
    """``minor`` None is the latest version."""

    level: str
    minor: int | None

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.minor is None else f'v1.{self.minor}'}"


class Policy(NamedTuple):
    enforce: Standard = Standard(PRIVILEGED, None)
    audit: Standard = Standard(PRIVILEGED, None)
    warn: Standard = Standard(PRIVILEGED, None)

    @property
    def levels(self) -> set[str]:
        return {self.enforce.level, self.audit.level, self.warn.level}


@dataclass(frozen=True)
class Settings:
    """What the plugin's configuration says: the policy of namespaces without labels, and who is exempt from all of it."""

    defaults: Policy = field(default_factory=Policy)
    usernames: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    runtime_classes: frozenset[str] = frozenset()


def settings(configuration: Object) -> Settings:
    """From a ``PodSecurityConfiguration``. ValueError says what is wrong with it."""
    defaults, exemptions = configuration.get("defaults") or {}, configuration.get("exemptions") or {}
    unknown = set(defaults) - {m + s for m in _MODES for s in ("", "-version")}
    if unknown:
        raise ValueError(f"PodSecurityConfiguration: defaults has no field {', '.join(sorted(unknown))}")
    labels = {_PREFIX + field: str(value) for field, value in defaults.items() if value}
    labels.setdefault(_PREFIX + "warn", PRIVILEGED)  # the enforced level does not spread to warnings here
    policy, found = policy_of(labels, Policy())
    if found:
        raise ValueError("PodSecurityConfiguration: " + errors.aggregate(map(str, found)))
    return Settings(
        policy,
        frozenset(exemptions.get("usernames") or ()),
        frozenset(exemptions.get("namespaces") or ()),
        frozenset(exemptions.get("runtimeClasses") or ()),
    )


def policy_of(labels: dict[str, str], defaults: Policy) -> tuple[Policy, list[FieldError]]:
    """What a namespace's labels ask for, and what is wrong with them; a wrong enforce label is taken as the strictest."""
    found: list[FieldError] = []
    chosen: dict[str, Standard] = {}
    valid_level: set[str] = set()
    for mode in _MODES:
        level, minor = getattr(defaults, mode)
        wanted = labels.get(_PREFIX + mode)
        if wanted is not None:
            if wanted in LEVELS:
                level = wanted
                valid_level.add(mode)
            else:
                level = RESTRICTED if mode == "enforce" else PRIVILEGED
                found.append(_wrong(mode, wanted, f"must be one of {', '.join(LEVELS)}"))
        version = labels.get(f"{_PREFIX}{mode}-version")
        if version is not None:
            match = _VERSION.fullmatch(version)
            minor = int(match[1]) if match else None
            if not match and version != "latest":
                found.append(_wrong(f"{mode}-version", version, 'must be "latest" or "v1.x"'))
        chosen[mode] = Standard(level, minor)
    enforce, warn = chosen["enforce"], chosen["warn"]
    unsaid = _PREFIX + "warn" not in labels and "enforce" in valid_level
    if unsaid and LEVELS.index(enforce.level) > LEVELS.index(warn.level):
        minor = warn.minor if f"{_PREFIX}warn-version" in labels else enforce.minor
        chosen["warn"] = Standard(enforce.level, minor)
    return Policy(**chosen), found


def _wrong(label: str, value: str, why: str) -> FieldError:
    return invalid_value(f"metadata.labels[{_PREFIX}{label}]", value, why)


class PodSecurity(Plugin):
    handles = frozenset({"CREATE", "UPDATE"})

    def __init__(
        self, namespaces: Lister, pods: Callable[[str], list[Object]], configured: Settings | None = None
    ) -> None:
        self._namespaces = namespaces
        self._pods = pods
        self._settings = configured or Settings()

    async def validate(self, attributes: Attributes) -> None:
        resource = attributes.resource
        if (resource.group, resource.plural) == ("", "namespaces"):
            if not attributes.subresource:
                self._namespace(attributes)
            return
        path = _TEMPLATES.get((resource.group, resource.plural))
        if path is None or attributes.namespace in self._settings.namespaces:
            return
        if attributes.subresource and (path or attributes.subresource in _IGNORED_SUBRESOURCES):
            return
        if attributes.user.name in self._settings.usernames:
            return
        policy = self._policy(attributes.namespace)
        if policy is not None and attributes.obj is not None:
            self._judge(attributes, policy, path)

    def _policy(self, namespace: str) -> Policy | None:
        """None where nothing has to be looked at: the common case, found without decoding the namespace."""
        body = self._namespaces.body(namespace)
        labelled = body is not None and _PREFIX.encode() in body
        found = self._namespaces.get(namespace) if labelled else None
        labels = (found["metadata"].get("labels") or {}) if found else {}
        policy, wrong = policy_of(labels, self._settings.defaults)
        return policy if wrong or policy.levels != {PRIVILEGED} else None

    def _judge(self, attributes: Attributes, policy: Policy, path: tuple[str, ...]) -> None:
        pod: Object | None = attributes.obj
        for step in path:
            pod = (pod or {}).get(step)
        if pod is None:
            return
        enforced = not path
        if enforced and attributes.operation == "UPDATE" and not _significant(pod, attributes.old or {}):
            return
        metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
        if spec.get("runtimeClassName") in self._settings.runtime_classes:
            return
        if enforced and (found := violations(*policy.enforce, metadata, spec)):
            why = f"violates PodSecurity {quote(str(policy.enforce))}: {_listed(found)}"
            raise attributes.forbidden(why)
        if found := violations(*policy.warn, metadata, spec):
            attributes.warnings.append(f"would violate PodSecurity {quote(str(policy.warn))}: {_listed(found)}")

    # --- namespaces

    def _namespace(self, attributes: Attributes) -> None:
        assert attributes.obj is not None, "an object is created or updated"
        labels = attributes.obj["metadata"].get("labels") or {}
        policy, wrong = policy_of(labels, self._settings.defaults)
        name = attributes.obj["metadata"]["name"]
        if attributes.operation == "CREATE":
            if wrong:
                raise errors.invalid(attributes.resource, name, wrong)
            self._warn_of_exemption(attributes, name, policy, labels)
            return
        before = (attributes.old or {}).get("metadata", {}).get("labels") or {}
        if before == labels:
            return
        old_policy, old_wrong = policy_of(before, self._settings.defaults)
        if wrong and wrong != old_wrong:
            raise errors.invalid(attributes.resource, name, wrong)
        new, old = policy.enforce, old_policy.enforce
        if new == old or new.level == PRIVILEGED:
            return
        if new.minor == old.minor and LEVELS.index(new.level) <= LEVELS.index(old.level):
            return
        if name in self._settings.namespaces:
            self._warn_of_exemption(attributes, name, policy, labels)
        else:
            attributes.warnings += self._warnings_of_pods(name, new)

    def _warn_of_exemption(self, attributes: Attributes, name: str, policy: Policy, labels: dict[str, str]) -> None:
        if name not in self._settings.namespaces or policy.levels == {PRIVILEGED} or policy == self._settings.defaults:
            return
        said = [
            f"{mode}={getattr(policy, mode)}"
            for mode in _MODES
            if getattr(policy, mode).level != PRIVILEGED
            and (_PREFIX + mode in labels or f"{_PREFIX}{mode}-version" in labels)
        ]
        attributes.warnings.append(
            f"namespace {quote(name)} is exempt from Pod Security, and the policy ({', '.join(said)}) will be ignored"
        )

    def _warnings_of_pods(self, namespace: str, standard: Standard) -> list[str]:
        """Which pods that are already there break a namespace's new standard: one pod of each owner first."""
        pods = self._one_of_each_owner_first(self._pods(namespace))
        by_reason: dict[str, list[str]] = {}
        for pod in pods[:_MAX_PODS]:
            found = violations(*standard, pod["metadata"], pod["spec"])
            if found:
                by_reason.setdefault(", ".join(v.reason for v in found), []).append(pod["metadata"]["name"])
        warnings = []
        if len(pods) > _MAX_PODS:
            checked = f"the first {_MAX_PODS} of {len(pods)} existing pods"
            warnings.append(f"new PodSecurity enforce level only checked against {checked}")
        if by_reason:
            level = quote(str(standard))
            warnings.append(
                f"existing pods in namespace {quote(namespace)} violate the new PodSecurity enforce level {level}"
            )
        return warnings + sorted(f"{_and_others(names)}: {reason}" for reason, names in by_reason.items())

    def _one_of_each_owner_first(self, pods: Iterable[Object]) -> list[Object]:
        first: list[Object] = []
        later: list[Object] = []
        owners: set[str] = set()
        for pod in pods:
            if pod["spec"].get("runtimeClassName") in self._settings.runtime_classes:
                continue
            owner = meta.controller_of(pod)
            uid = owner["uid"] if owner is not None else ""
            (later if uid and uid in owners else first).append(pod)
            owners.add(uid)
        return first + later


def _listed(found: list[Violation]) -> str:
    return ", ".join(map(str, found))


def _and_others(names: list[str]) -> str:
    more = len(names) - 1
    shown = min(names)
    return shown if not more else f"{shown} (and {more} other pod{'s' if more > 1 else ''})"


def _significant(new: Object, old: Object) -> bool:
    """Whether an update changes what the standards look at: images stand for it, the rest of a container cannot change."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    for kind in ("containers", "initContainers"):
        images, had = ([c.get("image") for c in s.get(kind) or ()] for s in (spec, before))
        if images != had:
            return True
    known = {c.get("name"): c.get("image") for c in before.get("ephemeralContainers") or ()}
    return any(
        c.get("name") not in known or known[c.get("name")] != c.get("image")
        for c in spec.get("ephemeralContainers") or ()
    )
