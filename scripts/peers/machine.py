"""What is measured on: card, versions, clocks and heat."""

import importlib.metadata
import platform
import subprocess

import torch

HEALTH = ["clocks.sm", "clocks.mem", "temperature.gpu", "power.draw", "clocks_throttle_reasons.active"]


def describe(device):
    versions = {name: version(name) for name in ["torch", "triton", "transformers", "flash-attn"]}
    machine = {"device": platform.processor() or platform.machine(), "python": platform.python_version(), **versions}
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        machine.update(
            device=card.name,
            capability=[card.major, card.minor],
            n_multiprocessors=card.multi_processor_count,
            memory_bytes=card.total_memory,
            l2_bytes=getattr(card, "L2_cache_size", None),
            cuda=torch.version.cuda,
            cudnn=cudnn(),
            **(nvidia_smi(["driver_version", "clocks.max.sm", "clocks.max.mem", "power.limit"]) or {}),
        )
    return machine


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cudnn():
    """It raises where the library that is found is not the one that torch was built for."""
    try:
        return torch.backends.cudnn.version()
    except (RuntimeError, ValueError):
        return None


def health():
    """Newer drivers may drop the last name."""
    return nvidia_smi(HEALTH) or nvidia_smi(HEALTH[:-1])


def nvidia_smi(fields):
    """None where there is no nvidia-smi, or it does not know a field."""
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    uuid = getattr(torch.cuda.get_device_properties(0), "uuid", None)  # whatever CUDA_VISIBLE_DEVICES says
    if uuid is not None:
        command.append(f"--id=GPU-{uuid}")
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    values = [value.strip() for value in answer.stdout.strip().split("\n")[0].split(",")]
    return dict(zip(fields, values)) if answer.returncode == 0 and len(values) == len(fields) else None
