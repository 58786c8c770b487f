"""The one table, for the terminal and for RESULTS.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure

HEAD = ["figure", "measured", "bar", "verdict", "peers"]
BEGIN, END = "<!-- results: written by `python bench --markdown` -->", "<!-- end of results -->"

Facts = Sequence[tuple[str, str]]


def plain(facts: Facts, figures: Sequence[Figure], notes: Sequence[str]) -> str:
    """For a terminal."""
    rows = [_row(figure) for figure in figures]
    widths = [max(len(row[i]) for row in [HEAD, *rows]) for i in range(len(HEAD))]
    lines = [f"{name:<18} {value}" for name, value in facts]
    lines += ["", _line(HEAD, widths), "  ".join("-" * width for width in widths[:-1]) + "  -----"]
    topic = None
    for figure, row in zip(figures, rows, strict=True):
        if figure.topic != topic:
            topic = figure.topic
            lines.append(f"[{topic}]")
        lines.append(_line(row, widths))
    return "\n".join([*lines, *([""] if notes else []), *notes])


def markdown(facts: Facts, figures: Sequence[Figure], notes: Sequence[str]) -> str:
    """For a page."""
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts), ""]
    lines += [f"| {' | '.join(['', *HEAD])} |", "|" + "---|" * (len(HEAD) + 1)]
    topic = None
    for figure in figures:
        shown = figure.topic if figure.topic != topic else ""
        topic = figure.topic
        lines.append(f"| {' | '.join([shown, *(cell.replace('|', '/') for cell in _row(figure))])} |")
    return "\n".join([*lines, *([""] if notes else []), *(f"- {note}" for note in notes)])


def write_markdown(path: Path, text: str) -> None:
    """Between the marks of a page that has them, else as a page of its own."""
    text = f"{BEGIN}\n{text}\n{END}"
    if path.exists():
        page = path.read_text()
        before, begin, rest = page.partition(BEGIN)
        _, end, after = rest.partition(END)
        if begin and end:
            path.write_text(f"{before}{text}{after}")
            return
    path.write_text(f"{text}\n")


def _row(figure: Figure) -> list[str]:
    peers = "; ".join(f"{name} {value}" for name, value in figure.peers.items())
    bar = str(figure.bar) if figure.bar else ""
    return [figure.name, figure.measured, bar, figure.verdict or "(information)", peers]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()
