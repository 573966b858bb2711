"""Client certificates: the common name is the user, the organizations are the groups. The TLS layer has verified them."""

import hashlib
from typing import Any

from apiserver.authentication.user import AUTHENTICATED_GROUP, User

_CREDENTIAL = "authentication.kubernetes.io/credential-id"


def user_of(tls: Any) -> User | None:
    """``tls`` is the connection's ``ssl.SSLObject``; None when there is no certificate or it names nobody."""
    certificate = tls.getpeercert() if tls is not None else None
    name, groups = "", []
    for relative_name in (certificate or {}).get("subject", ()):
        for attribute, value in relative_name:
            if attribute == "commonName":
                name = value
            elif attribute == "organizationName":
                groups.append(value)
    if not name:
        return None
    digest = hashlib.sha256(tls.getpeercert(True)).hexdigest()
    return User(name, [*groups, AUTHENTICATED_GROUP], extra={_CREDENTIAL: [f"X509SHA256={digest}"]})
