"""Client certificates: the common name is the user, the organizations are the groups. The TLS layer has verified them."""

from collections.abc import Mapping
from typing import Any

from apiserver.authentication.user import AUTHENTICATED_GROUP, User


def user_of(certificate: Mapping[str, Any]) -> User | None:
    """``certificate`` is what ``ssl.SSLObject.getpeercert`` returns; None when it names nobody."""
    name, groups = "", []
    for relative_name in certificate.get("subject", ()):
        for attribute, value in relative_name:
            if attribute == "commonName":
                name = value
            elif attribute == "organizationName":
                groups.append(value)
    return User(name, [*groups, AUTHENTICATED_GROUP]) if name else None
