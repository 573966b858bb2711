"""A certificate request says who made it: the signer decides by that, so the client cannot set it."""

from apiserver.admission.chain import Attributes, Plugin

_FIELDS = ("username", "uid", "groups", "extra")


class CertificateRequestor(Plugin):
    handles = frozenset({"CREATE"})

    async def admit(self, attributes: Attributes) -> None:
        if attributes.what != "certificatesigningrequests" or attributes.obj is None:
            return
        spec, user = attributes.obj.setdefault("spec", {}), attributes.user
        for field in _FIELDS:
            spec.pop(field, None)
        spec["username"] = user.name
        if user.uid:
            spec["uid"] = user.uid
        if user.groups:
            spec["groups"] = list(user.groups)
        if user.extra:
            spec["extra"] = {key: list(values) for key, values in user.extra.items()}
