import pytest

from cli.jsonpath import JSONPath, JSONPathError

PODS = {
    "kind": "List",
    "items": [
        {"metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}}, "status": {"n": 1, "ok": True}},
        {"metadata": {"name": "b"}, "status": {"n": 2, "ok": False, "ips": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}},
    ],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{.kind}", "List"),
        (".kind", "List"),
        ("kind is {.kind}!", "kind is List!"),
        ("{.items[*].metadata.name}", "a b"),
        ("{.items[0].metadata.name}", "a"),
        ("{.items[-1:].metadata.name}", "b"),
        ("{.items[-1].metadata.name}", "b"),
        ("{.items[0:1].metadata.name}", "a"),
        ("{.items[0,1].metadata.name}", "a b"),
        ("{.items[*]['metadata.name', 'status.n']}", None),
        ("{..name}", "a b"),
        ("{.items[?(@.status.n==2)].metadata.name}", "b"),
        ('{.items[?(@.metadata.name=="a")].status.n}', "1"),
        ("{.items[?(@.status.ips)].metadata.name}", "b"),
        ("{.items[?(@.status.n>=1)].metadata.name}", "a b"),
        (r"{.items[0].metadata.labels.app\.kubernetes\.io/name}", "x"),
        (r"{.items[0].metadata.labels['app.kubernetes.io/name']}", "x"),
        ('{range .items[*]}{.metadata.name}{"\\t"}{.status.n}{"\\n"}{end}', "a\t1\nb\t2\n"),
        ("{range .items[*]}[{range .status['ips'][*]}{.ip},{end}]{end}", None),
        ("{.items[1].status.ips[*].ip}", "10.0.0.1 10.0.0.2"),
        ("{.items[0].status}", '{"n":1,"ok":true}'),
        ("{$.kind}", "List"),
        ("{@.kind}", "List"),
    ],
)
def test_templates_render_as_kubectl_renders_them(template: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(JSONPathError):
            JSONPath(template).render(PODS)
    else:
        assert JSONPath(template).render(PODS) == expected


@pytest.mark.parametrize("template", ["{.items", "{.items[}", "{range .items[*]}x", "x{end}", "{.items[a]}", "{'a}"])
def test_malformed_templates_are_refused(template: str) -> None:
    with pytest.raises(JSONPathError):
        JSONPath(template).render(PODS)


def test_missing_fields_are_an_error_unless_allowed() -> None:
    with pytest.raises(JSONPathError, match="nothing is not found"):
        JSONPath("{.nothing}").render(PODS)
    assert JSONPath("{.nothing}").values(PODS, missing_ok=True) == []
