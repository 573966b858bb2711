"""``mk8s describe``: one object in words, with the events about it.

Kinds with a describer of their own are in :mod:`cli.describers`; every other kind is shown field by field, so that
describe works for kinds this program has never heard of.
"""

import argparse
from typing import Any

from cli import selection
from cli.describers import DESCRIBERS, describe_generic
from cli.prose import Prose
from cli.session import Session, execute, parser

EXAMPLES = """  mk8s describe pod web-0
  mk8s describe deploy -l app=web
  mk8s describe nodes"""


#: Nothing reports events about these, and kubectl does not look.
_WITHOUT_EVENTS = ("Event", "Secret", "Namespace")


def main(argv: list[str]) -> int:
    flags = parser("describe", "Show details of a resource or group of resources, and its events.", examples=EXAMPLES)
    flags.add_argument("words", nargs="*", metavar="TYPE[/NAME] [NAME...]")
    selection.add_selector_flags(flags)
    selection.add_file_flags(flags)
    flags.add_argument(
        "--show-events", type=lambda v: v != "false", default=True, metavar="true|false", help="events too"
    )
    options = flags.parse_intermixed_args(argv)
    options.all = True  # "describe pods" means all of them
    return execute(describe, options)


async def describe(session: Session, options: argparse.Namespace) -> int:
    chosen = await selection.select(session, options, options.words)
    if not chosen:
        print(f"No resources found in {session.namespace} namespace.")
    for number, item in enumerate(chosen):
        if number:
            print("\n")
        print(await describe_object(session, item, show_events=options.show_events), end="")
    return 0


async def describe_object(session: Session, item: selection.Selected, *, show_events: bool = True) -> str:
    obj = item.object
    assert obj is not None, "select fetches unless told otherwise"
    obj = {"apiVersion": item.resource.api_version, "kind": item.resource.kind, **obj}
    prose = Prose()
    describer = DESCRIBERS.get((item.resource.group, item.resource.kind), describe_generic)
    await describer(session, obj, prose)
    if show_events and item.resource.kind not in _WITHOUT_EVENTS:
        prose.events(await events_about(session, obj))
    return prose.text()


async def events_about(session: Session, obj: dict[str, Any]) -> list[dict[str, Any]]:
    """Events whose involvedObject is this one, oldest first."""
    meta = obj["metadata"]
    fields = {"involvedObject.name": meta["name"], "involvedObject.kind": obj["kind"]}
    if meta.get("namespace"):
        fields["involvedObject.namespace"] = meta["namespace"]
    if meta.get("uid") and obj["kind"] != "Node":  # kubelets name themselves where a uid belongs
        fields["involvedObject.uid"] = meta["uid"]
    selector = ",".join(f"{k}={v}" for k, v in fields.items())
    listed = await session.client.resource("v1", "events").list(meta.get("namespace"), field_selector=selector)
    return sorted(listed["items"], key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "")
