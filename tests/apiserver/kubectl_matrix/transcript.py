"""Transcripts: reading, writing, and masking what is never the same twice."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "transcripts"
VERSIONS = ("1.27", "1.30", "1.33")
_PROMPT = re.compile(r"^(?:((?:1\.\d\d )*1\.\d\d) )?\$ (until )?(.+)$")


@dataclass(frozen=True)
class Command:
    line: str
    until: bool
    versions: tuple[str, ...]
    output: str
    comment: str = ""
    """Comment lines that stand above the prompt."""

    def prompt(self) -> str:
        return f"$ {'until ' if self.until else ''}{self.line}"


@dataclass(frozen=True)
class Transcript:
    name: str
    versions: tuple[str, ...]
    commands: tuple[Command, ...]

    def for_version(self, version: str) -> list[Command]:
        return [c for c in self.commands if version in c.versions]


def read(path: Path) -> Transcript:
    lines = path.read_text().splitlines()
    versions: tuple[str, ...] = VERSIONS
    if lines and lines[0].startswith("versions: "):
        versions = tuple(lines.pop(0).partition(": ")[2].split())
    commands: list[Command] = []
    comments: list[str] = []
    current: tuple[re.Match[str], str] | None = None
    output: list[str] = []

    def finish() -> None:
        if current is not None:
            found, comment = current
            wanted = tuple(found[1].split()) if found[1] else versions
            text = "\n".join(output).rstrip("\n")
            commands.append(Command(found[3], bool(found[2]), wanted, text, comment))

    for line in lines:
        prompt = _PROMPT.match(line)
        if prompt or line.startswith("## "):
            finish()
            current = (prompt, "\n".join(comments)) if prompt else None
            output = []
            comments = [] if prompt else [*comments, line]
        elif current is not None:
            output.append(line)
    finish()
    return Transcript(path.stem, versions, tuple(commands))


def read_all() -> list[Transcript]:
    return [read(path) for path in sorted(FOLDER.glob("*.txt"))]


def show(commands: list[Command]) -> str:
    """Prompts and outputs, as one version of kubectl should see them: what the test compares."""
    return "\n\n".join(f"{c.prompt()}\n{c.output}".rstrip() for c in commands) + "\n"


def write(transcript: Transcript, played: dict[str, list[Command]]) -> str:
    """The file for what each version printed; versions that agree share a block."""
    # Commands that only some versions have stay in the order of the file.
    parts: list[str] = []
    if transcript.versions != VERSIONS:
        parts.append(f"versions: {' '.join(transcript.versions)}")
    for step in _steps(transcript, played):
        printed: dict[str, list[str]] = {}
        for version, command in step.items():
            printed.setdefault(command.output, []).append(version)
        first = next(iter(step.values()))
        comment = f"{first.comment}\n" if first.comment else ""
        for output, versions in printed.items():
            shared = set(versions) == set(transcript.versions) & set(played)
            label = "" if shared else " ".join(versions) + " "
            parts.append(f"{comment}{label}{first.prompt()}\n{output}".rstrip())
            comment = ""
    return "\n\n".join(parts) + "\n"


def _steps(transcript: Transcript, played: dict[str, list[Command]]) -> Iterator[dict[str, Command]]:
    """The same command as each version ran it; neighbouring blocks of one command are its versions."""
    queues = {version: list(commands) for version, commands in played.items()}
    for command in transcript.commands:
        step = {}
        for version, queue in queues.items():
            if queue and queue[0].line == command.line and queue[0].until == command.until:
                step[version] = queue.pop(0)
        if step:
            # A block for one version alone, said so by hand, must not swallow the next same command.
            yield step


_AGE = r"(?:\d+y)?(?:\d+d)?(?:\d+h)?(?:\d+m)?(?:\d+s)?"
_MASKS: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern, re.MULTILINE), text)
    for pattern, text in (
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z| [+-]\d{4}(?: \w+)?)", "<time>"),
        (r"\b\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "<time>"),
        (r"([rR]esource ?[vV]ersion\"?: *\"?)\d+", r"\1<version>"),
        (r"\b127\.0\.0\.1:\d+", "<server>"),
        (r"SHA256=[0-9a-f]{64}", "SHA256=<hash>"),
        (r"[^\s\"]*/(LIVE|MERGED|kubectl-edit)-\d+", r"/tmp/\1"),
        (r"\x1b\[[\d;]*m", ""),
        # Whether client-go notices its own deadline while it reads a watch or when it begins the next one.
        (r"^[IE]\d{4} \S+ +\d+ reflector\.go:\d+\] .*", ""),
        # How far a rollout had come when somebody looked.
        (r"^[Ww]aiting for (?:deployment|daemon set|statefulset|\d+ pods) .*\n?", ""),
        # Five letters of generated names; upstream's alphabet has no vowels. Events have a time for a suffix.
        (r"-[bcdfghjklmnpqrstvwxz2456789]{5}(?=[\s\"',:/)]|$)", "-<any>"),
        (r"(?<=[-=])[bcdfghjklmnpqrstvwxz2456789]{7,10}(?=-<any>|[\s\"',)]|$)", "<hash>"),
        (r"\.[0-9a-f]{16}\b", ".<any>"),
        # Allocated from the ranges of the test cluster.
        (r"\b10\.(?:96|200)\.\d+\.\d+\b", "<ip>"),
        (r"\b3[012]\d{3}/(?=TCP|UDP)", "<port>/"),
        (rf"\({_AGE} ago\)", "(<age> ago)"),
        # Events below what ``describe`` shows.
        (rf"^(  (?:Normal|Warning) +\w+ +){_AGE}(?: \(x\d+ over {_AGE}\))? +", r"\1<age>  "),
        (r"^(  (?:Type|----) +(?:Reason|------) +)(Age|----) +", r"\1\2  "),
        # Pods below what ``describe node`` shows.
        (rf"(\d%\) +){_AGE}$", r"\1<age>"),
    )
]
_HEADER = re.compile(r"(?:NAME|NAMESPACE|LAST SEEN|TYPE|EVENT)(?: {2,}|$)[A-Z -]*")
_AGE_CELL = re.compile(rf"(?=\d){_AGE}(?: \(x\d+ over {_AGE}\))?")
_AGES = {"AGE", "LAST SEEN", "FIRST SEEN", "DURATION", "LAST SCHEDULE"}


def mask(text: str) -> str:
    """Text in which what differs from run to run has a name instead."""
    lines = [line.rstrip() for line in text.rstrip("\n").splitlines()]
    out: list[str] = []
    while lines:
        if not _HEADER.match(lines[0]):
            line = lines.pop(0)
            masked = _masked(line)
            if masked or not line:
                out.append(masked)
            continue
        rows = []
        while lines and lines[0]:
            rows.append(lines.pop(0))
        out += _table(rows)
    return "\n".join(out)


def _masked(text: str) -> str:
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return text


def _table(rows: list[str]) -> list[str]:
    """A table with masked cells, in columns as wide as those are."""
    starts = [m.start() for m in re.finditer(r"(?:^|(?<=  ))\S", rows[0])]
    cells = [[row[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for row in rows]
    for row in cells[1:]:
        for i, cell in enumerate(row):
            is_age = cells[0][i].upper() in _AGES and re.fullmatch(_AGE_CELL, cell)
            row[i] = "<age>" if is_age else _masked(cell)
    widths = [max(len(row[i]) for row in cells) + 3 for i in range(len(starts))]
    return ["".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
