"""Counts the instructions of each case: `python -m benchmarks.instructions`.

It prints a table, beside the figures that `figures.json` keeps for this version of Python. `--keep REASON` writes them
again, with the reason of the change. The command fails if a case costs more than TOLERANCE above its kept figure.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.instructions.count import REQUESTS, TOLERANCE, Figures, count_all, find_missing_tool, python_version


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions")
    parser.add_argument("cases", nargs="*", help="the names of cases, all by default")
    parser.add_argument("--keep", metavar="REASON", help="write the figures into figures.json")
    options = parser.parse_args()
    if missing := find_missing_tool():
        sys.exit(f"benchmarks: {missing}")
    figures = Figures.read()
    with tempfile.TemporaryDirectory() as folder:
        counted = count_all(Path(folder), options.cases)
    kept = figures.of(python_version())
    print(f"Instructions a request, Python {python_version()}, {REQUESTS:,} requests a case.\n")
    print("| | counted | kept | ratio |\n|---|---|---|---|")
    for name, count in counted.items():
        before = kept.get(name)
        beside = f"{before:,} | {count / before:.3f}" if before else "– | –"
        print(f"| {name} | {count:,} | {beside} |")
    if options.keep:
        figures.keep(python_version(), {**kept, **counted}, options.keep)
    elif dearer := figures.find_dearer(python_version(), counted):
        sys.exit(f"\nMore than {TOLERANCE:.0%} above what is kept: {', '.join(dearer)}.")


if __name__ == "__main__":
    main()
