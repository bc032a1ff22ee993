"""The Markdown of model cards -> plain HTML in which every character of the text is escaped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import escape

_LINK = re.compile(r"\[([^\]]+)\]\((https://[^\s)\"'<>]+)\)")
_CODE = re.compile(r"`([^`]+)`")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_STARTS = re.compile(r"#{1,4} |```|\||- ")


def to_html(text: str) -> str:
    """Return headings, paragraphs, lists, tables and code as HTML; a head of YAML is left out.

    Args:
        text: Markdown as `card` writes it. What is beyond that is shown as it stands; HTML in it too, as text.
    """
    lines = re.sub(r"\A---\n.*?\n---\n", "", text.replace("\r\n", "\n"), flags=re.DOTALL).split("\n")
    return "\n".join(_blocks(lines))


def _blocks(lines: list[str]) -> Iterator[str]:
    place = 0
    while place < len(lines):
        line = lines[place]
        end = place + 1
        if not line.strip():
            pass
        elif line.startswith("```"):
            end = next((k for k in range(end, len(lines)) if lines[k].startswith("```")), len(lines))
            yield f"<pre tabindex=0><code>{escape(chr(10).join(lines[place + 1 : end]))}</code></pre>"
            end += 1
        elif heading := re.match(r"(#{1,4}) (.+)", line):
            level = len(heading[1])
            yield f"<h{level}>{_inline(heading[2])}</h{level}>"
        elif line.startswith("|"):
            end = _while(lines, end, lambda each: each.startswith("|"))
            yield _table(lines[place:end])
        elif line.startswith("- "):
            end = _while(lines, end, lambda each: bool(each.strip()) and (each.startswith(("- ", "  "))))
            items = "\n".join(lines[place:end])[2:].split("\n- ")
            yield f"<ul>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</ul>"
        else:
            end = _while(lines, end, lambda each: bool(each.strip()) and not _STARTS.match(each))
            yield f"<p>{_inline(' '.join(lines[place:end]))}</p>"
        place = end


def _while(lines: list[str], place: int, fits: Callable[[str], bool]) -> int:
    while place < len(lines) and fits(lines[place]):
        place += 1
    return place


def _table(lines: list[str]) -> str:
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines]
    head = "".join(f"<th scope=col>{_inline(cell)}</th>" for cell in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{_inline(cell)}</td>' for cell in row)}</tr>" for row in rows[2:])
    return (
        "<div class=scroll tabindex=0 role=region aria-label=Table>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _inline(text: str) -> str:
    """Escape, then mark links, code and bold; in code nothing else is marked."""
    parts = _CODE.split(text.replace("\\|", "|"))
    return "".join(
        f"<code>{escape(part)}</code>" if place % 2 else _marked(escape(part)) for place, part in enumerate(parts)
    )


def _marked(text: str) -> str:
    return _BOLD.sub(r"<strong>\1</strong>", _LINK.sub(r'<a href="\2" rel="noreferrer">\1</a>', text))
