"""Protobuf bodies: what a Go client writes becomes what JSON would have said."""

import random

import pytest

from apiserver.protobuf import MalformedBody, decode_body


def varint(number: int) -> bytes:
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def body(api_version: str, kind: str, raw: bytes) -> bytes:
    meta = field(1, api_version) + field(2, kind)
    return b"k8s\0" + field(1, meta) + field(2, raw) + field(3, "") + field(4, "")


def pair(key: str, value: str) -> bytes:
    return field(1, key) + field(2, value)


def test_a_config_map_with_labels_and_data() -> None:
    metadata = field(1, "a") + field(3, "ns") + field(8, b"") + field(11, pair("app", "web"))
    raw = field(1, metadata) + field(2, pair("x", "1")) + field(3, pair("b", "\x01")) + field(4, 1)
    assert decode_body(body("v1", "ConfigMap", raw)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "ns", "creationTimestamp": None, "labels": {"app": "web"}},
        "data": {"x": "1"},
        "binaryData": {"b": "AQ=="},
        "immutable": True,
    }


def test_embedded_structs_times_and_int_or_string_take_their_json_form() -> None:
    port = field(1, "http") + field(3, 80) + field(4, field(1, 1) + field(3, "web")) + field(5, 0)
    numbered = field(3, 81) + field(4, field(1, 0) + field(2, 8080))
    raw = field(1, field(8, field(1, 1_700_000_000))) + field(2, field(1, port) + field(1, numbered))
    service = decode_body(body("v1", "Service", raw))
    assert service["metadata"]["creationTimestamp"] == "2023-11-14T22:13:20Z"
    assert [p["targetPort"] for p in service["spec"]["ports"]] == ["web", 8080]
    volume = field(1, "v") + field(2, field(19, field(1, field(1, "settings"))))
    pod = decode_body(body("v1", "Pod", field(2, field(1, volume))))
    assert pod["spec"]["volumes"] == [{"name": "v", "configMap": {"name": "settings"}}]


def test_negative_numbers_and_unknown_fields() -> None:
    deployment = decode_body(body("apps/v1", "Deployment", field(2, field(1, -1)) + field(99, "new") + field(98, 7)))
    assert deployment["spec"] == {"replicas": -1}


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"k8s\0\xff", body("v1", "Nothing", b""), body("v1", "Pod", b"\x0a\x05a"), body("v1", "Pod", b"\x0b")],
)
def test_what_is_no_message_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedBody):
        decode_body(raw)


def test_random_damage_is_malformed_or_decodes_but_never_crashes() -> None:
    random_ = random.Random(5)
    good = body("v1", "Pod", field(1, field(1, "p") + field(11, pair("a", "b"))) + field(2, field(2, field(1, "c"))))
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(random_.randrange(1, 4)):
            data[random_.randrange(4, len(data))] = random_.randrange(256)
        try:
            decode_body(bytes(data))
        except MalformedBody:
            continue


def test_every_field_has_the_name_that_json_gives_it() -> None:
    import gzip
    from pathlib import Path

    import orjson

    import apiserver.protobuf
    from apimachinery.schema import definition

    packed = Path(apiserver.protobuf.__file__).with_name("fields.json.gz").read_bytes()
    unknown = []
    for message, fields in orjson.loads(gzip.decompress(packed)).items():
        try:
            schema = definition("io.k8s." + message.removeprefix("k8s.io."))
        except KeyError:
            continue  # of a kind that is not served
        if schema.kind == "object":
            unknown += [(message, f[0]) for f in fields.values() if f[1] != "inline" and f[0] not in schema.fields]
    assert unknown == []
