"""What the peers do on the same card in the same run: cuBLAS, attention and a transformers model, through torch.

    python3 peers --json FILE [--seconds LIMIT] [--quick] [--device cuda|cpu] [--tiny] [--gale PATH]

Needs Python 3.9 and torch; a part that needs more is skipped, and the JSON says why. Parts come in the order of what
they are worth, and FILE is written anew after each row, so whatever ends this early leaves what was measured until
then. With --gale, its kernel that does the same is measured beside each product, and beside attention of a token and
of a prompt that is one chunk. --tiny with --device cpu tries everything in a minute or so and measures nothing that
counts.

Exit status: 0 fine, 1 something failed (the rest was measured), 2 wrong usage, 3 no torch, or none that sees a GPU.
"""

import argparse
import os
import sys

# `python3 peers` puts this folder itself there.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from peers import gale  # noqa: E402
from peers.report import Deadline, Part, Report, run  # noqa: E402
from peers.shapes import MISTRAL_7B, TINY  # noqa: E402


def arguments():
    start = __doc__.split("\n\n", 2)
    parser = argparse.ArgumentParser(prog="peers", description=start[0], epilog=start[2],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", required=True, metavar="FILE", help="where the results go")
    parser.add_argument("--seconds", type=seconds, metavar="LIMIT", help="end after so many, done or not")
    parser.add_argument("--quick", action="store_true", help="fewer shapes")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, to try this program")
    parser.add_argument("--gale", metavar="PATH", help="gale's program")
    given = parser.parse_args()
    if given.gale and not os.access(given.gale, os.X_OK):
        parser.error(f"--gale: {given.gale} is no program that can be run")
    return parser, given


def seconds(text):
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"expected seconds, more than 0 and less than 1e6, found {text}")
    return value


def no_torch(report, why):
    report.put("reason", why)
    print(f"peers: {why}", file=sys.stderr)
    sys.exit(3)


def main():
    parser, given = arguments()
    deadline = Deadline(given.seconds)
    head = {key: getattr(given, key) for key in ["device", "quick", "tiny", "seconds", "gale"]}
    report = Report(given.json, {"counts_as_gpu_speed": False, **head})
    try:
        report.write()
    except OSError as error:
        parser.error(f"--json: {given.json} cannot be written: {error.strerror}")
    os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is fetched
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library that it needs is missing
        no_torch(report, f"torch cannot be imported: {error}")
    if given.device == "cuda" and not torch.cuda.is_available():
        no_torch(report, f"torch {torch.__version__} sees no GPU; --device cpu tries this program without one")
    from peers import attention, machine, model, products
    from peers.bench import Bench

    torch.set_grad_enabled(False)
    shapes = TINY if given.tiny else MISTRAL_7B.quick() if given.quick else MISTRAL_7B
    bench = Bench(given.device, shapes)
    report.put("counts_as_gpu_speed", bench.is_gpu and not given.tiny)
    report.put("machine", machine.describe(given.device))
    # The seconds are what a part takes at the least on a GPU, mostly to compile; without them it is not begun.
    parts = [
        Part("copy", 1, lambda: products.copy(bench, shapes)),
        Part("gemm", 1, lambda: products.gemm(bench, shapes)),
        Part("sdpa", 2, lambda: attention.sdpa(bench, shapes)),
        Part("gale", 2, lambda: gale.beside(given.gale, given.device, report, deadline)),
        Part("window", 15, lambda: attention.window(bench, shapes, report)),
        Part("transformers", 15, lambda: model.eager(bench, shapes)),
        Part("transformers_compiled", 60, lambda: model.compiled(bench, shapes)),
    ]
    if given.tiny:
        parts = [part._replace(least_s=1) for part in parts]
    sys.exit(run(parts, report, deadline, machine.health if given.device == "cuda" else None))


main()
