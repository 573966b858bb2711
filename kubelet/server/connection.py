"""The kubelet's server: TLS with client certificates that the application can see."""

import logging
import ssl
from typing import Any

import uvicorn

from componentbase import connection

Subject = dict[str, list[str]]


class Protocol(connection.Protocol):
    """One connection; it is in the ASGI scope as ``connection``."""

    def subject(self) -> Subject | None:
        """Of the verified client certificate: ``{"commonName": [...], "organizationName": [...]}``."""
        certificate = self.transport.get_extra_info("peercert")
        if not certificate:
            return None
        found: Subject = {}
        for part in certificate.get("subject", ()):
            for name, value in part:
                found.setdefault(name, []).append(value)
        return found


def build(app: Any, *, cert_file: str, key_file: str, client_ca_file: str) -> connection.Server:
    """Asks clients for a certificate when there is an authority for them; what they may do without is the app's business."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
        ssl_certfile=cert_file or None,
        ssl_keyfile=key_file or None,
        ssl_ca_certs=client_ca_file or None,
        ssl_cert_reqs=ssl.CERT_OPTIONAL if client_ca_file else ssl.CERT_NONE,
    )
    return connection.Server(config)
