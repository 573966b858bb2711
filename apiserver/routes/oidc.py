"""How others verify service-account tokens: the OpenID discovery document and the public keys."""

import orjson

from apiserver.context import Context
from apiserver.response import JSON, Response

DISCOVERY, KEYS = "/.well-known/openid-configuration", "/openid/v1/jwks"
#: Keys change with a restart at most, and who verifies asks anew for one that it does not know.
_CACHING = (b"cache-control", b"public, max-age=3600")


def answer(path: str, context: Context) -> Response | None:
    """None for another path, or when the server has no keys."""
    if path not in (DISCOVERY, KEYS) or not context.tokens.enabled:
        return None
    keys = context.tokens.keys.jwks()
    if path == KEYS:
        return Response(orjson.dumps(keys), content_type=b"application/jwk-set+json", caching=_CACHING)
    document = {
        "issuer": context.tokens.issuer,
        "jwks_uri": context.options.service_account_jwks_uri or f"https://{context.address}{KEYS}",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({key["alg"] for key in keys["keys"]}),
    }
    return Response(orjson.dumps(document), content_type=JSON, caching=_CACHING)
