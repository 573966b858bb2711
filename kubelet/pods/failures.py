"""Why a container does not run: what its status shows as ``waiting.reason`` and ``waiting.message``."""

from dataclasses import dataclass

CREATE_CONFIG = "CreateContainerConfigError"
CREATE = "CreateContainerError"
RUN = "RunContainerError"
CRASH_LOOP = "CrashLoopBackOff"
POST_START = "PostStartHookError"
IMAGE_PULL = "ErrImagePull"
IMAGE_PULL_BACKOFF = "ImagePullBackOff"
IMAGE_NEVER_PULL = "ErrImageNeverPull"
INVALID_IMAGE_NAME = "InvalidImageName"
IMAGE_INSPECT = "ImageInspectError"


@dataclass
class ContainerFailure(Exception):
    """A step of starting a container failed. ``retry_in``: seconds until it makes sense to try again."""

    reason: str
    message: str
    retry_in: float = 10.0

    def __str__(self) -> str:
        return self.message


def config_error(message: str) -> ContainerFailure:
    return ContainerFailure(CREATE_CONFIG, message)


@dataclass(slots=True)
class Failure:
    """The last failed start of a container, as its worker remembers it; ``until`` (monotonic) nothing is tried again."""

    reason: str
    message: str
    until: float
