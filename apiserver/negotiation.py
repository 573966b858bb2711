"""What form the client wants: plain JSON, a ``Table`` or ``PartialObjectMetadata``, from its Accept header."""

from typing import NamedTuple

from apimachinery import errors
from apimachinery.errors import StatusError

JSON_TYPE = "application/json"
#: What upstream says it can produce; protobuf, CBOR and YAML are not served here.
ACCEPTED = (JSON_TYPE,)
_META_VERSIONS = ("v1", "v1beta1")
_AS_OBJECT = ("Table", "PartialObjectMetadata")
_AS_LIST = ("Table", "PartialObjectMetadataList")


class Form(NamedTuple):
    """``as_kind`` is empty for plain objects. ``stream`` frames a watch (``;stream=watch``)."""

    as_kind: str = ""
    version: str = "v1"


PLAIN = Form()


def negotiate(accept: str, *, collection: bool) -> Form:
    """The first form in the client's order of preference that we serve; 406 when there is none."""
    if not accept or accept == JSON_TYPE or accept == "*/*":
        return PLAIN
    kinds = _AS_LIST if collection else _AS_OBJECT
    for clause in _by_quality(accept):
        media, parameters = clause
        if media not in (JSON_TYPE, "application/*", "*/*"):
            continue
        as_kind = parameters.get("as", "")
        if not as_kind:
            return PLAIN
        if parameters.get("g") != "meta.k8s.io" or parameters.get("v") not in _META_VERSIONS:
            continue
        if as_kind in kinds:
            return Form(as_kind, parameters["v"])
    raise _not_acceptable()


def _not_acceptable() -> StatusError:
    accepted = ("application/json", "application/json;as=Table;g=meta.k8s.io;v=v1")
    return errors.not_acceptable(accepted)


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
