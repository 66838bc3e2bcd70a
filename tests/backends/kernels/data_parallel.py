"""A model with a kernel in two processes of gloo: `python -m tests.backends.kernels.data_parallel RANK FOLDER`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import lsrl
from lsrl.backends.kernels.module import KernelModule

__all__ = ["parts", "run"]

ROOT = Path(__file__).resolve().parents[3]
EMA = """
program ema[n](x: real[n]) -> real[n]:
    param rate: real[n] = 2
    state s: real[n] = zeros(n)
    s := sigmoid(rate) * s + (1 - sigmoid(rate)) * x
    return s
"""


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Linear(3, 4)
        self.cell = KernelModule(lsrl.parse(EMA, n=4).graph, "c")

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cell(self.before(x))[0]
        return out


def parts() -> tuple[nn.Module, Tensor, Tensor]:
    """The model, its inputs and targets: the same in each process."""
    torch.manual_seed(0)
    return Model(), torch.randn(4, 6, 3), torch.randn(4, 6, 4)


def run(folder: Path) -> list[Tensor]:
    """The gradients of the model's parameters after a backward pass in two processes, half of the batch in each."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.backends.kernels.data_parallel"]
    processes = [subprocess.Popen([*command, str(rank), str(folder)], cwd=ROOT, env=environment) for rank in range(2)]
    try:
        codes = [p.wait(timeout=240) for p in processes]
    finally:
        for p in processes:
            p.kill()
            p.wait()
    if codes != [0, 0]:
        raise RuntimeError(f"the processes ended with {codes}")
    made: list[Tensor] = torch.load(folder / "gradients.pt", weights_only=True)
    return made


def main(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    model, x, target = parts()
    parallel = nn.parallel.DistributedDataParallel(model)
    half = slice(2 * rank, 2 * rank + 2)
    ((parallel(x[half]) - target[half]) ** 2).mean().backward()
    if rank == 0:
        torch.save([p.grad for p in model.parameters()], folder / "gradients.pt")
    torch.distributed.barrier()
    # Not the interpreter's own end: there torch's reducer joins gloo's thread with the interpreter's lock held, while
    # that thread waits for the lock to let go of its last operation (seen in torch 2.13 on a loaded machine).
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
