"""The training step of batched toy models of superposition in PyTorch: milliseconds a step, as one line of JSON.

usage: superposition.py FEATURES,HIDDEN,INSTANCES [--compile] [--steps 20] [--warmup 3] [--threads 2]

As notebooks do it: instances on an axis of their own, einsum, fresh examples drawn in the step (batch 1024, density 0.05), importance
0.9^i, Adam with learning rate 1e-3, f32.
"""

import argparse
import json
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, DENSITY = 1024, 0.05


class Model(nn.Module):
    def __init__(self, features, hidden, instances):
        super().__init__()
        self.W = nn.Parameter(torch.empty(instances, hidden, features))
        nn.init.xavier_normal_(self.W)
        self.b = nn.Parameter(torch.zeros(instances, features))

    def forward(self, x):
        hidden = torch.einsum("bif,ihf->bih", x, self.W)
        return F.relu(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("case")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    features, hidden, instances = map(int, args.case.split(","))
    model = Model(features, hidden, instances)
    importance = 0.9 ** torch.arange(features)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)

    def loss_of():
        values = torch.rand(BATCH, instances, features)
        x = torch.where(torch.rand(BATCH, instances, features) < DENSITY, values, torch.zeros(()))
        return (importance * (x - model(x)) ** 2).mean(0).sum()

    loss_of = torch.compile(loss_of) if args.compile else loss_of
    times = []
    for i in range(args.warmup + args.steps):
        started = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        loss_of().backward()
        optimiser.step()
        if i >= args.warmup:
            times.append(time.perf_counter() - started)
    times.sort()
    print(json.dumps({"case": args.case, "torch": torch.__version__, "median_ms": 1e3 * times[len(times) // 2]}))


main()
