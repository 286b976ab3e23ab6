// Losses: logits and targets -> nats (or squared error) a row, the gradient of the logits, and their sums for a replica.
//
// logits, dlogits [rows, width] of each replica; targets [rows] classes or [rows, width] numbers; a warp a row.

// Whether the class has the largest logit, the first of equal ones.
static __device__ __forceinline__ int first_largest(const real* logits, int width, int target) {
  real top = -INFINITY;
  for (int c = LANE; c < width; c += 32) top = bigger(logits[c], top);
  top = warp_max(top);
  int first = width;
  for (int c = LANE; c < width && first == width; c += 32)
    if (logits[c] == top) first = c;
  return warp_min(first) == target;
}

// Exponents and sums in A.
template <class A>
static __device__ __forceinline__ double cross_entropy_row(const real* logits, real* d, int width, int target, double weight, double smoothing) {
  A top = -INFINITY, total = (A)0;
  for (int c = LANE; c < width; c += 32) top = (A)logits[c] > top ? (A)logits[c] : top;
  top = warp_max(top);
  double all = 0.0;
  for (int c = LANE; c < width; c += 32) {
    total += exp((A)logits[c] - top);
    if (smoothing > 0.0) all += (double)((A)logits[c] - top);
  }
  total = warp_sum(total);
  double even = smoothing / width;
  if (d) {
    A factor = (A)weight / total;
    for (int c = LANE; c < width; c += 32) {
      A own = c == target ? (A)(weight * (1.0 - smoothing + even)) : (A)(weight * even);
      d[c] = (real)(exp((A)logits[c] - top) * factor - own);
    }
  }
  double expected = (1.0 - smoothing) * (double)((A)logits[target] - top);
  if (smoothing > 0.0) expected += even * warp_sum(all);
  return weight * (log((double)total) - expected);
}

// Loss and correctness of each row, the row's weight being its own over the sum of all
TEAM_KERNEL(cross_entropy, const real* logits, i64 ls, real* dlogits, i64 ds, const u32* targets, i64 ts, const double* weights, i64 ws, const double* weight_sum, i64 wss, double* row_loss, double* row_correct, i64 rs, int rows, int width, double factor, double smoothing, int in_double) {
  REPLICA(logits, ls);
  REPLICA(targets, ts);
  REPLICA(weight_sum, wss);
  REPLICA(row_loss, rs);
  REPLICA(row_correct, rs);
  if (dlogits) REPLICA(dlogits, ds);
  if (weights) REPLICA(weights, ws);
  int row = WARP_ROW;
  if (row >= rows) return;
  logits += (i64)row * width;
  if (dlogits) dlogits += (i64)row * width;
  double own = weights ? weights[row] : 1.0, weight = factor * own / *weight_sum;
  int target = (int)targets[row], correct = first_largest(logits, width, target);
  double loss = in_double ? cross_entropy_row<double>(logits, dlogits, width, target, weight, smoothing)
                          : cross_entropy_row<real>(logits, dlogits, width, target, weight, smoothing);
  if (LANE == 0) {
    row_loss[row] = loss;
    row_correct[row] = correct ? own : 0.0;
  }
}

// The same for (l − y)² averaged over a row; y a class's code or numbers
TEAM_KERNEL(squared_error, const real* logits, i64 ls, real* dlogits, i64 ds, const u32* targets, i64 ts, const double* numbers, i64 ns, const double* weights, i64 ws, const double* weight_sum, i64 wss, double* row_loss, double* row_correct, i64 rs, int rows, int width, double factor) {
  REPLICA(logits, ls);
  REPLICA(weight_sum, wss);
  REPLICA(row_loss, rs);
  REPLICA(row_correct, rs);
  if (targets) REPLICA(targets, ts);
  if (numbers) REPLICA(numbers, ns);
  if (dlogits) REPLICA(dlogits, ds);
  if (weights) REPLICA(weights, ws);
  int row = WARP_ROW;
  if (row >= rows) return;
  logits += (i64)row * width;
  double own = weights ? weights[row] : 1.0, weight = factor * own / *weight_sum, sum = 0.0;
  int target = targets ? (int)targets[row] : -1, correct = targets ? first_largest(logits, width, target) : 0;
  for (int c = LANE; c < width; c += 32) {
    double y = numbers ? numbers[(i64)row * width + c] : (c == target ? 1.0 : 0.0), apart = (double)logits[c] - y;
    sum += apart * apart;
    if (dlogits) dlogits[(i64)row * width + c] = (real)(2.0 * weight / width * apart);
  }
  sum = warp_sum(sum);
  if (LANE == 0) {
    row_loss[row] = weight * sum / width;
    row_correct[row] = correct ? own : 0.0;
  }
}

// Loss and accuracy of each replica, and whether the loss is finite; a block a replica
TEAM_KERNEL(outcome, const double* row_loss, const double* row_correct, i64 rs, const double* weight_sum, i64 wss, double* loss, double* accuracy, u32* finite, int rows) {
  REPLICA(row_loss, rs);
  REPLICA(row_correct, rs);
  REPLICA(weight_sum, wss);
  double l = 0.0, c = 0.0;
  for (int i = threadIdx.x; i < rows; i += blockDim.x) {
    l += row_loss[i];
    c += row_correct[i];
  }
  l = block_sum(l);
  c = block_sum(c);
  if (threadIdx.x == 0) {
    int r = blockIdx.y;
    loss[r] = l;
    accuracy[r] = c / *weight_sum;
    finite[r] = l - l == 0.0 ? 1u : 0u;
  }
}
