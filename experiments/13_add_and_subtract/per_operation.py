"""The strongest frequencies of the logits, for each operation of a model of several.

    python experiments/13_add_and_subtract/per_operation.py checkpoints/add_and_subtract

For addition the logits are averaged over the pairs of equal a + b, for subtraction over those of equal a - b; the power of a frequency is
that of its cosine and sine in this table, over all classes. Key: at least 1/16 of the largest power (a quarter of the norm, as rule w_l).
Needs numpy and h5py; run it with `python/` on PYTHONPATH.
"""

import sys

import numpy as np

import phaselab

run = phaselab.open(sys.argv[1])
print("seed,addition,subtraction,shared,of_either")
for replica, seed in enumerate(run.seeds):
    logits = run.run_with_cache(["logits"], replica=replica)["logits"][:, -1]
    tokens = run.tokens
    p = logits.shape[1]
    a, op, b = tokens[:, 0].astype(int), tokens[:, 1], tokens[:, 2].astype(int)
    key = []
    for which, sign in zip(np.unique(op), (1, -1)):
        rows = op == which
        s = (a + sign * b)[rows] % p
        table = np.stack([logits[rows][s == value].mean(axis=0) for value in range(p)])
        power = (np.abs(np.fft.rfft(table - table.mean(axis=0), axis=0)) ** 2).sum(axis=1)[1:]
        key.append({k + 1 for k in np.flatnonzero(power >= power.max() / 16)})
    both, either = key[0] & key[1], key[0] | key[1]
    words = [" ".join(str(k) for k in sorted(freqs)) for freqs in key]
    print(f"{seed},{words[0]},{words[1]},{len(both)},{len(either)}")
