"""``mk8s wait``: until objects have a condition, hold a value, exist or are gone."""

import argparse
import asyncio
from typing import Any

from cli import selection
from cli.delete import until_gone
from cli.jsonpath import JSONPath, JSONPathError, show
from cli.session import CliError, Session, execute, parser
from kubeclient.rest import ApiError

Object = dict[str, Any]

EXAMPLES = """  mk8s wait --for=condition=Ready pod/web-0
  mk8s wait --for=delete pod -l app=web --timeout=60s
  mk8s wait --for=jsonpath='{.status.phase}'=Running pod/web-0"""


def main(argv: list[str]) -> int:
    flags = parser("wait", "Wait for a condition on one or many resources.", examples=EXAMPLES)
    flags.add_argument("words", nargs="*", metavar="TYPE[/NAME] [NAME...]")
    selection.add_selector_flags(flags)
    selection.add_file_flags(flags)
    flags.add_argument("--all", action="store_true", help="every object of the type in the namespace")
    flags.add_argument(
        "--for", dest="goal", required=True, help="condition=NAME[=VALUE], jsonpath='{...}'[=VALUE], create or delete"
    )
    flags.add_argument("--timeout", default="30s", help="longest wait")
    return execute(wait, flags.parse_intermixed_args(argv))


class Goal:
    """What is waited for; ``reached(object)`` says whether it holds."""

    def __init__(self, text: str) -> None:
        kind, _, argument = text.partition("=")
        self.kind = kind.lower()
        self._value = ""
        if self.kind == "condition":
            self._name, _, value = argument.partition("=")
            self._value = value or "True"
        elif self.kind == "jsonpath":
            closing = argument.rfind("}") + 1
            try:
                self._path = JSONPath(argument[:closing] if closing else argument)
            except JSONPathError as error:
                raise CliError(f"--for {text}: {error}") from None
            self._value = argument[closing:].removeprefix("=").strip("'\"")
        elif self.kind not in ("delete", "create"):
            raise CliError(f'unrecognized condition: "{text}" (want condition=, jsonpath=, create or delete)')

    def reached(self, obj: Object) -> bool:
        if self.kind == "condition":
            conditions = (obj.get("status") or {}).get("conditions") or []
            generation = obj["metadata"].get("generation", 0)
            return any(
                c["type"].lower() == self._name.lower()
                and c["status"].lower() == self._value.lower()
                and c.get("observedGeneration", generation) >= generation
                for c in conditions
            )
        if self.kind == "jsonpath":
            values = self._path.values(obj, missing_ok=True)
            return bool(values) and (not self._value or [show(v) for v in values] == [self._value])
        return True


async def wait(session: Session, options: argparse.Namespace) -> int:
    from componentbase.flags import duration

    goal = Goal(options.goal)
    try:
        timeout = duration(options.timeout)
    except ValueError as error:
        raise CliError(f"--timeout: {error}") from None
    try:
        async with asyncio.timeout(timeout if timeout > 0 else (7 * 24 * 3600 if timeout < 0 else 0.001)):
            await _wait_for_all(session, options, goal)
    except TimeoutError:
        raise CliError(
            f"timed out waiting for the condition on {' '.join(options.words) or ', '.join(options.filename)}"
        ) from None
    return 0


async def _wait_for_all(session: Session, options: argparse.Namespace, goal: Goal) -> None:
    try:
        chosen = await selection.select(session, options, options.words, fetch=goal.kind != "create")
    except ApiError as error:
        if goal.kind == "delete" and error.not_found:
            return
        raise
    if not chosen and goal.kind != "delete":
        raise CliError("no matching resources found")
    await asyncio.gather(*(_wait_for(session, item, goal) for item in chosen))


async def _wait_for(session: Session, item: selection.Selected, goal: Goal) -> None:
    if goal.kind == "delete":
        assert item.object is not None
        await until_gone(session, item, item.object["metadata"]["uid"])
        print(f"{item.label} deleted", flush=True)
        return
    client = item.resource.at(session.client)
    field = f"metadata.name={item.name}"
    while True:
        listed = await client.list(item.namespace, field_selector=field)
        if any(goal.reached(found) for found in listed["items"]):
            break
        version = listed["metadata"]["resourceVersion"]
        events = client.watch(item.namespace, resource_version=version, field_selector=field, bookmarks=False)
        if await _any(events, goal):
            break
    print(f"{item.label} {'created' if goal.kind == 'create' else 'condition met'}", flush=True)


async def _any(events: Any, goal: Goal) -> bool:
    async for event in events:
        if event.type in ("ADDED", "MODIFIED") and goal.reached(event.object):
            return True
    return False
