"""bf16 mixed precision against fp32, in training and in prediction, on one device.

Both are timed in turn, so that a machine that slows down slows both. On the CPU the processor's
own time is counted, which other programs disturb little; on CUDA it is the time until the GPU is
done. The agreement is that of the predicted labels, of networks with random weights: of a trained
one it is higher. On a CPU without AMX or AVX512-BF16 bf16 is computed by way of fp32, and slower.

    OMP_NUM_THREADS=1 python tools/bench_precision.py
    python tools/bench_precision.py --device cuda --backbone resnet50 --size 512 --batch 16
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fcnseg.build import build_fcn
from fcnseg.devices import autocast
from fcnseg.losses import cross_entropy

_CLASSES = 21


def clock(device: torch.device) -> float:
    """Seconds of computing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def in_turn(
    work: Callable[[torch.dtype], object], device: torch.device, repeats: int
) -> tuple[float, float, float]:
    """The median seconds of ``work`` in fp32 and in bf16, and the median of fp32 over bf16."""
    types = (torch.float32, torch.bfloat16)
    for precision in types:
        work(precision)
    pairs = []
    for _ in range(repeats):
        times = []
        for precision in types:
            start = clock(device)
            work(precision)
            times.append(clock(device) - start)
        pairs.append(times)
    first, second = (statistics.median(times) for times in zip(*pairs, strict=True))
    return first, second, statistics.median(a / b for a, b in pairs)


def network(name: str, device: torch.device) -> nn.Module:
    """FCN-8s whose score layers are random: zero scores would agree at any precision."""
    torch.manual_seed(0)
    model = build_fcn(name, "8s", _CLASSES)
    for numbers in model.head.score.parameters():
        nn.init.normal_(numbers, std=0.1)
    return model.to(device).to(memory_format=torch.channels_last)


def bench(name: str, device: torch.device, batch: int, size: int, repeats: int) -> str:
    """A line of the table."""
    model = network(name, device)
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(batch, 3, size, size, generator=generator).to(device)
    image = image.contiguous(memory_format=torch.channels_last)
    label = torch.randint(0, _CLASSES, (batch, size, size), generator=generator).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)

    def score(precision: torch.dtype) -> Tensor:
        with torch.inference_mode(), autocast(device, precision):
            out: Tensor = model(image)
        return out

    def step(precision: torch.dtype) -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, precision):
            out = model(image)
        cross_entropy(out, label).backward()
        optimizer.step()

    model.eval()
    predicted = in_turn(score, device, repeats)
    same = (score(torch.float32).argmax(1) == score(torch.bfloat16).argmax(1)).float().mean()
    model.train()
    trained = in_turn(step, device, repeats)
    columns = "".join(f"{a:9.3f}{b:9.3f}{ratio:8.2f}x" for a, b, ratio in (trained, predicted))
    return f"{name:<20}{columns}{100 * float(same):8.1f} %"


def main() -> None:
    """Print a table, a row for each backbone."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--backbone", nargs="+", default=["vgg16", "resnet18", "efficientnet_lite0"]
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, default=192, help="side of the images in pixels")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    device = torch.device(args.device)
    can = torch.backends.cpu.get_cpu_capability()
    print(
        f"{device} ({can}), {torch.get_num_threads()} threads; {args.batch} images of {args.size}"
    )
    print(f"{'seconds':<20}{'training':>27}{'prediction':>27}{'same':>10}")
    heads = 2 * f"{'fp32':>9}{'bf16':>9}{'ratio':>9}"
    print(f"{'':<20}{heads}{'labels':>10}")
    for name in args.backbone:
        print(bench(name, device, args.batch, args.size, args.repeats), flush=True)


if __name__ == "__main__":
    main()
