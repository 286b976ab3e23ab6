// Ops that pick rows: embeddings, tables of (token, position), selections, joins, one-hot layers; and their gradients, which are sums over
// all rows that picked the same one, in the order of the rows.

// How a row knows what it picks.
struct Pick {
  int mode;               // 0: by the ids at its position, 1: its position, 2: `ids` row by row, 3: the ids at position `at`
  const u32* ids;         // [examples, n_ctx], or [rows] for mode 2
  const u32* positions;   // of an example's rows
  int per_example, n_ctx, at;

  __device__ __forceinline__ u32 operator()(int row) const {
    if (mode == 2) return ids[row];
    int example = row / per_example;
    if (mode == 3) return ids[(i64)example * n_ctx + at];
    u32 position = positions[row % per_example];
    return mode == 1 ? position : ids[(i64)example * n_ctx + position];
  }
};

// y[row] = w[pick(row)]
KERNEL(gather, const real* w, i64 ws, real* y, i64 ys, int n, int d, int mode, const u32* ids, i64 is, const u32* positions, int per_example, int n_ctx) {
  REPLICA(w, ws);
  REPLICA(y, ys);
  if (ids) REPLICA(ids, is);
  Pick pick = {mode, ids, positions, per_example, n_ctx, 0};
  EACH(i, n) y[i] = w[(i64)pick(i / d) * d + i % d];
}

#define COLUMNS 128

// out[k] (+)= Σ dy[row] over the rows that pick k = blockIdx.x, for columns from 128 blockIdx.z on. Eight warps take an eighth of the rows
// each, 32 rows at a time, and the eighths are added in order.
TEAM_KERNEL(segment_sums, const real* dy, i64 dys, real* out, i64 os, int rows, int d, int mode, const u32* ids, i64 is, const u32* positions, int per_example, int n_ctx, int at, int add) {
  __shared__ real eighths[8][COLUMNS];
  REPLICA(dy, dys);
  REPLICA(out, os);
  if (ids) REPLICA(ids, is);
  Pick pick = {mode, ids, positions, per_example, n_ctx, at};
  int warp = threadIdx.x / 32, lane = LANE, each = (rows + 7) / 8, first = warp * each, end = first + each < rows ? first + each : rows;
  int column = blockIdx.z * COLUMNS + lane;
  real sums[4] = {(real)0, (real)0, (real)0, (real)0};
  for (int base = first; base < end; base += 32) {
    bool mine = base + lane < end && pick(base + lane) == blockIdx.x;
    u32 found = __ballot_sync(ALL_LANES, mine);
    while (found) {
      int row = base + __ffs((int)found) - 1;
      found &= found - 1;
      for (int k = 0; k < 4; k++)
        if (column + 32 * k < d) sums[k] += dy[(i64)row * d + column + 32 * k];
    }
  }
  for (int k = 0; k < 4; k++) eighths[warp][lane + 32 * k] = sums[k];
  __syncthreads();
  int c = blockIdx.z * COLUMNS + threadIdx.x;
  if (threadIdx.x < COLUMNS && c < d) {
    real sum = (real)0;
    for (int w = 0; w < 8; w++) sum += eighths[w][threadIdx.x];
    put(out + (i64)blockIdx.x * d + c, sum, add);
  }
}

// y[example, i] = x[example, from[i]]: some of the rows of an example
KERNEL(select_forward, const real* x, i64 xs, real* y, i64 ys, int n, int d, const u32* from, int x_rows, int y_rows) {
  REPLICA(x, xs);
  REPLICA(y, ys);
  EACH(i, n) {
    int row = i / d, example = row / y_rows;
    y[i] = x[((i64)example * x_rows + from[row % y_rows]) * d + i % d];
  }
}

// dx[example, j] (+)= dy[example, to[j]], or 0 where to[j] is no row
KERNEL(select_backward, const real* dy, i64 dys, real* dx, i64 dxs, int n, int d, const u32* to, int x_rows, int y_rows, int add) {
  REPLICA(dy, dys);
  REPLICA(dx, dxs);
  EACH(i, n) {
    int row = i / d, example = row / x_rows;
    u32 at = to[row % x_rows];
    put(dx + i, at < (u32)y_rows ? dy[((i64)example * y_rows + at) * d + i % d] : (real)0, add);
  }
}

// y[example, output] = the rows `from` of x's example, added up or one after another; the same for all outputs
KERNEL(join_forward, const real* x, i64 xs, real* y, i64 ys, int n, int d, int width, const u32* from, int n_joined, int x_rows, int outputs) {
  REPLICA(x, xs);
  REPLICA(y, ys);
  EACH(i, n) {
    int col = i % width;
    i64 example = i / width / outputs;
    if (width == d) {
      real sum = (real)0;
      for (int j = 0; j < n_joined; j++) sum += x[(example * x_rows + from[j]) * d + col];
      y[i] = sum;
    } else {
      y[i] = x[(example * x_rows + from[col / d]) * d + col % d];
    }
  }
}

// dx[example, row] (+)= Σ over outputs of dy's part, 0 for rows that are not joined: part[row] is its number among the joined
KERNEL(join_backward, const real* dy, i64 dys, real* dx, i64 dxs, int n, int d, int width, const u32* part, int n_joined, int x_rows, int outputs, int add) {
  REPLICA(dy, dys);
  REPLICA(dx, dxs);
  EACH(i, n) {
    i64 example = i / d / x_rows;
    u32 j = part[i / d % x_rows];
    real sum = (real)0;
    if (j < (u32)n_joined) {
      int col = (width == d ? 0 : (int)j * d) + i % d;
      for (int output = 0; output < outputs; output++) sum += dy[(example * outputs + output) * width + col];
    }
    put(dx + i, sum, add);
  }
}

// y[example, output] = b + Σ_j w[j n_tokens + token(positions[j])]: a layer over one-hot codes; tokens from n_tokens on have none
KERNEL(one_hot_forward, const real* w, const real* b, i64 ps, real* y, i64 ys, int n, int d, const u32* tokens, i64 ts, const u32* positions, int n_positions, int n_tokens, int n_ctx, int outputs) {
  REPLICA(w, ps);
  REPLICA(y, ys);
  REPLICA(tokens, ts);
  if (b) REPLICA(b, ps);
  EACH(i, n) {
    int col = i % d;
    i64 example = i / d / outputs;
    real sum = b ? b[col] : (real)0;
    for (int j = 0; j < n_positions; j++) {
      int token = (int)tokens[example * n_ctx + positions[j]];
      if (token < n_tokens) sum += w[((i64)j * n_tokens + token) * d + col];
    }
    y[i] = sum;
  }
}
