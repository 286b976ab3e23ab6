// Attention over short sequences. q, z [examples, queries, heads, d], k, v [examples, nk, kv_heads, d], scores and pattern
// [examples, queries, heads, keys]; a query at position at[i] sees the keys that its sight lets it.

// Of `Sight`, in the order of `sight_code`.
enum { CAUSAL, WINDOW, FULL };

struct Sight {
  int kind, window, keys;
  __device__ __forceinline__ int first(int at) const { return kind == WINDOW && at + 1 > window ? at + 1 - window : 0; }
  __device__ __forceinline__ int end(int at) const { return kind == FULL ? keys : at + 1; }
};

// Head of keys that a head of queries reads.
static __device__ __forceinline__ int kv_of(int head, int heads, int kv_heads) { return head * kv_heads / heads; }

// w[query, head, key] (+)= scale q · k where it is seen; elsewhere `unseen` where nothing is added
TEAM_KERNEL(attend_dots, const real* q, i64 qs, const real* k, i64 ks, real* w, i64 ws, const u32* at, int rows, int queries, int nk, int heads, int kv_heads, int d, int keys, int sight, int window, double scale, double unseen, int add) {
  REPLICA(q, qs);
  REPLICA(k, ks);
  REPLICA(w, ws);
  int row = WARP_ROW, lane = LANE;
  if (row >= rows) return;
  int head = row % heads, position = (int)at[row / heads % queries];
  i64 example = row / heads / queries;
  Sight sees = {sight, window, keys};
  q += (i64)row * d;
  k += (example * nk * kv_heads + kv_of(head, heads, kv_heads)) * d;
  w += (i64)row * keys;
  for (int key = 0; key < keys; key++) {
    if (key < sees.first(position) || key >= sees.end(position)) {
      if (lane == 0 && !add) w[key] = (real)unseen;
      continue;
    }
    real dot = (real)0;
    for (int c = lane; c < d; c += 32) dot += q[c] * k[(i64)key * kv_heads * d + c];
    dot = warp_sum(dot);
    if (lane == 0) put(w + key, dot * (real)scale, add);
  }
}

// out[query, head] (+)= scale Σ_key w k over the keys that are seen
KERNEL(attend_mixes, const real* w, i64 ws, const real* k, i64 ks, real* out, i64 os, const u32* at, int n, int queries, int nk, int heads, int kv_heads, int d, int keys, int sight, int window, double scale, int add) {
  REPLICA(w, ws);
  REPLICA(k, ks);
  REPLICA(out, os);
  Sight sees = {sight, window, keys};
  EACH(i, n) {
    int row = i / d, head = row % heads, position = (int)at[row / heads % queries];
    i64 example = row / heads / queries;
    const real* from = k + (example * nk * kv_heads + kv_of(head, heads, kv_heads)) * d + i % d;
    real sum = (real)0;
    for (int key = sees.first(position); key < sees.end(position); key++) sum += w[(i64)row * keys + key] * from[(i64)key * kv_heads * d];
    put(out + i, sum * (real)scale, add);
  }
}

// out[key, kv head] (+)= scale Σ w q over the heads that read it and the queries that see it
KERNEL(attend_folds, const real* w, i64 ws, const real* q, i64 qs, real* out, i64 os, const u32* at, int n, int queries, int nk, int heads, int kv_heads, int d, int keys, int sight, int window, double scale, int add) {
  REPLICA(w, ws);
  REPLICA(q, qs);
  REPLICA(out, os);
  Sight sees = {sight, window, keys};
  EACH(i, n) {
    int row = i / d, kv = row % kv_heads, key = row / kv_heads % nk, readers = heads / kv_heads;
    i64 example = row / kv_heads / nk;
    real sum = (real)0;
    for (int head = kv * readers; head < (kv + 1) * readers; head++)
      for (int j = 0; j < queries; j++) {
        int position = (int)at[j];
        i64 of = (example * queries + j) * heads + head;
        if (key >= sees.first(position) && key < sees.end(position)) sum += w[of * keys + key] * q[of * d + i % d];
      }
    put(out + i, sum * (real)scale, add);
  }
}

// Keys that the kernels below have at most: two a lane.
#define FUSED_KEYS 64

// own[key] = scale x · k for the keys from first to end, key `lane` and key `lane + 32` being the lane's own
static __device__ __forceinline__ void lane_dots(real own[2], const real* x, const real* k, i64 next, int first, int end, int d, real scale) {
  for (int key = first; key < end; key++) {
    real dot = (real)0;
    for (int c = LANE; c < d; c += 32) dot += x[c] * k[key * next + c];
    dot = warp_sum(dot) * scale;
    if (key % 32 == LANE) own[key / 32] = dot;
  }
}

// out (+)= scale Σ own[key] k
static __device__ __forceinline__ void lane_mixes(const real own[2], const real* k, i64 next, int first, int end, int d, real scale, real* out, int add) {
  for (int base = 0; base < d; base += 32) {
    int c = base + LANE;
    real sum = (real)0;
    for (int key = first; key < end; key++) {
      real by = __shfl_sync(ALL_LANES, own[key / 32], key % 32);
      if (c < d) sum += by * k[key * next + c];
    }
    if (c < d) put(out + c, sum * scale, add);
  }
}

// Scores, pattern and mixed values at once, the scores in registers: z = Σ_key softmax(scale q · k) v, and the pattern
TEAM_KERNEL(attention_forward, const real* q, i64 qs, const real* k, i64 ks, const real* v, i64 vs, real* pattern, i64 ps, real* z, i64 zs, const u32* at, int rows, int queries, int nk, int heads, int kv_heads, int d, int keys, int sight, int window, double scale) {
  REPLICA(q, qs);
  REPLICA(k, ks);
  REPLICA(v, vs);
  REPLICA(pattern, ps);
  REPLICA(z, zs);
  int row = WARP_ROW, lane = LANE;
  if (row >= rows) return;
  int head = row % heads, position = (int)at[row / heads % queries];
  i64 example = row / heads / queries, start = (example * nk * kv_heads + kv_of(head, heads, kv_heads)) * d, next = (i64)kv_heads * d;
  Sight sees = {sight, window, keys};
  int first = sees.first(position), end = sees.end(position);
  q += (i64)row * d;
  pattern += (i64)row * keys;
  real own[2] = {-INFINITY, -INFINITY};
  lane_dots(own, q, k + start, next, first, end, d, (real)scale);
  real top = warp_max(bigger(own[0], own[1]));
  own[0] = exp(own[0] - top);
  own[1] = exp(own[1] - top);
  real inverse = (real)1 / warp_sum(own[0] + own[1]);
  own[0] *= inverse;
  own[1] *= inverse;
  if (lane < keys) pattern[lane] = own[0];
  if (lane + 32 < keys) pattern[lane + 32] = own[1];
  lane_mixes(own, v + start, next, first, end, d, (real)1, z + (i64)row * d, 0);
}

// The query's side of the way back: ds = pattern (da − Σ da pattern) with da = dz · v, kept for the keys' side, and dq (+)= scale Σ ds k
TEAM_KERNEL(attention_backward, const real* k, i64 ks, const real* v, i64 vs, const real* pattern, i64 ps, const real* dz, i64 dzs, real* ds, i64 dss, real* dq, i64 dqs, const u32* at, int rows, int queries, int nk, int heads, int kv_heads, int d, int keys, int sight, int window, double scale, int add) {
  REPLICA(k, ks);
  REPLICA(v, vs);
  REPLICA(pattern, ps);
  REPLICA(dz, dzs);
  REPLICA(ds, dss);
  if (dq) REPLICA(dq, dqs);
  int row = WARP_ROW, lane = LANE;
  if (row >= rows) return;
  int head = row % heads, position = (int)at[row / heads % queries];
  i64 example = row / heads / queries, start = (example * nk * kv_heads + kv_of(head, heads, kv_heads)) * d, next = (i64)kv_heads * d;
  Sight sees = {sight, window, keys};
  int first = sees.first(position), end = sees.end(position);
  pattern += (i64)row * keys;
  dz += (i64)row * d;
  ds += (i64)row * keys;
  real own[2] = {(real)0, (real)0}, a[2];
  a[0] = lane < keys ? pattern[lane] : (real)0;
  a[1] = lane + 32 < keys ? pattern[lane + 32] : (real)0;
  lane_dots(own, dz, v + start, next, first, end, d, (real)1);
  real shared = warp_sum(own[0] * a[0] + own[1] * a[1]);
  own[0] = a[0] * (own[0] - shared);
  own[1] = a[1] * (own[1] - shared);
  if (lane < keys) ds[lane] = own[0];
  if (lane + 32 < keys) ds[lane + 32] = own[1];
  if (dq) lane_mixes(own, k + start, next, first, end, d, (real)scale, dq + (i64)row * d, add);
}
