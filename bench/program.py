"""The command line of the benchmark: what to measure, and where to write it."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from bench import machine, sizes, table
from bench.figures import FALLS_SHORT, REACHES, Figure
from bench.lab import Lab, remove
from bench.peers import Peers

TOPICS = ["control", "io", "churn", "diffs", "listing", "transfer", "opening", "cli", "nbd", "openstack"]


def main() -> int:
    wanted = _arguments()
    size = sizes.QUICK if wanted.quick else sizes.FULL
    wanted.dir.mkdir(parents=True, exist_ok=True)
    facts = machine.describe(wanted.dir, quick=wanted.quick)
    facts.append(("seed", str(wanted.seed)))
    notes = [f"warning: {warning}" for warning in machine.warnings(wanted.dir, size.room)]
    for note in notes:
        print(f"bench: {note}", file=sys.stderr)

    directory = Path(tempfile.mkdtemp(prefix="cowshed-bench-", dir=wanted.dir.resolve()))
    figures: list[Figure] = []
    failed: list[str] = []
    try:
        lab = Lab(directory, size, wanted.seed, Peers())
        for topic in [topic for topic in TOPICS if topic in (wanted.only or TOPICS)]:
            start = time.monotonic()
            try:
                run: Callable[[Lab], list[Figure]] = import_module(f"bench.{topic}").run
                figures += run(lab)
            except Exception:
                traceback.print_exc()
                failed.append(topic)
            lab.say(f"{topic}: {time.monotonic() - start:.0f} s")
    finally:
        remove(directory)

    facts.append(("load at the end", machine.load()))
    notes += [f"peer missing: {reason}" for reason in lab.peers.missing]
    notes += [f"FAILED: {topic} did not come to its end" for topic in failed]
    notes.append(_sum(figures))
    print(table.plain(facts, figures, notes))
    if wanted.json:
        record = {
            "machine": dict(facts),
            "figures": [figure.as_json() for figure in figures],
            "notes": notes,
        }
        wanted.json.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    if wanted.markdown:
        table.write_markdown(wanted.markdown, table.markdown(facts, figures, notes))
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", description="Measure, and print one table: figure, measured, bar, verdict, peers."
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to try that it runs")
    parser.add_argument("--only", action="append", choices=TOPICS, help="this topic; may be repeated")
    parser.add_argument(
        "--dir", type=Path, default=Path("/var/tmp"), help="where stores and peers' files lie (/var/tmp)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there (RESULTS.md)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    return parser.parse_args()


def _sum(figures: list[Figure]) -> str:
    short = [f"{figure.topic}: {figure.name}" for figure in figures if figure.verdict == FALLS_SHORT]
    reached = sum(figure.verdict == REACHES for figure in figures)
    text = f"{reached} of {reached + len(short)} bars are reached"
    return f"{text}; short fall {'; '.join(short)}" if short else text
