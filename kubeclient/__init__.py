"""How every component talks to the API server: the client-go of this house.

Read in this order: :mod:`kubeclient.config` (where the server is and who we are), :mod:`kubeclient.rest` (verbs),
:mod:`kubeclient.informer` (list, watch, a cache and its handlers), :mod:`kubeclient.workqueue`,
:mod:`kubeclient.controller` (the one reconcile loop), :mod:`kubeclient.leaderelection`, :mod:`kubeclient.events`.
"""

from kubeclient.config import Config, ConfigError
from kubeclient.controller import Controller
from kubeclient.events import EventRecorder
from kubeclient.http import TransportError
from kubeclient.informer import Informer, InformerFactory
from kubeclient.leaderelection import LeaderElector
from kubeclient.rest import ApiError, Client, ResourceClient, WatchEvent
from kubeclient.workqueue import WorkQueue

__all__ = [
    "ApiError",
    "Client",
    "Config",
    "ConfigError",
    "Controller",
    "EventRecorder",
    "Informer",
    "InformerFactory",
    "LeaderElector",
    "ResourceClient",
    "TransportError",
    "WatchEvent",
    "WorkQueue",
]
