"""HTML from Python: elements that escape what they are given, and pages that need nothing but themselves."""

import html
from collections.abc import Iterable, Sequence

#: Elements that have no content.
VOID = frozenset({"img", "meta", "link"})


class Html(str):
    """Text that is markup already. Everything else is escaped where it is put in."""

    __slots__ = ()


def markup(content: object) -> Html:
    """`content` as markup: escaped unless it is `Html`; sequences are joined, None is left out."""
    if content is None:
        return Html("")
    if isinstance(content, Html):
        return content
    if isinstance(content, list | tuple):
        return Html("".join(map(markup, content)))
    return Html(html.escape(str(content)))


def element(name: str, /, *content: object, **attributes: object) -> Html:
    """``<name attribute="value">content</name>``.

    Args:
        name: of the element.
        content: escaped unless it is `Html`.
        attributes: escaped; None leaves one out; ``class_`` and other trailing underscores are dropped.
    """
    text = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{text}>")
    return Html(f"<{name}{text}>{markup(content)}</{name}>")


def table(
    header: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    numeric: Iterable[int] = (),
    foot: int = 0,
) -> Html:
    """A table that scrolls on its own where the page is too narrow; the first column names the row.

    Args:
        header: of the columns.
        rows: of cells.
        numeric: columns of numbers, aligned to the right.
        foot: how many of the last rows are sums or means, set apart by a line.
    """
    right, rows = set(numeric), list(rows)

    def row(cells: Sequence[object], cell: str, class_: str | None = None) -> Html:
        return element(
            "tr",
            [
                element(
                    "th" if i == 0 else cell,
                    value,
                    class_="n" if i in right else None,
                    scope="col" if cell == "th" else "row" if i == 0 else None,
                )
                for i, value in enumerate(cells)
            ],
            class_=class_,
        )

    first_foot = len(rows) - foot
    body = [row(cells, "td", "foot" if i == first_foot and foot else None) for i, cells in enumerate(rows)]
    head = element("thead", row(header, "th"))
    return element("div", element("table", head, element("tbody", body)), class_="scroll")


def facts(pairs: Iterable[tuple[object, object]]) -> Html:
    """A list of names with what they are."""
    return element("dl", [element("div", element("dt", name), element("dd", value)) for name, value in pairs])


def page(title: str, style: str, *content: object) -> str:
    """A whole document. Its policy forbids the browser every request, so that it can be passed on."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", Html(style)),
    )
    return f"<!doctype html>\n{element('html', head, element('body', *content), lang='en')}\n"
