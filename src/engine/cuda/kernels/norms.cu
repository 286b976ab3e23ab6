// Ops that look at a whole row, a warp a row: LayerNorm, its kin without weights, softmax, SoLU; and sums of columns over rows.
//
// x, y [rows, width] of each replica, scale [rows].

#define EPS (real)1e-5

static __device__ __forceinline__ real row_mean(const real* x, int d) {
  real sum = (real)0;
  for (int c = LANE; c < d; c += 32) sum += x[c];
  return warp_sum(sum) / (real)d;
}

// y = (x − c) / scale (w + b), c the row's mean or 0; scale = √(mean (x − c)² + ε). Without w and b: only what is in brackets.
TEAM_KERNEL(norm_forward, const real* x, i64 xs, const real* w, const real* b, i64 ps, real* y, i64 ys, real* scale, i64 ss, int rows, int d, int centred) {
  REPLICA(x, xs);
  REPLICA(y, ys);
  REPLICA(scale, ss);
  int row = WARP_ROW;
  if (row >= rows) return;
  x += (i64)row * d;
  y += (i64)row * d;
  real centre = centred ? row_mean(x, d) : (real)0, squares = (real)0;
  for (int c = LANE; c < d; c += 32) squares += (x[c] - centre) * (x[c] - centre);
  real size = sqrt(warp_sum(squares) / (real)d + EPS), inverse = (real)1 / size;
  if (LANE == 0) scale[row] = size;
  for (int c = LANE; c < d; c += 32) {
    real n = (x[c] - centre) * inverse;
    y[c] = w ? n * w[(i64)blockIdx.y * ps + c] + b[(i64)blockIdx.y * ps + c] : n;
  }
}

// With n = (x − c) / scale and g = dy w (or dy): dx (+)= (g − [mean g] − n mean(g n)) / scale
TEAM_KERNEL(norm_backward, const real* x, i64 xs, const real* w, i64 ps, const real* scale, i64 ss, const real* dy, i64 dys, real* dx, i64 dxs, int rows, int d, int centred, int add) {
  REPLICA(x, xs);
  REPLICA(scale, ss);
  REPLICA(dy, dys);
  REPLICA(dx, dxs);
  if (w) REPLICA(w, ps);
  int row = WARP_ROW;
  if (row >= rows) return;
  x += (i64)row * d;
  dy += (i64)row * d;
  dx += (i64)row * d;
  real centre = centred ? row_mean(x, d) : (real)0, inverse = (real)1 / scale[row];
  real sum = (real)0, along = (real)0;
  for (int c = LANE; c < d; c += 32) {
    real g = w ? dy[c] * w[c] : dy[c];
    sum += g;
    along += g * (x[c] - centre);
  }
  real mean = centred ? warp_sum(sum) / (real)d : (real)0;
  along = warp_sum(along) * inverse / (real)d;
  for (int c = LANE; c < d; c += 32) {
    real g = w ? dy[c] * w[c] : dy[c];
    put(dx + c, (g - mean - (x[c] - centre) * inverse * along) * inverse, add);
  }
}

// mean[row] of x
TEAM_KERNEL(row_means, const real* x, i64 xs, real* mean, i64 ms, int rows, int d) {
  REPLICA(x, xs);
  REPLICA(mean, ms);
  int row = WARP_ROW;
  if (row >= rows) return;
  real m = row_mean(x + (i64)row * d, d);
  if (LANE == 0) mean[row] = m;
}

// a = softmax(s), row by row
TEAM_KERNEL(softmax_forward, const real* s, i64 ss, real* a, i64 as, int rows, int d) {
  REPLICA(s, ss);
  REPLICA(a, as);
  int row = WARP_ROW;
  if (row >= rows) return;
  s += (i64)row * d;
  a += (i64)row * d;
  real top = -INFINITY, total = (real)0;
  for (int c = LANE; c < d; c += 32) top = bigger(s[c], top);
  top = warp_max(top);
  for (int c = LANE; c < d; c += 32) {
    real e = exp(s[c] - top);
    a[c] = e;
    total += e;
  }
  real inverse = (real)1 / warp_sum(total);
  for (int c = LANE; c < d; c += 32) a[c] *= inverse;
}

// ds (+)= a (da − Σ da a)
TEAM_KERNEL(softmax_backward, const real* a, i64 as, const real* da, i64 das, real* ds, i64 dss, int rows, int d, int add) {
  REPLICA(a, as);
  REPLICA(da, das);
  REPLICA(ds, dss);
  int row = WARP_ROW;
  if (row >= rows) return;
  a += (i64)row * d;
  da += (i64)row * d;
  ds += (i64)row * d;
  real shared = (real)0;
  for (int c = LANE; c < d; c += 32) shared += a[c] * da[c];
  shared = warp_sum(shared);
  for (int c = LANE; c < d; c += 32) put(ds + c, a[c] * (da[c] - shared), add);
}

// y = x softmax(x); with dy, dx (+)= softmax(x) (dy + dy x − Σ dy y)
TEAM_KERNEL(solu, const real* x, i64 xs, const real* dy, i64 dys, real* out, i64 os, int rows, int d, int add) {
  REPLICA(x, xs);
  REPLICA(out, os);
  if (dy) REPLICA(dy, dys);
  int row = WARP_ROW;
  if (row >= rows) return;
  x += (i64)row * d;
  out += (i64)row * d;
  real top = -INFINITY, total = (real)0;
  for (int c = LANE; c < d; c += 32) top = bigger(x[c], top);
  top = warp_max(top);
  for (int c = LANE; c < d; c += 32) total += exp(x[c] - top);
  real inverse = (real)1 / warp_sum(total);
  if (!dy) {
    for (int c = LANE; c < d; c += 32) out[c] = exp(x[c] - top) * inverse * x[c];
    return;
  }
  dy += (i64)row * d;
  real shared = (real)0;
  for (int c = LANE; c < d; c += 32) shared += dy[c] * exp(x[c] - top) * inverse * x[c];
  shared = warp_sum(shared);
  for (int c = LANE; c < d; c += 32) put(out + c, exp(x[c] - top) * inverse * (dy[c] + dy[c] * x[c] - shared), add);
}

// sums[part][c] = Σ over the rows of part `blockIdx.z` of dy, of dy x, or of dy (x − mean) / scale: in the order of the rows
KERNEL(column_sums, const real* dy, i64 dys, const real* x, i64 xs, const real* mean, i64 ms, const real* scale, i64 ss, real* sums, i64 os, int rows, int d, int part_rows) {
  REPLICA(dy, dys);
  REPLICA(sums, os);
  if (x) REPLICA(x, xs);
  if (mean) REPLICA(mean, ms);
  if (scale) REPLICA(scale, ss);
  int first = blockIdx.z * part_rows, end = first + part_rows < rows ? first + part_rows : rows;
  EACH(c, d) {
    real sum = (real)0;
    for (int row = first; row < end; row++) {
      real by = (real)1;
      if (x) by = x[(i64)row * d + c];
      if (mean) by = (by - mean[row]) * ((real)1 / scale[row]);
      sum += dy[(i64)row * d + c] * by;
    }
    sums[(i64)blockIdx.z * d + c] = sum;
  }
}

// out (+)= Σ over parts, in their order; parts [n_parts, n]
KERNEL(part_sums, const real* parts, i64 ps, real* out, i64 os, int n, int n_parts, int add) {
  REPLICA(parts, ps);
  REPLICA(out, os);
  EACH(i, n) {
    real sum = (real)0;
    for (int part = 0; part < n_parts; part++) sum += parts[(i64)part * n + i];
    put(out + i, sum, add);
  }
}
