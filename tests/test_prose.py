"""Plain English: phrases that make a sentence hard to read are in no page, docstring, comment or text of the gateway.

Vale's packages fetch a program when they are first run, and proselint finds style that is right here ("very", straight
quotes), so this is a list of our own. CONTRIBUTING.md says how we write.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_documentation import CODE, PAGES, ROOT

PHRASES = {
    r"what holds": "name what is valid",
    r"(?:doesn't|does not|which) holds?\b|holds (?:until|while|of|that|in)\b": "apply, be valid, keep, be true",
    r"stands\b(?! for\b)": "is written, is",
    r"none of": "no …, not any of",
    r"(?:is|are|be) told": "name who tells: the log says, the caller gets",
    r"anew": "again",
    r"where (?:there (?:is|are)|nobody|somebody|nothing|both|neither)\b": "if",
    r"(?:none|empty|nothing|true|false) where\b": "if",
    r"be it\b": "whether … or …",
    r"(?<!as fast )as they (?:come|stand)\b": "unchanged",
    r"(?:of )?(?:that|those|these) which": "use the noun",
    r"thereof|whereupon|wherein|heretofore|nought": "the common word",
    r"in order to": "to",
    r"utili[sz]e": "use",
    r"prior to": "before",
    r"but for\b": "except",
    r"in the place of": "instead of",
    r"at the latest": "no later than",
    r"(?<!are )all the same\b": "anyway",
    r"as (?:\S+ ){1,3}(?:has|have) it\b": "as in",
    r"(?:it|that|which|this) (?:is|was) no (?!longer|more|less|need)": "is not a",
    r"(?:says?|said|tells?|knows?|known|learns?|hears?) of\b": "about",
    r"take[ns]? for\b": "treated as, confused with",
    r"(?:holds?|held|holding) up\b": "delay",
    r"mend(?:s|ed)?\b": "correct, repair",
    r"\w+Error (?:says|names)\b": "Raises …, whose text says",
    r"(?-i:^(?:Of|Those|That|As of) )": "begin with the noun",
}
HARD = re.compile("|".join(rf"(?P<p{i}>\b(?:{phrase}))" for i, phrase in enumerate(PHRASES)), re.IGNORECASE)
SOURCES = sorted(
    path
    for folder in ("app", "responders", "examples", "nats_http_gateway")
    for ending in ("py", "js")
    for path in (ROOT / folder).rglob(f"*.{ending}")
    if "node_modules" not in path.parts
)


def read_python(text: str) -> Iterator[tuple[int, str]]:
    """The comments, docstrings and other texts of at least two words, each with its line."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def read(path: Path) -> Iterator[tuple[int, str]]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from read_python(text)
    elif path.suffix == ".md":
        yield 1, CODE.sub(lambda block: "\n" * block[0].count("\n"), text)
    else:
        yield 1, text


def find_hard_phrases(path: Path) -> Iterator[str]:
    for line, text in read(path):
        for hit in HARD.finditer(text):
            number = line + text.count("\n", 0, hit.start())
            better = list(PHRASES.values())[int(str(hit.lastgroup)[1:])]
            yield f"{path.relative_to(ROOT)}:{number}: {hit[0]!r}: {better}"


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_it_is_plain_english(path: Path) -> None:
    assert list(find_hard_phrases(path)) == []


def test_a_hard_phrase_is_found_in_comments_docstrings_texts_and_pages(tmp_path: Path) -> None:
    source = '"""What holds.\n\nMade anew."""\nx = f"a {1} is told"  # none of these\n'
    found = [(line, hit[0]) for line, text in read_python(source) for hit in HARD.finditer(text)]
    assert sorted(found) == [(1, "What holds"), (1, "anew"), (4, "is told"), (4, "none of")]
