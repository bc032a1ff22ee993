"""The Markdown of model cards -> plain HTML in which no HTML of the text is left, by markdown-it-py."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token


def to_html(text: str) -> str:
    """Return headings, paragraphs, lists, tables and code as HTML; a head of YAML is left out.

    Args:
        text: CommonMark with tables. HTML in it is shown as text, and no picture is fetched from anywhere.
    """
    return str(_renderer().render(re.sub(r"\A---\n.*?\n---\n", "", text.replace("\r\n", "\n"), flags=re.DOTALL)))


@lru_cache(maxsize=1)
def _renderer() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "autolink"])
    made.validateLink = lambda url: url.startswith("https://")  # type: ignore[method-assign]
    made.add_render_rule("link_open", _link)
    # What is wider than the page scrolls, also by keys, and is announced.
    made.add_render_rule("table_open", lambda *_: f"<div {_SCROLLS}>\n<table>\n")
    made.add_render_rule("table_close", lambda *_: "</table>\n</div>\n")
    made.add_render_rule("th_open", lambda *_: "<th scope=col>")
    made.add_render_rule("fence", lambda _, tokens, index, *__: _code(tokens[index].content))
    return made


_SCROLLS = "class=scroll tabindex=0 role=region aria-label=Table"


def _link(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    tokens[index].attrSet("rel", "noreferrer")
    return renderer.renderToken(tokens, index, options, env)


def _code(content: str) -> str:
    return f"<pre tabindex=0><code>{escape(content)}</code></pre>\n"
