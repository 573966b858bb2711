"""``$(VAR)`` in commands, arguments and environment values: upstream's little language.

``$$`` is a dollar sign, so ``$$(VAR)`` stays ``$(VAR)``; a reference to a name that nobody knows stays as it is written.
"""

from collections.abc import Mapping


def expand(text: str, values: Mapping[str, str]) -> str:
    if "$" not in text:
        return text
    out: list[str] = []
    position = 0
    while True:
        dollar = text.find("$", position)
        if dollar < 0 or dollar + 1 >= len(text):
            out.append(text[position:])
            return "".join(out)
        out.append(text[position:dollar])
        following = text[dollar + 1]
        if following == "$":
            out.append("$")
            position = dollar + 2
        elif following == "(" and (end := text.find(")", dollar + 2)) >= 0:
            name = text[dollar + 2 : end]
            out.append(values.get(name, f"$({name})"))
            position = end + 1
        elif following == "(":
            out.append("$(")
            position = dollar + 2
        else:
            out.append("$" + following)
            position = dollar + 2
