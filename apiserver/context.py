"""What the parts of one API server share: made once at start, handed to whoever needs it."""

import asyncio
from dataclasses import dataclass, field

from apimachinery.resources import Resource, lookup
from apiserver.admission import Chain
from apiserver.authentication.authenticator import Authenticator
from apiserver.authentication.serviceaccount import ServiceAccountTokens
from apiserver.authorization import Authorizer
from apiserver.cacher import Cacher
from apiserver.handlers.endpoint import Endpoint
from apiserver.kubelet import Kubelets
from apiserver.metrics import Metrics
from apiserver.options import Options
from apiserver.routes.health import Health
from apiserver.storage import Store


@dataclass
class Context:
    options: Options
    store: Store
    cacher: Cacher
    tokens: ServiceAccountTokens
    authenticator: Authenticator
    authorizer: Authorizer
    admission: Chain
    kubelets: Kubelets
    endpoints: dict[Resource, Endpoint] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=Metrics)
    health: Health = field(default_factory=Health)
    default_roles_made: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the roles are there that a cluster starts with; nobody waits for it without RBAC."""

    def endpoint(self, group: str, plural: str, version: str = "v1") -> Endpoint:
        """The endpoint of a built-in resource."""
        row = lookup(group, version, plural)
        assert row is not None, f"{plural} is a row of the resource table"
        return self.endpoints[row]

    @property
    def address(self) -> str:
        """Where clients reach this server."""
        return f"{self.options.advertise_address}:{self.options.secure_port}"
