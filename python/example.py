"""Loss curves and the Fourier spectrum of the embedding of a run, as a notebook would draw them.

    python python/example.py checkpoints/grokking_quick curves.png

Needs numpy, h5py and matplotlib. Cells begin with `# %%`; editors with notebooks run them one at a time.
"""

# %% What to draw
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import phaselab

folder, out = sys.argv[1:3]
run = phaselab.open(folder)
print(run)

# %% Loss of every seed
metrics = run.metrics()
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
colors = plt.cm.viridis(np.linspace(0, 0.85, len(run.seeds)))
for color, seed in zip(colors, run.seeds):
    left.semilogy(*metrics.curve("train_loss_nats", seed), color=color, linestyle=":")
    left.semilogy(*metrics.curve("test_loss_nats", seed), color=color, label=f"seed {seed}")
left.set(xlabel="step", ylabel="loss (nats)", title="training (dotted) and test loss")
left.legend()

# %% Norm of each frequency in the embedding of the numbers, last checkpoint
for color, seed in zip(colors, run.seeds):
    w_e = run.param("embed.W_E", seed=seed)[:-1]  # the last token is `=`
    power = np.linalg.norm(np.fft.rfft(w_e, axis=0), axis=1)
    right.plot(np.arange(1, len(power)), power[1:], color=color)
right.set(xlabel="frequency k", ylabel="norm of W_E's component", title=f"embedding at step {run.steps[-1]}")

# %% Which neurons are on, from the program itself
acts = run.run_with_cache(["blocks.0.mlp.hook_post"], replica=0)["blocks.0.mlp.hook_post"]
print(f"{(acts[:, -1] > 0).mean():.3f} of the neurons are on at the last position of an example")

figure.tight_layout()
figure.savefig(out, dpi=120)
print(out)
