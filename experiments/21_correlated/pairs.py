"""Counts how the two features of a set lie in the runs of 21_correlated and 22_anticorrelated.

usage: pairs.py RUN...      folders of the runs, e.g. checkpoints/correlated checkpoints/anticorrelated
"""

import sys

import h5py
import numpy as np

for run in sys.argv[1:]:
    file = h5py.File(f"{run}/run.h5")
    w, density, loss = file["params/W"][-1], file["grid/density"][:], file["metrics/test_loss"][-1]
    norms = np.linalg.norm(w, axis=1)
    cosines = np.einsum("rmi,rmj->rij", w, w) / (norms[:, :, None] * norms[:, None, :])
    within = np.stack([cosines[:, 0, 1], cosines[:, 2, 3]], axis=1)
    for d in sorted(set(density), reverse=True):
        here = np.flatnonzero(density == d)
        best = here[np.argmin(loss[here])]
        orthogonal = (np.abs(within[here]) < 0.15).all(axis=1).sum()
        opposite = (within[here] < -0.85).all(axis=1).sum()
        along = (within[here] > 0.85).all(axis=1).sum()
        print(f"{run} density {d}: of {len(here)} seeds both sets orthogonal {orthogonal}, opposite {opposite}, "
              f"on one direction {along}; best seed: cosines {within[best].round(2)}")
