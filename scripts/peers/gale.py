"""gale's kernels beside the peers' rows that say what of gale does the same. Needs no torch."""

import json
import subprocess

from .report import Unavailable

LIMIT_S = 60  # for one kernel


def beside(gale, device, report, deadline):
    """The rows are what gale says; gale_us and gale_over_peer are put into the peers' rows."""
    if gale is None:
        raise Unavailable("no --gale")
    measured = {}  # torch has several ways of what gale does in one
    for peer in report.rows("copy") + report.rows("gemm") + report.rows("sdpa"):
        options = peer.get("by_gale")
        if options is None:
            continue
        if str(options) not in measured:
            measured[str(options)] = measure(gale, device, options, min(LIMIT_S, deadline.left()))
            yield measured[str(options)]
        gale_us = measured[str(options)].get("p50_us")
        if gale_us is not None:
            report.change(peer, gale_us=gale_us, gale_over_peer=gale_us / peer["p50_us"])


def measure(gale, device, options, limit_s):
    name, shape = f"gale {options['kernel']}", {key: value for key, value in options.items() if key != "kernel"}
    # Said, since by default gale takes its emulator where it finds no GPU.
    command = [gale, "bench", "-o", "json", "--device", "cuda" if device == "cuda" else "emulator"]
    for option, value in options.items():
        command += [f"--{option}", str(value)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return {"name": name, "shape": shape, "skipped": f"stopped after {limit_s:.0f} s"}
    if answer.returncode != 0:
        return {"name": name, "shape": shape, "error": answer.stderr.strip()[-500:] or f"exit {answer.returncode}"}
    return {"name": name, "shape": shape, **json.loads(answer.stdout)}
