"""Links of proxied pages, as text in and text out."""

import gzip
import zlib

import pytest

from apiserver.handlers.subresources.links import Links, rewritten

PREFIX = "/api/v1/namespaces/default/services/web/proxy"
LINKS = Links(PREFIX, "10.1.2.3:8080", "localhost:8001")


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("/style.css", f"{PREFIX}/style.css"),
        ("/", f"{PREFIX}/"),
        ("/a/?b=c#d", f"{PREFIX}/a/?b=c#d"),
        ("http://10.1.2.3:8080/a", f"{PREFIX}/a"),
        ("http://localhost:8001/a", f"http://localhost:8001{PREFIX}/a"),
        (f"{PREFIX}/a", f"{PREFIX}/a"),
        ("style.css", "style.css"),
        ("../up", "../up"),
        ("https://example.com/a", "https://example.com/a"),
        ("//example.com/a", "//example.com/a"),
        ("mailto:a@example.com", "mailto:a@example.com"),
        ("http://[broken/", "http://[broken/"),
        ("", ""),
    ],
)
def test_only_absolute_paths_on_the_backends_own_host_change(url: str, wanted: str) -> None:
    assert LINKS.url(url) == wanted


def upper(text: str) -> str:
    return rewritten(text, str.upper)


@pytest.mark.parametrize(
    ("page", "wanted"),
    [
        ("<a href='/x' title='/x'>/x</a>", "<a href='/X' title='/x'>/x</a>"),
        ('<A HREF="/x">', '<A HREF="/X">'),
        ("<img src=/x alt=/x>", "<img src=/X alt=/x>"),
        ('<img longdesc="l" src="/x"/>', '<img longdesc="L" src="/X"/>'),
        ('<a href="/x?a=1&amp;b=2">', '<a href="/X?A=1&amp;B=2">'),
        ('<p href="/x">', '<p href="/x">'),
        ("<!-- <a href='/x'> --><a href='/y'>", "<!-- <a href='/x'> --><a href='/Y'>"),
        (
            "<script src='/s'>'<a href=\"/x\">'</script><a href='/y'>",
            "<script src='/S'>'<a href=\"/x\">'</script><a href='/Y'>",
        ),
        ("1 < 2 <a href='/x'>", "1 < 2 <a href='/X'>"),
        ("<a href='/x", "<a href='/x"),
        ("<a href='/x' <a href='/y'>", "<a href='/X' <a href='/Y'>"),
        ("<!-- <a href='/x'>", "<!-- <a href='/x'>"),
        ("", ""),
    ],
)
def test_attributes_that_hold_urls_change_and_nothing_else(page: str, wanted: str) -> None:
    assert upper(page) == wanted


def test_a_hostile_page_takes_no_longer_than_its_length() -> None:
    for piece in ("<", "<a ", "<a href='", '<a href="x" ', "<!-", "<a b=", "<script>"):
        upper(piece * 100_000)


def test_bytes_of_any_encoding_survive() -> None:
    page = "<a href='/é'>".encode() + bytes(range(256))
    changed = LINKS.page(page, "")
    assert changed == page.replace(b"'/", f"'{PREFIX}/".encode(), 1)


def test_compressed_pages_are_changed_inside() -> None:
    page, wanted = b"<a href='/x'>", f"<a href='{PREFIX}/x'>".encode()
    assert gzip.decompress(LINKS.page(gzip.compress(page), "gzip")) == wanted
    raw = zlib.compressobj(wbits=-15)
    deflated = raw.compress(page) + raw.flush()
    assert zlib.decompress(LINKS.page(deflated, "deflate"), -15) == wanted
    assert LINKS.page(b"not gzip", "gzip") == b"not gzip"
    assert LINKS.page(page, "br") == page
