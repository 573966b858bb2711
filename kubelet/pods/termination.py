"""A container's last words: its termination message file, or the end of its log."""

import logging
from pathlib import Path

from kubelet.cri.api import ContainerStatus
from kubelet.layout import Layout
from kubelet.pods.labels import TERMINATION_MESSAGE_POLICY, container_name, pod_uid, restart_count

log = logging.getLogger(__name__)

_MAX_MESSAGE = 4096
_MAX_LOG, _MAX_LOG_LINES = 2048, 80


def message(layout: Layout, container: ContainerStatus) -> str:
    """What ``terminated.message`` says: the runtime's own word goes first when the container could not even start."""
    uid, name, attempt = pod_uid(container), container_name(container), restart_count(container)
    if not uid:
        return container.message
    text = _read(layout.termination_message(uid, name, attempt))
    policy = container.annotations.get(TERMINATION_MESSAGE_POLICY, "File")
    if not text and policy == "FallbackToLogsOnError" and container.exit_code != 0:
        text = _log_tail(layout.log_of(container))
    return text or container.message


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _MAX_MESSAGE))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"Error on reading termination message: {error.strerror}"


def _log_tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 16 * _MAX_LOG))
            lines = file.read().splitlines(keepends=True)[-_MAX_LOG_LINES:]
    except OSError:
        return ""
    content = b""
    for line in lines:
        parts = line.split(b" ", 3)
        if len(parts) == 4:
            content += parts[3] if parts[2] == b"F" else parts[3].rstrip(b"\n")
    return content[-_MAX_LOG:].decode(errors="replace")
