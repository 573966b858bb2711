"""What form the client wants: the plain object, a ``Table`` or ``PartialObjectMetadata``, as JSON or YAML, from its Accept header.

Protobuf and CBOR are not served: clients that ask for them name JSON as well.
"""

from typing import NamedTuple

from apimachinery import errors

JSON_TYPE, YAML_TYPE = "application/json", "application/yaml"
_MEDIA = (JSON_TYPE, YAML_TYPE, "application/*", "*/*")
_META_VERSIONS = ("v1", "v1beta1")
_AS_OBJECT = ("Table", "PartialObjectMetadata")
_AS_LIST = ("Table", "PartialObjectMetadataList")


class Form(NamedTuple):
    """``as_kind`` is empty for plain objects. ``stream`` frames a watch (``;stream=watch``)."""

    as_kind: str = ""
    version: str = "v1"


PLAIN = Form()


def negotiate(accept: str, *, collection: bool, stream: bool = False) -> Form:
    """The first form in the client's order of preference that we serve; 406 when there is none.

    Whether it is JSON or YAML (see ``prefers_yaml``) makes no difference to what it holds; a ``stream`` is never YAML.
    """
    if not accept or accept == JSON_TYPE or accept == "*/*":
        return PLAIN
    kinds = _AS_LIST if collection else _AS_OBJECT
    for clause in _by_quality(accept):
        media, parameters = clause
        if media not in _MEDIA or (stream and media == YAML_TYPE):
            continue
        as_kind = parameters.get("as", "")
        if not as_kind:
            return PLAIN
        if parameters.get("g") != "meta.k8s.io" or parameters.get("v") not in _META_VERSIONS:
            continue
        if as_kind in kinds:
            return Form(as_kind, parameters["v"])
    raise errors.not_acceptable((f"{JSON_TYPE};stream=watch",) if stream else (JSON_TYPE, YAML_TYPE))


def prefers_yaml(accept: str) -> bool:
    """Whether the first form that is served is to be YAML."""
    if YAML_TYPE not in accept:
        return False
    return next((media for media, _ in _by_quality(accept) if media in _MEDIA), "") == YAML_TYPE


def _by_quality(accept: str) -> list[tuple[str, dict[str, str]]]:
    clauses = []
    for part in accept.split(","):
        media, *raw = (p.strip() for p in part.split(";"))
        parameters = {}
        for item in raw:
            name, _, value = item.partition("=")
            parameters[name.strip()] = value.strip()
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 0.0
        if media and quality > 0:
            clauses.append((quality, media, parameters))
    clauses.sort(key=lambda c: -c[0])
    return [(media, parameters) for _, media, parameters in clauses]
