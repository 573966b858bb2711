"""All the ways in order: a client certificate, then a bearer token, then nobody.

A token that is not valid is 401, whatever else the request has; without any credential the request is anonymous, and
authorization lets anonymous requests see health and version only.
"""

import base64
import binascii
import hmac
import logging
from collections.abc import Sequence

from apimachinery import errors
from apiserver.authentication import tokenfile, x509
from apiserver.authentication.serviceaccount import InvalidToken, ServiceAccountTokens
from apiserver.authentication.user import ANONYMOUS, UNAUTHENTICATED_GROUP, User
from apiserver.request import Request

log = logging.getLogger(__name__)
NOBODY = User(ANONYMOUS, (UNAUTHENTICATED_GROUP,))
#: Browsers cannot set a header with a WebSocket: the token stands among its protocols.
_SOCKET_TOKEN = "base64url.bearer.authorization.k8s.io."


class Authenticator:
    def __init__(self, token_file: str, accounts: ServiceAccountTokens) -> None:
        self._tokens = tokenfile.read(token_file) if token_file else {}
        self._accounts = accounts

    async def authenticate(self, request: Request) -> User:
        """Who asks. Raises 401 for credentials that are wrong."""
        connection = request.scope.get("connection")
        if connection is not None:
            user: User | None = connection.user(x509.user_of)
            if user is not None:
                return user
        authorization = request.header(b"authorization")
        if authorization:
            scheme, _, token = authorization.partition(" ")
            token = token.strip() if scheme.lower() == "bearer" else ""
        else:
            token = _socket_token(request)
        if not token:
            return NOBODY
        try:
            return (await self.authenticate_token(token))[0]
        except InvalidToken as error:
            log.info("unable to authenticate the request: %s", error)
            raise errors.unauthorized() from None

    async def authenticate_token(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, tuple[str, ...]]:
        """Who a token stands for, and those of the audiences that it is for. Raises ``InvalidToken`` with upstream's text."""
        given = token.encode("utf-8", "surrogateescape")
        ours = self._accounts.audiences
        for known, user in self._tokens.items():
            if hmac.compare_digest(known, given):
                # A token of the file says nothing of audiences: it is for the API server.
                meant = tuple(audience for audience in audiences or ours if audience in ours)
                if not meant:
                    break
                return user, meant
        if self._accounts.enabled:
            try:
                return await self._accounts.authenticate(token, audiences)
            except InvalidToken as error:
                if str(error):
                    raise InvalidToken(f"[invalid bearer token, {error}]") from None
        raise InvalidToken("invalid bearer token")


def _socket_token(request: Request) -> str:
    if request.header(b"upgrade").lower() != "websocket":
        return ""
    for protocol in request.header(b"sec-websocket-protocol").split(","):
        encoded = protocol.strip().removeprefix(_SOCKET_TOKEN)
        if encoded != protocol.strip():
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise errors.unauthorized() from None
    return ""


def without_token(protocols: str) -> str:
    """``Sec-WebSocket-Protocol`` as it goes on to a backend, which must not see the client's token."""
    offered = (protocol.strip() for protocol in protocols.split(","))
    return ", ".join(protocol for protocol in offered if not protocol.startswith(_SOCKET_TOKEN))
