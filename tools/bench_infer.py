"""FCN-8s on VGG16, time and memory of one image, beside a plain version of the published network.

The plain version (``plain_fcn8s.py``) is the network as published: 100 pixels of padding, dense
transposed convolutions, NCHW. Weights are random. Each network lives in a process of its own; in
every round each scores the image once, forwards and backwards in turn, so that a machine that
slows down slows all. "peak" is the most memory that the process ever had, building the network
included; "scoring" the most since it was built (Linux alone tells). Both hold PyTorch itself and
the weights, 513 MiB of the plain network. ONNX Runtime needs no PyTorch; the export is another
process.

    python tools/bench_infer.py
    python tools/bench_infer.py --rounds 9 --nchw --compile --onnx
    OMP_NUM_THREADS=1 python tools/bench_infer.py --size 375x500
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

Work = Callable[[], object]

_CLASSES = 21
_WAYS = {
    "plain": "the published network, plainly",
    "paper": "fcnseg, --padding paper",
    "same": "fcnseg (--padding same)",
    "paper-nchw": "fcnseg, paper, NCHW",
    "same-nchw": "fcnseg, same, NCHW",
    "same-compiled": "fcnseg, same, torch.compile",
    "plain-compiled": "plain, torch.compile",
    "same-onnx": "fcnseg, same, ONNX Runtime",
}


def prepare(way: str, size: tuple[int, int], threads: int | None) -> Work:
    """Build a network and its image; the work is one forward pass."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    image = torch.randn(1, 3, *size)
    kind, _, how = way.partition("-")
    if kind == "plain":
        from plain_fcn8s import PlainFCN8s

        model: torch.nn.Module = PlainFCN8s(_CLASSES).eval()
    else:
        model = ours(kind)
        if how != "nchw":
            model = model.to(memory_format=torch.channels_last)
            image = image.contiguous(memory_format=torch.channels_last)
    if how == "compiled":
        model.compile()

    def work() -> object:
        with torch.inference_mode():
            return model(image)

    return work


def ours(padding: str) -> "torch.nn.Module":  # noqa: F821
    """Our network, with score layers that are not zero."""
    from torch import nn

    from fcnseg.build import build_fcn

    model = build_fcn("vgg16", "8s", _CLASSES, padding="paper" if padding == "paper" else "same")
    for numbers in model.head.score.parameters():
        nn.init.normal_(numbers, std=0.1)
    return model.eval()


def export(path: Path) -> None:
    """Write our network for ONNX Runtime."""
    from fcnseg.export import export

    export(ours("same"), path, "onnx")


def onnx_work(path: Path, size: tuple[int, int], threads: int | None) -> Work:
    """The exported network in ONNX Runtime, with as many threads as PyTorch would have."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or int(os.environ.get("OMP_NUM_THREADS", 0))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal((1, 3, *size), np.float32)
    pixels = {session.get_inputs()[0].name: image}
    return lambda: session.run(None, pixels)


def serve(way: str, size: tuple[int, int], threads: int | None, file: Path) -> None:
    """A process of one network: a forward pass for each line read, its seconds as a line."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no reply
    onnx = way == "same-onnx"
    work = onnx_work(file, size, threads) if onnx else prepare(way, size, threads)
    peak = peak_mib()  # on some systems forgetting lowers this one too
    forget_peak()
    work()
    print("ready", file=replies, flush=True)
    for _ in sys.stdin:
        start, used = time.perf_counter(), time.process_time()
        work()
        wall, cpu = time.perf_counter() - start, time.process_time() - used
        print(wall, cpu, max(peak, peak_mib()), recent_mib(), file=replies, flush=True)


def peak_mib() -> float:
    """The most memory that this process ever had, in MiB; nan where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 / (1024 if sys.platform == "darwin" else 1)


def forget_peak() -> None:
    """Let :func:`recent_mib` begin anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def recent_mib() -> float:
    """The most memory since :func:`forget_peak`, in MiB; nan where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next((int(line.split()[1]) / 1024 for line in lines if "VmHWM" in line), float("nan"))


def started(way: str, args: argparse.Namespace) -> "subprocess.Popen[str]":
    """A process of a network, once it is ready."""
    command = [sys.executable, __file__, "--serve", way, "--size", args.size]
    command += ["--file", str(args.file)]
    if args.threads is not None:
        command += ["--threads", str(args.threads)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        process.wait()
        raise SystemExit(f"error: {way}: the network does not run; the reason is above")
    return process


def asked(process: "subprocess.Popen[str]") -> tuple[float, ...]:
    """One forward pass: seconds, seconds of computing, peak memory so far and since built, MiB."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return tuple(map(float, process.stdout.readline().split()))


def compare(ways: list[str], args: argparse.Namespace) -> dict[str, list[tuple[float, ...]]]:
    """Run all rounds: way -> what :func:`asked` gives for each."""
    processes: dict[str, subprocess.Popen[str]] = {}
    found: dict[str, list[tuple[float, ...]]] = {way: [] for way in ways}
    try:
        for way in ways:
            processes[way] = started(way, args)
        for number in range(args.rounds):
            for way in ways[:: 1 if number % 2 == 0 else -1]:
                found[way].append(asked(processes[way]))
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    return found


def table(found: dict[str, list[tuple[float, ...]]]) -> str:
    """Medians, and the medians of the rounds' ratios to the plain network."""
    heads = f"{'seconds':>9}{'ratio':>7}{'computing':>11}{'ratio':>7}{'peak MiB':>10}{'scoring':>9}"
    lines = [f"{'':32}{heads}"]
    for way, rounds in found.items():
        cells = f"{_WAYS[way]:32}"
        for kind, width in ((0, 9), (1, 11)):
            mine, others = ([r[kind] for r in found[w]] for w in (way, "plain"))
            ratio = statistics.median(a / b for a, b in zip(mine, others, strict=True))
            cells += f"{statistics.median(mine):{width}.2f}{ratio:7.2f}"
        peak, scoring = (max(r[kind] for r in rounds) for kind in (2, 3))
        lines.append(f"{cells}{peak:10.0f}{scoring:9.0f}")
    return "\n".join(lines)


def read_size(text: str) -> tuple[int, int]:
    """ "500" or "375x500" (height x width)."""
    sides = [int(side) for side in text.split("x")]
    if len(sides) > 2 or min(sides) < 1:
        raise ValueError(text)
    return sides[0], sides[-1]


def main(words: list[str] | None = None) -> int:
    """Compare and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="500", help="pixels: a side, or HEIGHTxWIDTH")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of each network (default: PyTorch's)")
    parser.add_argument("--nchw", action="store_true", help="also ours without channels-last")
    parser.add_argument("--compile", action="store_true", help="also by torch.compile, both")
    parser.add_argument("--onnx", action="store_true", help="also in ONNX Runtime (fcnseg[export])")
    parser.add_argument("--serve", choices=list(_WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    try:
        size = read_size(args.size)
    except ValueError:
        parser.error(f"--size {args.size}: expected pixels, such as 500 or 375x500")
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: expected 1 or more")
    if args.serve:
        serve(args.serve, size, args.threads, args.file)
        return 0
    ways = ["plain", "paper", "same"]
    ways += ["paper-nchw", "same-nchw"] if args.nchw else []
    ways += ["plain-compiled", "same-compiled"] if args.compile else []
    ways += ["same-onnx"] if args.onnx else []
    with tempfile.TemporaryDirectory() as folder:
        args.file = Path(folder) / "model.onnx"
        if args.onnx:
            exporting = get_context("spawn").Process(target=export, args=(args.file,))
            exporting.start()
            exporting.join()
            if exporting.exitcode != 0:
                raise SystemExit("error: --onnx: the export failed; the reason is above")
        found = compare(ways, args)
    threads = args.threads or os.environ.get("OMP_NUM_THREADS") or f"{os.cpu_count()} (default)"
    print(f"one image of {size[0]}x{size[1]} px, threads: {threads}; medians of {args.rounds}")
    print(table(found))
    print(f"ratios to {_WAYS['plain']!r}: medians of the rounds' ratios")
    return 0


if __name__ == "__main__":
    sys.exit(main())
