"""The training step of a small transformer on sequences in PyTorch: milliseconds a step, as one line of JSON.

usage: transformers.py attention|mlp [--compile] [--graphs] [--batch 256] [--device cpu|cuda] [--steps 20] [--warmup 3] [--threads 2]

attention: 2 layers, attention only, d_model 64; mlp: 2 layers with MLPs of 512, d_model 128. Both: 4 heads, LayerNorm, vocabulary 64, 32
positions, loss at each position but the last, AdamW, f32. Written as lean as PyTorch allows: one product for queries, keys and
values, scaled_dot_product_attention, gradients set to None; the tokens are drawn once.
"""

import argparse
import json

import torch
import torch.nn as nn
import torch.nn.functional as F

from timing import captured, timed

VOCABULARY, POSITIONS, HEADS = 64, 32, 4


class Block(nn.Module):
    def __init__(self, d, d_mlp):
        super().__init__()
        self.ln1, self.qkv, self.out = nn.LayerNorm(d), nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.mlp = None
        if d_mlp:
            self.mlp = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, d_mlp), nn.ReLU(), nn.Linear(d_mlp, d))

    def forward(self, x):
        b, t, d = x.shape
        heads = self.qkv(self.ln1(x)).view(b, t, 3, HEADS, d // HEADS).permute(2, 0, 3, 1, 4)
        z = F.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.out(z.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(x) if self.mlp else x


class Transformer(nn.Module):
    def __init__(self, d, d_mlp):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, d)
        self.position = nn.Parameter(torch.randn(POSITIONS, d) / d**0.5)
        self.blocks = nn.Sequential(*(Block(d, d_mlp) for _ in range(2)))
        self.ln, self.unembed = nn.LayerNorm(d), nn.Linear(d, VOCABULARY, bias=False)

    def forward(self, tokens):
        return self.unembed(self.ln(self.blocks(self.embed(tokens) + self.position)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=["attention", "mlp"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--graphs", action="store_true", help="captured as a CUDA graph")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    on_gpu = args.device != "cpu"
    model = (Transformer(64, 0) if args.case == "attention" else Transformer(128, 512)).to(args.device)
    tokens = torch.randint(0, VOCABULARY, (args.batch, POSITIONS), device=args.device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, capturable=on_gpu)

    def loss_of():
        return F.cross_entropy(model(tokens)[:, :-1].reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1))

    if args.compile:
        loss_of = torch.compile(loss_of, mode="reduce-overhead") if on_gpu else torch.compile(loss_of)

    def step():
        optimiser.zero_grad(set_to_none=not args.graphs)
        loss_of().backward()
        optimiser.step()

    times = timed(captured(step) if args.graphs else step, args)
    print(json.dumps({"median_ms": times[len(times) // 2], "torch": torch.__version__}))


if __name__ == "__main__":
    main()
