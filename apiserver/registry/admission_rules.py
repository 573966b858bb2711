"""Rules of webhook configurations and of admission policies.

CEL expressions are only asked to be there: nothing here compiles them.
"""

import re
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from apimachinery import names
from apimachinery.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid_value,
    not_supported,
    required,
    too_many,
)
from apimachinery.selectors import validate_label_selector

Object = dict[str, Any]

_FAILURE, _MATCH = ("Fail", "Ignore"), ("Equivalent", "Exact")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_HARMLESS = ("None", "NoneOnDryRun")
_SIDE_EFFECTS = ("None", "NoneOnDryRun", "Some", "Unknown")
_VERSIONS = ("v1", "v1beta1")
_URL_FORM = "; desired format: https://host[/path]"


def _choice(holder: Object, field: str, path: str, choices: tuple[str, ...]) -> list[FieldError]:
    value = holder.get(field)
    return [] if value is None or value in choices else [not_supported(f"{path}.{field}", value, choices)]


# --- webhooks ---------------------------------------------------------------------------------------------------


def validate_webhooks(webhooks: list[Object], old: list[Object] | None = None) -> list[FieldError]:
    """What the stored ones do wrong already, an update may go on doing."""
    stored = old or []
    side_effects = _HARMLESS if all(w.get("sideEffects") in _HARMLESS for w in stored) else _SIDE_EFFECTS
    recognized = all(set(_VERSIONS) & set(w.get("admissionReviewVersions") or _VERSIONS) for w in stored)
    unique = all(n == 1 for n in Counter(w.get("name", "") for w in stored).values())
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, webhook in enumerate(webhooks):
        where, name = f"webhooks[{i}]", webhook.get("name", "")
        found += _webhook(webhook, where, side_effects)
        found += _review_versions(webhook.get("admissionReviewVersions") or [], where, recognized)
        if unique and name and name in seen:
            found.append(duplicate(f"{where}.name", name))
        seen.add(name)
    return found


def _webhook(webhook: Object, path: str, side_effects: tuple[str, ...]) -> list[FieldError]:
    found = _full_name(webhook.get("name", ""), f"{path}.name")
    for i, rule in enumerate(webhook.get("rules") or ()):
        found += _rule(rule, f"{path}.rules[{i}]")
    found += _choice(webhook, "failurePolicy", path, _FAILURE) + _choice(webhook, "matchPolicy", path, _MATCH)
    if "sideEffects" not in webhook:
        found.append(required(f"{path}.sideEffects", f"must specify one of {', '.join(side_effects)}"))
    found += _choice(webhook, "sideEffects", path, side_effects)
    if not 1 <= webhook.get("timeoutSeconds", 1) <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        found.append(invalid_value(f"{path}.timeoutSeconds", webhook["timeoutSeconds"], detail))
    for field in ("namespaceSelector", "objectSelector"):
        found += validate_label_selector(webhook.get(field), f"{path}.{field}")
    found += _choice(webhook, "reinvocationPolicy", path, ("IfNeeded", "Never"))
    client, where = webhook.get("clientConfig") or {}, f"{path}.clientConfig"
    if ("url" in client) == ("service" in client):
        found.append(required(where, "exactly one of url or service is required"))
    elif "url" in client:
        found += _url(client["url"], f"{where}.url")
    else:
        found += _service(client["service"], f"{where}.service")
    return found + _match_conditions(webhook.get("matchConditions") or [], f"{path}.matchConditions")


def _full_name(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    if problems := names.dns1123_subdomain(name):
        return [invalid_value(path, name, ",".join(problems))]
    if name.count(".") < 2:
        return [invalid_value(path, name, "should be a domain with at least three segments separated by dots")]
    return []


def _url(url: str, path: str) -> list[FieldError]:
    try:
        parts = urlsplit(url)
    except ValueError as e:
        return [required(path, f"url must be a valid URL: {e}{_URL_FORM}")]
    user, _, host = parts.netloc.rpartition("@")
    found: list[FieldError] = []
    if parts.scheme != "https":
        detail = f"'https' is the only allowed URL scheme{_URL_FORM}"
        found.append(invalid_value(path, parts.scheme, detail))
    if not host:
        found.append(invalid_value(path, host, f"host must be specified{_URL_FORM}"))
    if user:
        found.append(invalid_value(path, user, "user information is not permitted in the URL"))
    if parts.fragment:
        found.append(invalid_value(path, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        found.append(invalid_value(path, parts.query, "query parameters are not permitted in the URL"))
    return found


def _service(service: Object, path: str) -> list[FieldError]:
    found = [required(f"{path}.{f}", f"service {f} is required") for f in ("name", "namespace") if not service.get(f)]
    port, url_path = service.get("port", 443), service.get("path", "")
    if problems := names.port_number(port):
        found.append(invalid_value(f"{path}.port", port, f"port is not valid: {', '.join(problems)}"))
    if url_path in ("", "/"):
        return found
    where = f"{path}.path"
    if not url_path.startswith("/"):
        found.append(invalid_value(where, url_path, "must start with a '/'"))
    steps = [""] if url_path == "//" else url_path[1:].removesuffix("/").split("/")
    for i, step in enumerate(steps):
        problems = [f"segment[{i}]: {p}" for p in names.dns1123_subdomain(step)]
        problems = problems if step else [f"segment[{i}] may not be empty"]
        found += [invalid_value(where, url_path, p) for p in problems]
    return found


def _review_versions(versions: list[str], path: str, recognized: bool) -> list[FieldError]:
    where, known = f"{path}.admissionReviewVersions", ", ".join(_VERSIONS)
    if not versions:
        return [required(where, f"must specify one of {known}")]
    found: list[FieldError] = []
    for i, version in enumerate(versions):
        if version in versions[:i]:
            found.append(invalid_value(f"{where}[{i}]", version, "duplicate version"))
        else:
            found += [invalid_value(f"{where}[{i}]", version, p) for p in names.dns1035_label(version)]
    if recognized and not set(versions) & set(_VERSIONS):
        found.append(invalid_value(where, versions, f"must include at least one of {known}"))
    return found


# --- which requests ---------------------------------------------------------------------------------------------


def _rule(rule: Object, path: str) -> list[FieldError]:
    operations = rule.get("operations") or []
    found = _alone(operations, f"{path}.operations", "operations")
    for i, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            found.append(not_supported(f"{path}.operations[{i}]", operation, _OPERATIONS))
    versions = rule.get("apiVersions") or []
    found += _alone(rule.get("apiGroups") or [], f"{path}.apiGroups", "API groups")
    found += _alone(versions, f"{path}.apiVersions", "API versions")
    found += [required(f"{path}.apiVersions[{i}]") for i, v in enumerate(versions) if not v]
    found += _resources(rule.get("resources") or [], f"{path}.resources")
    return found + _choice(rule, "scope", path, _SCOPES)


def _alone(values: list[str], path: str, what: str) -> list[FieldError]:
    """A list that must have something, and nothing beside ``*``."""
    if not values:
        return [required(path)]
    if len(values) > 1 and "*" in values:
        return [invalid_value(path, values, f"if '*' is present, must not specify other {what}")]
    return []


def _resources(resources: list[str], path: str) -> list[FieldError]:
    found = [] if resources else [required(path)]
    every_part: set[str] = set()
    every_owner: set[str] = set()
    plain = False
    for i, resource in enumerate(resources):
        where = f"{path}[{i}]"
        if not resource:
            found.append(required(where))
            continue
        owner, slash, part = resource.partition("/")
        if not slash:
            plain = resource != "*"
            continue
        if owner in every_part:
            detail = f"if '{owner}/*' is present, must not specify {resource}"
            found.append(invalid_value(where, resource, detail))
        if part in every_owner:
            detail = f"if '*/{part}' is present, must not specify {resource}"
            found.append(invalid_value(where, resource, detail))
        if part == "*":
            every_part.add(owner)
        if owner == "*":
            every_owner.add(part)
    if len(resources) > 1 and "*/*" in resources:
        found.append(invalid_value(path, resources, "if '*/*' is present, must not specify other resources"))
    if "*" in resources and plain:
        detail = "if '*' is present, must not specify other resources without subresources"
        found.append(invalid_value(path, resources, detail))
    return found


def _match_resources(match: Object, path: str) -> list[FieldError]:
    found = _choice(match, "matchPolicy", path, _MATCH)
    for field in ("namespaceSelector", "objectSelector"):
        found += validate_label_selector(match.get(field), f"{path}.{field}")
    for field in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(match.get(field) or ()):
            where, given = f"{path}.{field}[{i}]", rule.get("resourceNames") or []
            for j, name in enumerate(given):
                problems = names.path_segment_name(name)
                found += [invalid_value(f"{where}.resourceNames[{j}]", name, p) for p in problems]
                if name in given[:j]:
                    found.append(duplicate(f"{where}.resourceNames[{j}]", name))
            found += _rule(rule, where)
    return found


def _match_conditions(conditions: list[Object], path: str) -> list[FieldError]:
    found = [too_many(path, len(conditions), 64)] if len(conditions) > 64 else []
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        where, name = f"{path}[{i}]", condition.get("name", "")
        if not condition.get("expression", "").strip():
            found.append(required(f"{where}.expression"))
        if not name:
            found.append(required(f"{where}.name"))
        else:
            found += [invalid_value(f"{where}.name", name, p) for p in names.qualified_name(name)]
            if name in seen:
                found.append(duplicate(f"{where}.name", name))
        seen.add(name)
    return found


# --- policies ---------------------------------------------------------------------------------------------------

_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_ACTIONS = ("Audit", "Deny", "Warn")
_MAX_AUDIT_ANNOTATIONS, _MAX_VALUE_EXPRESSION = 20, 5 * 1024
_CEL_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_CEL_RESERVED = frozenset(
    (
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
        "let", "loop", "package", "namespace", "return", "var", "void", "while",
    )
)  # fmt: skip
_ONE_OF_BOTH = "validations or auditAnnotations must contain at least one item"


def validate_policy(spec: Object, name: str, path: str) -> list[FieldError]:
    found = _choice(spec, "failurePolicy", path, _FAILURE)
    if "paramKind" in spec:
        found += _param_kind(spec["paramKind"], f"{path}.paramKind")
    if "matchConstraints" not in spec:
        found.append(required(f"{path}.matchConstraints"))
    else:
        found += _match_resources(spec["matchConstraints"], f"{path}.matchConstraints")
        if not spec["matchConstraints"].get("resourceRules"):
            found.append(required(f"{path}.matchConstraints.resourceRules"))
    found += _match_conditions(spec.get("matchConditions") or [], f"{path}.matchConditions")
    for i, variable in enumerate(spec.get("variables") or ()):
        found += _variable(variable, f"{path}.variables[{i}]")
    annotations = spec.get("auditAnnotations") or []
    if not spec.get("validations") and not annotations:
        return [*found, *(required(f"{path}.{f}", _ONE_OF_BOTH) for f in ("validations", "auditAnnotations"))]
    for i, validation in enumerate(spec.get("validations") or ()):
        found += _validation(validation, f"{path}.validations[{i}]")
    if len(annotations) > _MAX_AUDIT_ANNOTATIONS:
        detail = f"must not have more than {_MAX_AUDIT_ANNOTATIONS} auditAnnotations"
        found.append(invalid_value(f"{path}.auditAnnotations", annotations, detail))
    keys = [a.get("key", "") for a in annotations]
    for i, annotation in enumerate(annotations):
        where = f"{path}.auditAnnotations[{i}]"
        found += _audit_annotation(annotation, name, where)
        if keys[i] in keys[:i]:
            found.append(duplicate(f"{where}.key", keys[i]))
    return found


def _param_kind(kind: Object, path: str) -> list[FieldError]:
    where, api_version, name = f"{path}.apiVersion", kind.get("apiVersion", ""), kind.get("kind", "")
    group, _, version = api_version.rpartition("/")
    found: list[FieldError] = []
    if not api_version:
        found.append(required(where))
    elif api_version.count("/") > 1:
        found.append(invalid_value(where, api_version, f"unexpected GroupVersion string: {api_version}"))
    else:
        if problems := names.dns1123_subdomain(group) if group else []:
            found.append(invalid_value(where, group, ",".join(problems)))
        if not version:
            found.append(invalid_value(where, api_version, "version must be specified"))
        elif problems := names.dns1035_label(version):
            found.append(invalid_value(where, version, ",".join(problems)))
    if not name:
        found.append(required(f"{path}.kind"))
    elif problems := names.dns1035_label(name.lower()):
        detail = "may have mixed case, but should otherwise match: " + ",".join(problems)
        found.append(invalid_value(f"{path}.kind", name, detail))
    return found


def _variable(variable: Object, path: str) -> list[FieldError]:
    name, found = variable.get("name", ""), list[FieldError]()
    if not name.strip():
        found.append(required(f"{path}.name", "name is not specified"))
    elif not _CEL_IDENTIFIER.fullmatch(name) or name in _CEL_RESERVED:
        found.append(invalid_value(f"{path}.name", name, "name is not a valid CEL identifier"))
    if not variable.get("expression", "").strip():
        found.append(required(f"{path}.expression", "expression is not specified"))
    return found


def _validation(validation: Object, path: str) -> list[FieldError]:
    message, computed = validation.get("message", ""), validation.get("messageExpression", "")
    found: list[FieldError] = []
    if not validation.get("expression", "").strip():
        found.append(required(f"{path}.expression", "expression is not specified"))
    if computed and not computed.strip():
        found.append(invalid_value(f"{path}.messageExpression", computed, "must be non-empty if specified"))
    if message and not message.strip():
        found.append(invalid_value(f"{path}.message", message, "message must be non-empty if specified"))
    elif "\n" in message.strip() or "\r" in message.strip():
        found.append(invalid_value(f"{path}.message", message, "message must not contain line breaks"))
    return found + _choice(validation, "reason", path, _REASONS)


def _audit_annotation(annotation: Object, policy: str, path: str) -> list[FieldError]:
    key, expression, where = annotation.get("key", ""), annotation.get("valueExpression", ""), f"{path}.key"
    # The key of the audit event has the policy's name before it.
    shown = f"{policy}/{key}" if policy else key
    found = [invalid_value(where, shown, p) for p in names.qualified_name(shown)]
    if not expression.strip():
        found.append(required(f"{path}.valueExpression", "valueExpression is not specified"))
    elif len(expression.strip()) > _MAX_VALUE_EXPRESSION:
        detail = f"must not exceed {_MAX_VALUE_EXPRESSION} bytes in length"
        found.append(required(f"{path}.valueExpression", detail))
    return found


def validate_policy_binding(spec: Object, path: str) -> list[FieldError]:
    policy, found = spec.get("policyName", ""), list[FieldError]()
    if not policy:
        found.append(required(f"{path}.policyName"))
    else:
        found += [invalid_value(f"{path}.policyName", policy, p) for p in names.dns1123_subdomain(policy)]
    if "paramRef" in spec:
        found += _param_reference(spec["paramRef"], f"{path}.paramRef")
    # The path is upstream's, with its slip of the pen.
    found += _match_resources(spec.get("matchResources") or {}, f"{path}.matchResouces")
    return found + _actions(spec.get("validationActions") or [], f"{path}.validationActions")


def _param_reference(reference: Object, path: str) -> list[FieldError]:
    name, selector = reference.get("name", ""), reference.get("selector")
    detail = "name and selector are mutually exclusive"
    found = [invalid_value(f"{path}.name", name, p) for p in names.path_segment_name(name) if name]
    if name and selector is not None:
        found.append(forbidden_field(f"{path}.name", detail))
    found += validate_label_selector(selector, f"{path}.selector")
    if name and selector is not None:
        found.append(forbidden_field(f"{path}.selector", detail))
    if not name and selector is None:
        found.append(required(path, "one of name or selector must be specified"))
    where, action = f"{path}.parameterNotFoundAction", reference.get("parameterNotFoundAction", "")
    if not action:
        found.append(required(where))
    elif action not in ("Allow", "Deny"):
        found.append(not_supported(where, action, ("Deny", "Allow")))
    return found


def _actions(actions: list[str], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for i, action in enumerate(actions):
        if action not in _ACTIONS:
            found.append(not_supported(f"{path}[{i}]", action, _ACTIONS))
        if action in actions[:i]:
            found.append(duplicate(f"{path}[{i}]", action))
    if "Deny" in actions and "Warn" in actions:
        detail = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API "
            "response and headers serves no purpose)"
        )
        found.append(invalid_value(path, actions, detail))
    return found if actions else [*found, required(path, "at least one validation action is required")]
