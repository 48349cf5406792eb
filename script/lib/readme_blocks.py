"""The fenced blocks of a README, what is to be done with each, and what may be wrong with them before any is run."""

import os
import re

MARKER = re.compile(r"<!--\s*(not run|run|output|file)\b\s*(?::\s*(.*?))?\s*-->")
FENCE = re.compile(r"(`{3,})\s*(\S*)\s*")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")

# Fences that may stand without a marker: pictures and pieces of configuration. What could be run needs a word on it.
PLAIN = {"text", "yaml"}

# What an expected output does not say literally: of each, any other of its kind will do.
ANY = {
    "rest": r"…",
    "uuid": r"\b[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b",
    "time": r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    "ulid": r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b",
    "objectid": r"\b[0-9a-f]{24}\b",
    "number": r"\b\d{15,19}\b",
}
TOKEN = re.compile("|".join(f"(?P<{name}>{text})" for name, text in ANY.items()))


class Problem(Exception):
    """Something wrong at a line of a README."""

    def __init__(self, path, line, text):
        super().__init__(f"{os.path.basename(path)}:{line}: {text}")


class Block:
    """One fenced block.

    `line` is that of its first line of text, `kind` one of: run, background, not run, output, file, plain. `detail` is
    the reason of what is not run, the programs that what is run needs, or the name of the file.
    """

    def __init__(self, path, line, language, kind, detail, text):
        self.path, self.line, self.language = path, line, language
        self.kind, self.detail, self.text = kind, detail, text

    def problem(self, text, line=None):
        return Problem(self.path, line or self.line, text)

    @property
    def needs(self):
        """The programs without which it is not run."""
        return self.detail.split() if self.kind in ("run", "background") else []


def read_blocks(path):
    """The blocks of a README in order. Raises Problem for one that nobody would know what to do with."""
    blocks, marker, fence = [], None, None
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    for number, line in enumerate(lines, 1):
        if fence is not None:
            if line.strip() == fence[0]:
                blocks.append(_block(path, fence, lines[fence[2] : number - 1], blocks))
                fence = None
        elif FENCE.fullmatch(line.strip()):
            ticks, language = FENCE.fullmatch(line.strip()).groups()
            fence, marker = (ticks, language, number, marker), None
        elif MARKER.fullmatch(line.strip()):
            marker = (*MARKER.fullmatch(line.strip()).groups(), number)
        elif line.strip() and marker is not None:
            raise Problem(path, marker[2], "a marker stands directly before the block that it is for")
    if fence is not None:
        raise Problem(path, fence[2], "this block does not end")
    if marker is not None:
        raise Problem(path, marker[2], "a marker stands directly before the block that it is for")
    return blocks


def _block(path, fence, lines, before):
    _, language, opened, marker = fence
    kind, detail = _kind(path, opened, language, marker)
    block = Block(path, opened + 1, language, kind, detail, "\n".join(lines) + "\n")
    last = before[-1] if before else None
    if kind == "output" and (last is None or last.kind not in ("run", "background")):
        raise Problem(path, opened, "an output follows the block that prints it")
    if last is not None and last.kind == "background" and kind != "output":
        raise last.problem("what runs in the background needs an output, to be waited for")
    if kind == "plain" and any(line.startswith("$ ") for line in lines):
        raise Problem(path, opened, "commands stand in a `sh` block, their output in one of its own")
    for offset, line in enumerate(lines if kind in ("run", "background") else []):
        if re.search(r"&&|\|\|", line):
            # Even with `set -e` bash goes on where the first of the two fails.
            raise block.problem("a command of its own for each line, without && and ||", block.line + offset)
    return block


def _kind(path, opened, language, marker):
    """What is to be done with a block, by its language and the marker before it."""
    word, detail = (marker[0], marker[1] or "") if marker is not None else (None, "")
    if word == "not run":
        if not detail:
            raise Problem(path, marker[2], "say why it is not run: <!-- not run: REASON -->")
        return "not run", detail
    if language == "sh":
        if word is None:
            return "run", ""
        how = re.fullmatch(r"(background)?(?:, )?(?:needs (.+))?", detail) if word == "run" else None
        if how is None or not detail:
            allowed = "`run: background`, `run: needs PROGRAM`, `run: background, needs PROGRAM`, `not run: REASON`"
            raise Problem(path, marker[2], f"a `sh` block may be marked {allowed}")
        return how.group(1) or "run", how.group(2) or ""
    if word == "output":
        return "output", ""
    if word == "file" and re.fullmatch(r"[\w.-]+(/[\w.-]+)*", detail) and ".." not in detail.split("/"):
        return "file", detail
    if word is None and language in PLAIN:
        return "plain", ""
    if word is None:
        allowed = "`output`, `file: NAME` or `not run: REASON`"
        raise Problem(path, opened, f"a block of '{language}' needs a marker: {allowed}")
    raise Problem(path, marker[2], f"no such marker for a block of '{language}'")


def pattern(expected):
    """What an output has to match, as a regular expression: literally, but for ids, times and `…`."""
    parts, end = [], 0
    for found in TOKEN.finditer(expected):
        parts.append(re.escape(expected[end : found.start()]))
        if found.lastgroup == "rest":
            parts.append(r"[^\n]*")
        elif found.lastgroup == "uuid":
            # Of the same version.
            parts.append(ANY["uuid"].replace("[1-8]", found.group()[14]))
        else:
            parts.append(ANY[found.lastgroup])
        end = found.end()
    return "".join(parts) + re.escape(expected[end:])


def matches(output, expected, part=False):
    """Whether an output is as expected; with `part`, whether some of its lines are. Space at line ends is nothing."""
    output, expected = ("\n".join(line.rstrip() for line in text.strip().splitlines()) for text in (output, expected))
    if part:
        return re.search(f"^{pattern(expected)}$", output, re.MULTILINE) is not None
    return re.fullmatch(pattern(expected), output) is not None


def compare(first, second):
    """Raises Problem at the first block that differs between two languages. Comments may, and so may pictures."""
    first, second = ([block for block in blocks if block.kind != "plain"] for blocks in (first, second))
    for one, other in zip(first, second):
        if one.kind != other.kind or one.language != other.language:
            told = f"'{other.kind}', {other.language}, where {_place(one)} has '{one.kind}', {one.language}"
            raise other.problem(told)
        if one.kind != "not run" and one.detail != other.detail:
            raise other.problem(f"marked '{other.detail}' where {_place(one)} has '{one.detail}'")
        mine, theirs = _commands(one.text), _commands(other.text)
        for offset, line in enumerate(theirs):
            if offset >= len(mine) or mine[offset] != line:
                raise other.problem(f"differs from {_place(one, offset)}: {line}", other.line + offset)
        if len(mine) > len(theirs):
            raise other.problem(f"ends before {_place(one, len(theirs))}: {mine[len(theirs)]}")
    if len(first) != len(second):
        longer, shorter = (first, second) if len(first) > len(second) else (second, first)
        extra = longer[len(shorter)]
        raise extra.problem("the other language has no such block")


def _place(block, offset=0):
    return f"{os.path.basename(block.path)}:{block.line + offset}"


def _commands(text):
    """A block's lines without comments."""
    return [re.sub(r"(^|\s+)(#|//)\s.*$", "", line).rstrip() for line in text.splitlines()]


def check_links(path):
    """Raises Problem at the first link to a file that is not there."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            for target in LINK.findall(line):
                there = os.path.join(os.path.dirname(path), target)
                if "://" not in target and not target.startswith("mailto:") and not os.path.exists(there):
                    raise Problem(path, number, f"a link to {target}, which is not there")
