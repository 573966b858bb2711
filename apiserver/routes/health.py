"""``/healthz``, ``/livez`` and ``/readyz``: named checks, one at a path of its own, ``?verbose`` and ``?exclude=``."""

from collections.abc import Awaitable, Callable

from apiserver.request import Request
from apiserver.response import Response, text_response

Check = Callable[[], Awaitable[str | None]]


class Health:
    """``add(name, check)``: the check returns None when all is well; ``ready_only`` ones do not count for life."""

    def __init__(self) -> None:
        self._checks: list[tuple[str, Check, bool]] = []

    def add(self, name: str, check: Check, *, ready_only: bool = False) -> None:
        self._checks.append((name, check, ready_only))

    async def answer(self, request: Request) -> Response:
        kind, _, single = request.info.path.strip("/").partition("/")
        excluded = set(request.query_all("exclude"))
        checks = [c for c in self._checks if kind == "readyz" or not c[2]]
        if single:
            checks = [c for c in checks if c[0] == single]
            if not checks:
                return text_response("404 page not found\n", 404)
        lines, failed = [], False
        for name, check, _ in checks:
            if name in excluded:
                lines.append(f"[+]{name} excluded: ok")
                continue
            wrong = await check()
            failed = failed or wrong is not None
            lines.append(f"[+]{name} ok" if wrong is None else f"[-]{name} failed: reason withheld")
        if failed:
            return text_response("\n".join([*lines, f"{kind} check failed", ""]), 500)
        if "verbose" in request.query:
            return text_response("\n".join([*lines, f"{kind} check passed", ""]))
        return text_response("ok")
