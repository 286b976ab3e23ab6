"""How the peers' steps are timed, and captured as a CUDA graph."""

import time

import torch


def captured(step):
    """The step as one graph launch: it must write to the same tensors each time."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def timed(step, args):
    """Milliseconds a step, ascending. On a GPU each is the mean of all steps in a row, waited for at the end."""
    for _ in range(args.warmup):
        step()
    on_gpu = args.device != "cpu"
    times = []
    for _ in range(3 if on_gpu else args.steps):
        n = args.steps if on_gpu else 1
        if on_gpu:
            torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(n):
            step()
        if on_gpu:
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - started) / n)
    return sorted(times)
