"""Runs of phaselab as numpy arrays, over h5py; no build, one file.

    import phaselab

    run = phaselab.open("checkpoints/grokking_quick")
    run.steps, run.seeds                                     # [S], [R]
    w_e = run.param("embed.W_E", step=1000, seed=3)          # [d_vocab, d_model]; the last step and replica 0 if not said
    losses = run.metrics()                                   # {"step": ..., "seed": ..., "test_loss_nats": ...}
    gini = run.measure("gini")                               # the same for one measure; run.measures lists them
    acts = run.run_with_cache(["blocks.0.mlp.hook_post"], step=1000, replica=0)

Parameters and hooks carry TransformerLens's names and shapes. Activations are computed by the program `phaselab`, which is
found on PATH, by the variable PHASELAB_BIN, or given to `open`. The files are described in checkpoints/README.md.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import h5py
import numpy as np

__all__ = ["Error", "Run", "Table", "open"]

FORMAT = 1
"""The newest format of files that this module reads."""


class Error(Exception):
    """What is wrong, and what to do about it."""


class Table(dict):
    """Columns of equal length by name: a plain dictionary of arrays; `frame()` makes a pandas.DataFrame of it."""

    def frame(self):
        try:
            import pandas
        except ImportError as error:
            raise Error("pandas is not installed; the table itself is a dictionary of numpy arrays") from error
        return pandas.DataFrame(dict(self))

    def curve(self, column, seed):
        """The steps and values of one seed, without steps that have no value."""
        if column not in self:
            raise Error(f"there is no column {column!r}; there are {', '.join(self)}")
        if not (self["seed"] == seed).any():
            raise Error(f"there is no seed {seed}; there are {', '.join(map(str, np.unique(self['seed'])))}")
        mine = (self["seed"] == seed) & ~np.isnan(self[column])
        return self["step"][mine], self[column][mine]


def open(path, binary=None):
    """Opens the run in the folder `path`; `binary` is the program `phaselab` for activations."""
    return Run(path, binary)


class Run:
    """A run folder: finished, or still in training."""

    def __init__(self, path, binary=None):
        self.path = pathlib.Path(path)
        self._binary = binary
        toml = self.path / "run.toml"
        if not toml.is_file():
            raise Error(f"{self.path} is no run folder: there is no run.toml in it")
        self.spec_text = toml.read_text(encoding="utf-8")
        self._cached_examples = None
        self._loose = {
            int(match.group(1)): file
            for file in sorted((self.path / "snapshots").glob("step_*.h5"))
            if (match := re.fullmatch(r"step_(\d+)\.h5", file.name))
        }
        self._packed = []
        if (self.path / "run.h5").is_file():
            with _file(self.path / "run.h5") as file:
                self._packed = file["steps"][:].tolist()
        if not self._loose and not self._packed:
            raise Error(f"{self.path} has no checkpoints yet; `phaselab train` writes them")
        self.steps = np.array(sorted({*self._loose, *self._packed}), dtype=np.int64)
        with self._at(self.steps[-1]) as (file, _):
            self.seeds = np.array([int(seed) for seed in file.attrs["seeds"].split(",")], dtype=np.int64)
            self.names = _names(file["params"])
            self.train_mask = file["train_mask"][:].astype(bool)  # [R, N]
        self.train_mask.setflags(write=False)

    def __repr__(self):
        return f"phaselab.Run({str(self.path)!r}: {len(self.steps)} checkpoints of {len(self.seeds)} replicas)"

    @property
    def spec(self):
        """The resolved spec as a dictionary (Python 3.11 or newer; `spec_text` has its text)."""
        try:
            import tomllib
        except ImportError as error:
            raise Error("reading the spec needs Python 3.11 or newer; run.spec_text has its text") from error
        return tomllib.loads(self.spec_text)

    def param(self, name, step=None, replica=None, seed=None):
        """One parameter of one replica at one step, without the replica axis."""
        if name not in self.names:
            raise Error(f"the model has no parameter {name!r}; it has {', '.join(self.names)}")
        index = self.replica(replica, seed)
        with self._at(self.step(step)) as (file, at):
            data = file["params"][name]
            return data[index] if at is None else data[at, index]

    def params(self, step=None, replica=None, seed=None):
        """All parameters of one replica at one step, by name."""
        return {name: self.param(name, step, replica, seed) for name in self.names}

    def series(self, name, replica=None, seed=None):
        """One parameter of one replica at every step, [S, ...]."""
        return np.stack([self.param(name, step, replica, seed) for step in self.steps.tolist()])

    def metrics(self):
        """Loss and accuracy at every evaluation, a row for each step and seed; NaN where there is no value."""
        sources = [self.path / "run.h5", *sorted((self.path / "resume").glob("point_*.h5"))]
        best = None
        for source in filter(pathlib.Path.is_file, sources):
            with _file(source) as file:
                metrics = {name: data[:] for name, data in file.get("metrics", {}).items()}
            # A run that is being continued has longer columns in its resume points.
            if "step" in metrics and (best is None or len(metrics["step"]) > len(best["step"])):
                best = metrics
        if best is None:
            raise Error(f"{self.path} has no evaluations yet; they come with the first resume point")
        return self._table(best.pop("step"), self.seeds, None, best)

    @property
    def measures(self):
        """Names of the measures that were taken."""
        return [file.stem for file in sorted((self.path / "measures").glob("*.h5"))]

    def measure(self, name):
        """A measure, a row for each step and seed, and for each tick of its axis if it has one."""
        path = self.path / "measures" / f"{name}.h5"
        if not path.is_file():
            taken = ", ".join(self.measures) or "none"
            raise Error(f"{name!r} was not measured (taken: {taken}); `phaselab measure {self.path} {name}` does")
        with _file(path) as file:
            columns = [line.rsplit(" ", 1)[0] for line in file.attrs["units"].splitlines()]
            axis = file.attrs.get("axis")
            ticks = None if axis is None else (axis, file[axis][:])
            data = {column: file[column][:] for column in columns}
            return self._table(file["steps"][:], file["seeds"][:], ticks, data)

    def split(self, replica=None, seed=None):
        """Indices of the examples of one replica: {"train": ..., "test": ...}."""
        mask = self.train_mask[self.replica(replica, seed)]
        return {"train": np.flatnonzero(mask), "test": np.flatnonzero(~mask)}

    @property
    def tokens(self):
        """The tokens of every example, [N, n_ctx]; from the program `phaselab`."""
        return self._examples()["tokens"]

    @property
    def targets(self):
        """The right answers, [N, loss positions]; from the program `phaselab`."""
        return self._examples()["targets"]

    def run_with_cache(self, hooks, step=None, replica=None, seed=None):
        """Activations over all examples at these hooks: {name: [N, positions, ...]}; from the program `phaselab`."""
        hooks = [hooks] if isinstance(hooks, str) else list(hooks)
        if not hooks:
            raise Error("no hooks are given; run.hooks() lists them")
        arrays = self._cache(self.step(step), self.replica(replica, seed), hooks)
        return {hook: arrays[hook] for hook in hooks}

    def hooks(self):
        """Names of the hooks that the model has."""
        return [line.split()[0] for line in self._call("cache", str(self.path), "--list").splitlines()]

    def step(self, step=None):
        """A step that has a checkpoint; the last one for None."""
        if step is None:
            return int(self.steps[-1])
        if step not in self.steps:
            near = self.steps[np.abs(self.steps - step).argmin()]
            raise Error(f"there is no checkpoint of step {step}; the nearest is step {near}")
        return int(step)

    def replica(self, replica=None, seed=None):
        """The index of a replica, given by its index or its seed; the first one for neither."""
        if replica is not None and seed is not None:
            raise Error("give a replica's index or its seed, not both")
        if seed is not None:
            if seed not in self.seeds:
                raise Error(f"there is no seed {seed}; there are {', '.join(map(str, self.seeds))}")
            return int(np.flatnonzero(self.seeds == seed)[0])
        index = 0 if replica is None else int(replica)
        if not 0 <= index < len(self.seeds):
            raise Error(f"there is no replica {index}; there are {len(self.seeds)}, from 0")
        return index

    def _at(self, step):
        """The file that has a step, and its index in it if it is a packed one."""
        if step in self._loose and self._loose[step].is_file():
            return _Opened(self._loose[step], None)
        if step not in self._packed:
            raise Error(f"{self.path} was packed since it was opened; open it again")
        return _Opened(self.path / "run.h5", self._packed.index(step))

    def _table(self, steps, seeds, axis, data):
        widths = (len(steps), len(seeds)) if axis is None else (len(steps), len(seeds), len(axis[1]))
        grid = np.meshgrid(steps.astype(np.int64), seeds.astype(np.int64), *([] if axis is None else [axis[1]]), indexing="ij")
        names = ["step", "seed"] + ([] if axis is None else [axis[0]])
        table = Table((name, values.ravel()) for name, values in zip(names, grid))
        for name, values in data.items():
            missing = len(widths) - values.ndim
            table[name] = np.broadcast_to(values.reshape(values.shape + (1,) * missing), widths).ravel()
        return table

    def _examples(self):
        if self._cached_examples is None:
            self._cached_examples = self._cache(self.step(), 0, [])
        return self._cached_examples

    def _cache(self, step, replica, hooks):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "activations.npz"
            asked = ["--hooks", ",".join(hooks)] if hooks else []
            where = ["--step", str(step), "--replica", str(replica)]
            self._call("cache", str(self.path), *where, *asked, "--out", str(out))
            with np.load(out) as arrays:
                return dict(arrays)

    def _call(self, *arguments):
        binary = self._binary or os.environ.get("PHASELAB_BIN") or shutil.which("phaselab")
        if binary is None:
            raise Error("the program phaselab is not on PATH; set PHASELAB_BIN, or give open(..., binary=...)")
        try:
            done = subprocess.run([str(binary), *arguments], capture_output=True, text=True, check=False)
        except OSError as error:
            raise Error(f"{binary} cannot be run: {error}") from error
        if done.returncode != 0:
            raise Error(done.stderr.strip() or f"{binary} ended with status {done.returncode}")
        return done.stdout


class _Opened:
    """A file for a `with` block, together with the index of a step in it."""

    def __init__(self, path, at):
        self._file, self._at = _file(path), at

    def __enter__(self):
        return self._file, self._at

    def __exit__(self, *_):
        self._file.close()


def _file(path):
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise Error(f"{path} cannot be read ({error}); `phaselab check` tells which files are whole") from error
    version = int(file.attrs.get("phaselab_format", 0))
    if not 1 <= version <= FORMAT:
        file.close()
        raise Error(f"{path} has format {version}, this module reads up to {FORMAT}: take the one of the newer phaselab")
    return file


def _names(group):
    """Datasets below a group, in the order of their names."""
    names = []
    group.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names
