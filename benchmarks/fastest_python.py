"""Prints the fastest of the interpreters that are named: `python fastest_python.py NAME…`. Those that aren't there, or
that are older than 3.11, are passed over.

Builds of one version differ by a third in speed: those of distributions and of the official images are optimized by
profile, one that a version manager compiled often is not.
"""

import subprocess
import sys

LOOP = """
import sys, time
assert sys.version_info >= (3, 11)
def work(found={}):
    for number in range(100_000):
        found[number & 255] = str(number).encode()
times = []
for _ in range(5):
    started = time.process_time()
    work()
    times.append(time.process_time() - started)
print(min(times))
"""


def measure(name: str) -> float:
    """Seconds for a loop of ordinary Python; infinity where there is no such interpreter."""
    try:
        done = subprocess.run([name, "-c", LOOP], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return float("inf")
    return float(done.stdout)


if __name__ == "__main__":
    print(min(sys.argv[1:], key=measure))
