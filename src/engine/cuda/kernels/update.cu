// From gradients to parameters: masks, finiteness, clipping, the optimisers, the count of steps.
//
// Parameters, gradients and moments are [stride] of each replica, all parameters one after another, so that one launch updates them all.
// `group`: 0 for room between parameters and for frozen ones, 1 for numbers that decay, 2 for those that do not.

// Columns of a step's settings, in the order of `Scalar`.
enum { LR, SIZE, INVERSE_ROOT, KEEP, COUPLED, KEEP_BARE, EPSILON, BETA1, ENTER1, BETA2, ENTER2, MOMENTUM, STAYS, ENTERS, LAMB, CLIP, NOISE, COLUMNS_OF_A_STEP };
// Of the kinds of optimisers, in the order of `kind_code`.
enum { ADAM, SGD, LION };

// The settings of this step and replica.
static __device__ __forceinline__ const double* settings(const double* table, const u64* step, const u64* first, int replicas) {
  return table + ((*step - *first) * replicas + blockIdx.y) * COLUMNS_OF_A_STEP;
}

// g = g mask, and nothing else
KERNEL(keep, const real* mask, real* x, i64 stride, int n) {
  REPLICA(mask, stride);
  REPLICA(x, stride);
  EACH(i, n) x[i] *= mask[i];
}

// finite[r] becomes 0 where a gradient is not; all that write, write the same
KERNEL(check_gradients, const real* grads, i64 stride, u32* finite, int n) {
  REPLICA(grads, stride);
  EACH(i, n) {
    real g = grads[i];
    if (!(g - g == (real)0)) finite[blockIdx.y] = 0u;
  }
}

// sums[block] = Σ g² over the trained numbers of a block's stretch
TEAM_KERNEL(square_sums, const real* grads, i64 stride, const u8* group, double* sums, int n, int each) {
  REPLICA(grads, stride);
  int first = blockIdx.x * each, end = first + each < n ? first + each : n;
  double sum = 0.0;
  for (int i = first + threadIdx.x; i < end; i += blockDim.x)
    if (group[i]) sum += (double)grads[i] * (double)grads[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[(i64)blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

// norm[r] = √ of all of them, and the factor that brings it down to the limit, as PyTorch's clip_grad_norm_
KERNEL(clip, const double* sums, int n_sums, const double* table, const u64* step, const u64* first, int replicas, double* norm, double* factor) {
  if (threadIdx.x > 0) return;
  int r = blockIdx.y;
  double sum = 0.0;
  for (int i = 0; i < n_sums; i++) sum += sums[(i64)r * n_sums + i];
  double size = sqrt(sum), limit = settings(table, step, first, replicas)[CLIP] / (size + 1e-6);
  norm[r] = size;
  factor[r] = limit < 1.0 ? limit : 1.0;
}

// One step of one number.
static __device__ __forceinline__ void move(int kind, bool bare, const double* s, real* w, real g, real scale, real* m0, real* m1) {
  if (kind == ADAM) {
    if (!bare) g = fma((real)s[COUPLED], *w, g * scale);
    else g = g * scale;
    real keep = (real)(bare ? s[KEEP_BARE] : s[KEEP]);
    *m0 = fma((real)s[BETA1], *m0, (real)s[ENTER1] * g);
    *m1 = fma((real)s[BETA2], *m1, (real)s[ENTER2] * g * g);
    real by = (real)s[SIZE] * *m0 / fma(sqrt(*m1), (real)s[INVERSE_ROOT], (real)s[EPSILON]);
    *w = keep * *w - by;
  } else if (kind == SGD) {
    g = fma((real)(bare ? 0.0 : s[COUPLED]), *w, g * scale);
    *m0 = fma((real)s[MOMENTUM], *m0, g);
    *w = fma(-(real)s[LR], *m0, *w);
  } else {
    g = g * scale;
    real ahead = fma((real)s[BETA1], *m0, (real)s[ENTER1] * g);
    real sign = ahead > (real)0 ? (real)1 : (ahead < (real)0 ? (real)-1 : (real)0);
    *w = (real)(bare ? s[KEEP_BARE] : s[KEEP]) * *w - (real)s[LR] * sign;
    *m0 = fma((real)s[BETA2], *m0, (real)s[ENTER2] * g);
  }
}

// All numbers of all replicas: Grokfast's filter where there is one (its average is the last moment), then the optimiser. A replica that met
// something that is not finite, now or earlier, stays as it is.
KERNEL(update, int kind, int filtered, real* params, const real* grads, real* m0, real* m1, real* average, i64 stride, const u8* group, const real* mask, const double* factor, const u32* finite, const u64* first_bad, const double* table, const u64* step, const u64* first, int replicas, int n) {
  int r = blockIdx.y;
  if (!finite[r] || first_bad[r] != ~0ull) return;
  const double* s = settings(table, step, first, replicas);
  REPLICA(params, stride);
  REPLICA(grads, stride);
  REPLICA(m0, stride);
  if (m1) REPLICA(m1, stride);
  if (average) REPLICA(average, stride);
  if (mask) REPLICA(mask, stride);
  real scale = factor ? (real)factor[r] : (real)1;
  EACH(i, n) {
    if (group[i] == 0) continue;
    real g = grads[i], by = scale;
    if (filtered) {
      g = g * scale;
      average[i] = fma((real)s[STAYS], average[i], (real)s[ENTERS] * g);
      g = fma((real)s[LAMB], average[i], g);
      by = (real)1;
    }
    move(kind, group[i] == 2, s, params + i, g, by, m0 + i, m1 ? m1 + i : m0 + i);
    if (mask) params[i] *= mask[i];
  }
}

// Notes the step of replicas that met something that is not finite, and goes on to the next one; one block for all
TEAM_KERNEL(end_step, const u32* finite, u64* first_bad, u64* step, int replicas) {
  u64 at = *step;
  __syncthreads();
  for (int r = threadIdx.x; r < replicas; r += blockDim.x)
    if (!finite[r] && first_bad[r] == ~0ull) first_bad[r] = at;
  if (threadIdx.x == 0) *step = at + 1;
}

// A step's words, or numbers, out of a block of several steps
KERNEL(take_words, const u32* block, u32* to, int n, const u64* step, const u64* first) {
  block += (i64)(*step - *first) * n;
  EACH(i, n) to[i] = block[i];
}
KERNEL(take_numbers, const double* block, double* to, int n, const u64* step, const u64* first) {
  block += (i64)(*step - *first) * n;
  EACH(i, n) to[i] = block[i];
}
