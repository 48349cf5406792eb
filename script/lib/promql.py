"""What a PromQL expression names: enough of the language to find metrics and labels; promtool judges the rest."""

import re

# Everything that looks like a metric's name and is none.
KEYWORDS = set("and or unless by without on ignoring group_left group_right bool offset inf nan atan2".split())
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)", re.IGNORECASE)
STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`')
NAME = re.compile(r"[A-Za-z_:][\w:]*")


def _without_strings(expression):
    return STRING.sub('""', re.sub(r"#.*", "", STRING.sub(lambda match: match[0].replace("#", "_"), expression)))


def selectors(expression):
    """The metrics of an expression, each with the labels that it is selected by, as a list of (name, labels)."""
    bare = GROUPING.sub(" ", _without_strings(expression))
    # Durations and ranges; what stands between braces is kept beside its metric.
    bare = re.sub(r"\[[^\]]*\]", " ", bare)
    found = []
    position = 0
    while match := re.compile(r"\{([^}]*)\}|(?<![\w.])[A-Za-z_:][\w:]*").search(bare, position):
        position = match.end()
        if match[1] is not None:
            raise ValueError(f"a selector without a metric's name: {match[0]}")
        rest = bare[position:].lstrip()
        if rest.startswith("(") or match[0].lower() in KEYWORDS:
            continue
        labels = []
        if rest.startswith("{"):
            end = bare.index("}", position)
            labels = re.findall(r"([A-Za-z_]\w*)\s*(?:=~|!~|!=|=)", bare[position:end])
            position = end + 1
        found.append((match[0], labels))
    return found


def metrics(expression):
    """The names of an expression's metrics, each once, in their order."""
    return list(dict.fromkeys(name for name, _ in selectors(expression)))


def groupings(expression):
    """The labels that results are grouped or matched by."""
    return sorted({label for part in GROUPING.findall(_without_strings(expression)) for label in NAME.findall(part)})
