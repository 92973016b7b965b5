"""gale's kernels beside the peers' rows that have one of the same shape. Needs no torch."""

import json
import subprocess

from .report import Unavailable

LIMIT_S = 60  # for one kernel


def beside(gale, device, report, deadline):
    """The rows are what gale says; gale_us and gale_over_peer are put into the peers' rows."""
    if gale is None:
        raise Unavailable("no --gale")
    for peer in report.rows("copy") + report.rows("gemm"):
        if peer.get("gale_kernel"):
            row = measure(gale, device, peer["gale_kernel"], peer["shape"], min(LIMIT_S, deadline.left()))
            yield row
            if "p50_us" in row:
                report.change(peer, gale_us=row["p50_us"], gale_over_peer=row["p50_us"] / peer["p50_us"])


def measure(gale, device, kernel, shape, limit_s):
    name = f"gale {kernel}"
    # Said, since by default gale takes its emulator where it finds no GPU.
    command = [gale, "bench", "--kernel", kernel, "-o", "json", "--device", "cuda" if device == "cuda" else "emulator"]
    for axis, size in shape.items():
        command += [f"--{axis}", str(size)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return {"name": name, "shape": shape, "skipped": f"stopped after {limit_s:.0f} s"}
    if answer.returncode != 0:
        return {"name": name, "shape": shape, "error": answer.stderr.strip()[-500:] or f"exit {answer.returncode}"}
    return {"name": name, "shape": shape, **json.loads(answer.stdout)}
