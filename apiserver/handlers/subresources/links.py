"""Links in what a proxied backend answers, changed so that they lead through the proxy again.

A page at ``.../services/web/proxy/`` that links to ``/style.css`` means its own server's. As upstream: ``Location`` headers and
the attributes of HTML tags that hold URLs, when they have an absolute path on the backend's own host. Everything else stays
byte for byte.
"""

import html
import re
import zlib
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

#: Tags and their attributes that hold a URL.
_ATTRIBUTES = {
    "a": "href", "applet": "codebase", "area": "href", "audio": "src", "base": "href", "blockquote": "cite",
    "body": "background", "button": "formaction", "command": "icon", "del": "cite", "embed": "src", "form": "action",
    "frame": "longdesc src", "head": "profile", "html": "manifest", "iframe": "longdesc src", "img": "longdesc src usemap",
    "input": "src usemap formaction", "ins": "cite", "link": "href", "object": "classid codebase data usemap", "q": "cite",
    "script": "src", "source": "src", "video": "poster src",
}  # fmt: skip
#: Elements whose content is no markup.
_RAW = ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes", "plaintext")
_NAME = re.compile(r"<([a-zA-Z][^\s/>]*)")
_ATTRIBUTE = re.compile(r"""[\s/]*([^\s/>=][^\s/>=]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*)))?""")
_TAG_END = re.compile(r"[\s/]*>")


class Links:
    """``prefix`` is the proxy's path (``/api/v1/.../proxy``), ``hosts`` the names under which the backend was asked."""

    def __init__(self, prefix: str, *hosts: str) -> None:
        self._prefix, self._hosts = prefix, hosts

    def url(self, url: str) -> str:
        try:
            parts = urlsplit(url)
        except ValueError:
            return url
        if (parts.netloc and parts.netloc not in self._hosts) or not parts.path.startswith("/"):
            return url
        # The name that the client itself used is kept; the backend's own means nothing to it.
        if not (parts.netloc and parts.netloc == self._hosts[-1]):
            parts = parts._replace(scheme="", netloc="")
        if not parts.path.startswith(self._prefix):
            parts = parts._replace(path=self._prefix + "/" + parts.path.lstrip("/"))
        return urlunsplit(parts)

    def page(self, body: bytes, encoding: str) -> bytes:
        """An HTML page with its content encoding: ``gzip``, ``deflate`` or none. Others, and broken ones, stay as they are."""
        window = {"gzip": 31, "deflate": -15, "": 0}.get(encoding)
        if window is None:
            return body
        if not window:
            return self._html(body)
        try:
            plain = zlib.decompress(body, window)
        except zlib.error:
            return body
        compressor = zlib.compressobj(wbits=window)
        return compressor.compress(self._html(plain)) + compressor.flush()

    def _html(self, page: bytes) -> bytes:
        # Latin-1 gives every byte back as it was, whatever the page's encoding; markup is ASCII in all that matter.
        return rewritten(page.decode("latin-1"), self.url).encode("latin-1", "xmlcharrefreplace")


def rewritten(text: str, change: Callable[[str], str]) -> str:
    """``text`` with ``change`` applied to every URL in an attribute. One pass: nothing is looked at twice."""
    parts: list[str] = []
    done, at = 0, text.find("<")
    while at >= 0:
        if text.startswith("<!--", at):
            end = text.find("-->", at + 4)
            if end < 0:
                break
            at = text.find("<", end + 3)
            continue
        tag = _NAME.match(text, at)
        if tag is None:
            at = text.find("<", at + 1)
            continue
        name = tag[1].lower()
        wanted = _ATTRIBUTES.get(name, "").split()
        end = tag.end()
        while (attribute := _ATTRIBUTE.match(text, end)) is not None and attribute.end() > end:
            end = attribute.end()
            if attribute[1].lower() in wanted and attribute.lastindex and attribute.lastindex > 1:
                group = attribute.lastindex
                old = html.unescape(attribute[group])
                new = change(old)
                if new != old:
                    parts += (text[done : attribute.start(group)], html.escape(new))
                    done = attribute.end(group)
        close = _TAG_END.match(text, end)
        if close is None:
            # Not well formed: as a browser, go on with what follows.
            at = text.find("<", max(end, at + 1))
            continue
        after = close.end()
        if name in _RAW:
            after = _end_of(text, name, after)
        at = text.find("<", after)
    return "".join((*parts, text[done:]))


def _end_of(text: str, name: str, start: int) -> int:
    """Where the end tag of an element begins whose content is no markup; the end of the text when there is none."""
    end = re.compile(f"</{re.escape(name)}", re.IGNORECASE).search(text, start)
    return end.start() if end else len(text)
