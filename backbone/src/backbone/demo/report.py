"""What the demonstration shows on the screen."""

from rich.console import Console
from rich.table import Table

from backbone.demo.comparison import Check

_MOST_NAMED = 20


_BOOKS = "Sent, and held by the outside systems' own books"


def show(console: Console, checks: list[Check], *, title: str = _BOOKS) -> int:
    """Print the final table and every difference; how many differences there are."""
    table = Table(title=title, title_justify="left")
    table.add_column("What", no_wrap=True)
    for column in ("Sent", "Found", "In doubt", "Differences"):
        table.add_column(column, justify="right")
    for check in checks:
        count = len(check.differences)
        table.add_row(
            check.what,
            f"{check.sent:,}",
            f"{check.found:,}",
            f"{check.doubtful}" if check.doubtful else "",
            f"[red]{count}[/]" if count else "[green]0[/]",
        )
    console.print(table)
    differences = [difference for check in checks for difference in check.differences]
    for difference in differences[:_MOST_NAMED]:
        console.print(f"  [red]≠[/] {difference}", highlight=False)
    if len(differences) > _MOST_NAMED:
        console.print(f"  … and {len(differences) - _MOST_NAMED} more")
    return len(differences)
