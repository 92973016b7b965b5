"""The JSON file, the table, and the time limit. Needs no torch."""

import json
import os
import sys
import tempfile
import threading
import time
from typing import Callable, NamedTuple

NO_TIME = "no time left"


class Part(NamedTuple):
    name: str
    least_s: float  # with less time it is not begun
    rows: Callable  # the rows, one after the other, as they are measured


class Unavailable(Exception):
    """Why a part cannot be measured here, which is nobody's failure."""


class Deadline:
    def __init__(self, seconds=None, now=time.monotonic):
        self.now = now
        self.end = None if seconds is None else now() + seconds

    def left(self):
        return float("inf") if self.end is None else self.end - self.now()


class Report:
    """What has been measured so far. The file always holds whole JSON: it is replaced, never written into."""

    def __init__(self, path, head):
        self.path = path
        self.lock = threading.RLock()
        self.content = {**head, "machine": None, "parts": []}

    def put(self, key, value):
        with self.lock:
            self.content[key] = value
            self.write()

    def begin(self, name):
        with self.lock:
            part = {"name": name, "state": "running", "reason": None, "seconds": None, "health": None, "rows": []}
            self.content["parts"].append(part)
            self.write()
            return part

    def change(self, entry, **values):
        """Of a part or a row."""
        with self.lock:
            entry.update(values)
            self.write()

    def add(self, part, row):
        with self.lock:
            part["rows"].append(row)
            self.write()

    def rows(self, name):
        """Those of a part that were measured."""
        parts = [part for part in self.content["parts"] if part["name"] == name]
        return [row for part in parts for row in part["rows"] if "p50_us" in row]

    def has_failed(self):
        return any(part["state"] == "failed" for part in self.content["parts"])

    def write(self):
        with self.lock:
            folder = os.path.dirname(os.path.abspath(self.path))
            file, beside = tempfile.mkstemp(dir=folder, prefix=".peers-", suffix=".json")
            try:
                with os.fdopen(file, "w") as out:
                    json.dump(self.content, out, indent=1)
                    out.write("\n")
                os.chmod(beside, 0o644)
                os.replace(beside, self.path)
            except BaseException:
                os.unlink(beside)
                raise

    def table(self):
        """Markdown."""
        lines = ["| peer | shape | µs p50 | p10 | p90 | GB/s | TFLOP/s | gale µs | gale / peer |"]
        lines += ["| --- | --- |" + " ---: |" * 7]
        notes = [] if self.content["counts_as_gpu_speed"] else ["None of these counts as a GPU's speed."]
        for part in self.content["parts"]:
            if part["state"] != "ok":
                notes.append(f"{part['name']}: {part['state']}, {part['reason']}")
            for row in part["rows"]:
                shape = [f"{key} {value}" for key, value in row["shape"].items()]
                name, shape = row["name"], ", ".join(shape + [row[key] for key in ["backend"] if key in row])
                for kind in ["error", "skipped"]:
                    if kind in row:
                        notes.append(f"{name}, {shape}: {kind}, {row[kind]}")
                if "p50_us" in row and part["name"] != "gale":
                    numbers = [row.get(key) for key in ["p50_us", "p10_us", "p90_us", "gb_per_s", "tflops", "gale_us"]]
                    cells = [name, shape, *map(rounded, numbers), rounded(row.get("gale_over_peer"), 3)]
                    lines.append("| " + " | ".join(cells) + " |")
                if "windowed_over_full" in row:
                    of = f"{row['windowed_over_full']:.4f} of the time of {row['full']}"
                    notes.append(f"{name}, {shape}: {of}, for {row['work_ratio']:.4f} of the pairs")
                if "tokens_per_s" in row:
                    notes.append(f"{name}, {shape}: {row['tokens_per_s']:.1f} tokens/s")
        return "\n".join(lines + [""] + [f"- {note}" for note in notes])


def rounded(number, digits=2):
    return "" if number is None else f"{number:.{digits}f}"


def run(parts, report, deadline, health=None):
    """All parts, as long as there is time; the exit status. What still runs at the deadline ends with the process."""
    guard = None
    if deadline.end is not None:
        guard = threading.Timer(max(deadline.left(), 0), cut_off, [parts, report])
        guard.daemon = True
        guard.start()
    for part in parts:
        measure(part, report, deadline, health)
    if guard is not None:
        guard.cancel()
    with report.lock:  # not while the guard ends it all
        return finish(report)


def measure(part, report, deadline, health):
    entry, start = report.begin(part.name), time.monotonic()
    try:
        if deadline.left() < part.least_s:
            raise Unavailable(f"{NO_TIME}: {max(deadline.left(), 0):.0f} s, and it takes {part.least_s} s or more")
        before = health() if health else None
        for row in part.rows():
            report.add(entry, row)
        report.change(entry, health=[before, health() if health else None])
        n_errors = sum("error" in row for row in entry["rows"])
        state, reason = ("failed", f"{n_errors} of {len(entry['rows'])} rows") if n_errors else ("ok", None)
    except Unavailable as why:
        state, reason = "skipped", str(why)
    except Exception as error:
        state, reason = "failed", described(error)
    report.change(entry, state=state, reason=reason, seconds=round(time.monotonic() - start, 3))
    print(f"peers: {part.name} {state}{': ' if reason else ''}{reason or ''}", file=sys.stderr, flush=True)


def described(error):
    """Its kind and how it begins: some go on for pages."""
    lines = [line for line in str(error).splitlines() if line.strip()] or ["no message"]
    return f"{type(error).__name__}: {lines[0].strip()}"[:500]


def cut_off(parts, report):
    """At the deadline: a compiler or a kernel cannot be interrupted, but left."""
    with report.lock:
        begun = report.content["parts"]
        for part in begun:
            if part["state"] == "running":
                report.change(part, state="stopped", reason=NO_TIME)
        for part in parts[len(begun) :]:
            report.change(report.begin(part.name), state="skipped", reason=NO_TIME)
        os._exit(finish(report))


def finish(report):
    print(report.table(), flush=True)
    return 1 if report.has_failed() else 0
