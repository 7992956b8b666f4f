"""Bad input, collected: every problem of a data set in one table, with file names, before anything starts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from io import StringIO

from rich.console import Console
from rich.table import Table

from sampath_jax.errors import InputError

#: File names listed per kind of problem; the rest is a count.
NAMES_SHOWN = 20
#: Columns of the rendered table.
TABLE_WIDTH = 110


@dataclass
class Problems:
    """Problems found so far: (what is wrong, what to do) -> where, in the order found. Notes are none."""

    found: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, what: str, where: str, remedy: str) -> None:
        """Notes that `where` (a file, a column, a split) has the problem `what`, and how to mend it."""
        self.found.setdefault((what, remedy), []).append(where)

    def extend(self, others: Iterable["Problems"]) -> None:
        """Adds all problems of `others`."""
        for other in others:
            for (what, remedy), places in other.found.items():
                self.found.setdefault((what, remedy), []).extend(places)

    def __len__(self) -> int:
        return sum(map(len, self.found.values()))

    def raise_if_any(self, title: str) -> None:
        """Raises one `InputError` with the table of all problems, if there are any."""
        if self.found:
            count = f"{len(self)} problem{'s' * (len(self) > 1)}"
            raise InputError(f"{title} ({count}):\n{self.table()}")

    def table(self) -> str:
        """The problems as text: what, how many, where (the first 20), what to do."""
        view = Table(header_style="", show_lines=True)
        view.add_column("problem", ratio=2, overflow="fold")
        view.add_column("count", justify="right")
        view.add_column("where", ratio=4, overflow="fold")
        view.add_column("what to do", ratio=3, overflow="fold")
        for (what, remedy), places in self.found.items():
            names = places[:NAMES_SHOWN]
            if len(places) > NAMES_SHOWN:
                names = [*names, f"... and {len(places) - NAMES_SHOWN:,} more"]
            view.add_row(what, f"{len(places):,}", "\n".join(names), remedy)
        text = StringIO()
        Console(file=text, width=TABLE_WIDTH, markup=False, highlight=False, no_color=True).print(view)
        return text.getvalue().rstrip()
