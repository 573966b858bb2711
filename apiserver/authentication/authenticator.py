"""All the ways in order: a client certificate, then a bearer token, then nobody.

A token that is not valid is 401, whatever else the request has; without any credential the request is anonymous, and
authorization lets anonymous requests see health and version only.
"""

import hmac
import logging

from apimachinery import errors
from apiserver.authentication import tokenfile, x509
from apiserver.authentication.serviceaccount import InvalidToken, ServiceAccountTokens
from apiserver.authentication.user import ANONYMOUS, UNAUTHENTICATED_GROUP, User
from apiserver.request import Request

log = logging.getLogger(__name__)
NOBODY = User(ANONYMOUS, (UNAUTHENTICATED_GROUP,))


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
        if not authorization:
            return NOBODY
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return NOBODY
        return await self.authenticate_token(token)

    async def authenticate_token(self, token: str, audiences: tuple[str, ...] = ()) -> User:
        given = token.encode("utf-8", "surrogateescape")
        for known, user in self._tokens.items():
            if hmac.compare_digest(known, given):
                return user
        if self._accounts.enabled:
            try:
                return await self._accounts.authenticate(token, audiences)
            except InvalidToken as error:
                log.info("unable to authenticate the request: %s", error)
        raise errors.unauthorized()
