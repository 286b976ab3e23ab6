"""The canonical grokking step in PyTorch: milliseconds a step, as one line of JSON.

usage: grokking.py published|lean [--compile] [--graphs] [--replicas 1] [--tf32] [--device cpu|cuda] [--steps 20] [--warmup 3] [--threads 2]

published  the step of the published notebooks: einsum, attention scores masked with -1e10, all positions
lean       nn.Linear, fused scaled_dot_product_attention, Q, K and V in one product, all positions

Both: p = 113, 1 layer, d_model 128, 4 heads, d_mlp 512, ReLU, full batch of 3,830 examples, logits over 113 classes, f32,
forward, cross-entropy at the last position, backward, AdamW; no evaluation.

--replicas N trains N of them at once, by torch.func.vmap over stacked parameters; --graphs captures the step as a CUDA graph. On a GPU a time
is that of all steps in a row, waited for at the end, and `--compile` is mode="reduce-overhead".
"""

import argparse
import copy
import json
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from timing import captured, timed

P, D, HEADS, D_MLP, N_CTX = 113, 128, 4, 512, 3


class Published(nn.Module):
    def __init__(self):
        super().__init__()
        d_head = D // HEADS

        def weight(*shape, fan=D):
            return nn.Parameter(torch.randn(*shape) / math.sqrt(fan))

        self.W_E, self.W_pos = weight(P + 1, D), weight(N_CTX, D)
        self.W_Q, self.W_K, self.W_V = (weight(HEADS, d_head, D) for _ in range(3))
        self.W_O = weight(D, D)
        self.W_in, self.b_in = weight(D_MLP, D), nn.Parameter(torch.zeros(D_MLP))
        self.W_out, self.b_out = weight(D, D_MLP), nn.Parameter(torch.zeros(D))
        self.W_U = weight(D, P, fan=P)
        self.register_buffer("mask", torch.tril(torch.ones(N_CTX, N_CTX)))

    def forward(self, tokens):
        x = self.W_E[tokens] + self.W_pos
        q, k, v = (torch.einsum("ihd,bpd->biph", w, x) for w in (self.W_Q, self.W_K, self.W_V))
        scores = torch.einsum("biph,biqh->biqp", k, q) / math.sqrt(D // HEADS)
        pattern = scores.masked_fill(self.mask == 0, -1e10).softmax(-1)
        z = torch.einsum("biph,biqp->biqh", v, pattern)
        z = z.transpose(1, 2).reshape(len(tokens), N_CTX, D)
        x = x + z @ self.W_O.T
        x = x + F.relu(x @ self.W_in.T + self.b_in) @ self.W_out.T + self.b_out
        return x @ self.W_U


class Lean(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(P + 1, D)
        self.positions = nn.Parameter(torch.randn(N_CTX, D) / math.sqrt(D))
        self.qkv, self.out = nn.Linear(D, 3 * D, bias=False), nn.Linear(D, D, bias=False)
        self.mlp_in, self.mlp_out = nn.Linear(D, D_MLP), nn.Linear(D_MLP, D)
        self.unembed = nn.Linear(D, P, bias=False)

    def forward(self, tokens):
        x = self.embed(tokens) + self.positions
        b, t, d = x.shape
        q, k, v = (y.view(b, t, HEADS, d // HEADS).transpose(1, 2) for y in self.qkv(x).chunk(3, -1))
        z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(z.transpose(1, 2).reshape(b, t, d))
        x = x + self.mlp_out(F.relu(self.mlp_in(x)))
        return self.unembed(x)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["published", "lean"])
    parser.add_argument("--compile", action="store_true", help="through torch.compile")
    parser.add_argument("--graphs", action="store_true", help="captured as a CUDA graph")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--tf32", action="store_true", help="matrix products in TF32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high" if args.tf32 else "highest")
    on_gpu = args.device != "cpu"
    pairs = torch.tensor([(a, b, P) for a in range(P) for b in range(P)])
    train = pairs[torch.randperm(len(pairs))[: int(0.3 * len(pairs))]].to(args.device)
    targets = (train[:, 0] + train[:, 1]) % P
    new = Published if args.step == "published" else Lean
    models = [new().to(args.device) for _ in range(args.replicas)]

    def loss_of(model):
        return F.cross_entropy(model(train)[:, -1], targets)

    def compiled(function):
        if not args.compile:
            return function
        return torch.compile(function, mode="reduce-overhead") if on_gpu else torch.compile(function)

    def adamw(parameters):
        return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1.0, betas=(0.9, 0.98), capturable=on_gpu)

    if args.replicas == 1:
        optimizer = adamw(models[0].parameters())
        loss = compiled(lambda: loss_of(models[0]))

        def step():
            optimizer.zero_grad(set_to_none=not args.graphs)
            loss().backward()
            optimizer.step()
    else:
        stacked, buffers = torch.func.stack_module_state(models)
        base = copy.deepcopy(models[0]).to("meta")

        def loss_of_one(parameters, buffers):
            return loss_of(lambda tokens: torch.func.functional_call(base, (parameters, buffers), (tokens,)))

        stacked = {name: parameter.detach() for name, parameter in stacked.items()}
        gradients = compiled(torch.func.vmap(torch.func.grad(loss_of_one)))
        optimizer = adamw(list(stacked.values()))

        def step():
            for name, gradient in gradients(stacked, buffers).items():
                stacked[name].grad = gradient
            optimizer.step()

    times = timed(captured(step) if args.graphs else step, args)
    print(json.dumps({
        "step": args.step,
        "compiled": args.compile,
        "graphs": args.graphs,
        "replicas": args.replicas,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "median_ms": times[len(times) // 2],
        "min_ms": times[0],
    }))


if __name__ == "__main__":
    main()
