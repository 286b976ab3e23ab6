// Ops that work number by number: activations, products, sums, edits, rotary positions, dropout.
//
// x, y and their gradients are [rows, width] of each replica; forward and backward stand together.

// Of `Act`, in the order of `act_code`.
enum { RELU, GELU, IDENTITY, SQUARE, ABS, TANH, SILU };

static __device__ __forceinline__ real sigmoid(real x) { return (real)1 / ((real)1 + exp(-x)); }

static __device__ __forceinline__ real act_value(int act, real x) {
  switch (act) {
    case RELU: return x < (real)0 ? (real)0 : x;
    case GELU: return x * ((real)0.5 * erf(x * (real)0.70710678118654752440) + (real)0.5);
    case SQUARE: return x * x;
    case ABS: return x < (real)0 ? -x : x;
    case TANH: return tanh(x);
    case SILU: return x * sigmoid(x);
    default: return x;
  }
}

static __device__ __forceinline__ real act_slope(int act, real x) {
  switch (act) {
    case RELU: return x > (real)0 ? (real)1 : (real)0;
    case GELU: {
      real cdf = (real)0.5 * erf(x * (real)0.70710678118654752440) + (real)0.5;
      return x * (real)0.39894228040143267794 * exp((real)-0.5 * x * x) + cdf;
    }
    case SQUARE: return x + x;
    case ABS: return x == (real)0 ? (real)0 : (x < (real)0 ? (real)-1 : (real)1);
    case TANH: {
      real y = tanh(x);
      return (real)1 - y * y;
    }
    case SILU: {
      real s = sigmoid(x);
      return s * ((real)1 + x * ((real)1 - s));
    }
    default: return (real)1;
  }
}

// y = f(x)
KERNEL(act_forward, const real* x, i64 xs, real* y, i64 ys, int n, int act) {
  REPLICA(x, xs);
  REPLICA(y, ys);
  EACH(i, n) y[i] = act_value(act, x[i]);
}

// dx (+)= dy f'(x)
KERNEL(act_backward, const real* x, i64 xs, const real* dy, i64 dys, real* dx, i64 dxs, int n, int act, int add) {
  REPLICA(x, xs);
  REPLICA(dy, dys);
  REPLICA(dx, dxs);
  EACH(i, n) put(dx + i, dy[i] * act_slope(act, x[i]), add);
}

// Of a formula's steps, in the order of `step_code`.
enum { NUMBER, VARIABLE, NEGATE, ADD, SUBTRACT, MULTIPLY, DIVIDE, POWER, CALL };
// Of `Function`, in the order of `function_code`.
enum { F_ABS, F_SIGN, F_STEP, F_RELU, F_EXP, F_LOG, F_SQRT, F_TANH, F_SIGMOID, F_SOFTPLUS, F_ERF, F_SIN, F_COS, F_MAX, F_MIN, F_POW, F_WHERE };
#define MAX_STEPS 128

static __device__ __forceinline__ real larger(real x, real y) { return x > y || x != x ? x : y; }
static __device__ __forceinline__ real step_up(real x) { return x > (real)0 ? (real)1 : (real)0; }

static __device__ real formula_call(int f, real x, real y, real z) {
  switch (f) {
    case F_ABS: return x < (real)0 ? -x : x;
    case F_SIGN: return step_up(x) - step_up(-x);
    case F_STEP: return step_up(x);
    case F_RELU: return larger(x, (real)0);
    case F_EXP: return exp(x);
    case F_LOG: return (real)log((double)x);
    case F_SQRT: return sqrt(x);
    case F_TANH: return tanh(x);
    case F_SIGMOID: return sigmoid(x);
    case F_SOFTPLUS: {
      double v = (double)x;
      return (real)((v > 0.0 ? v : 0.0) + log1p(exp(v > 0.0 ? -v : v)));
    }
    case F_ERF: return erf(x);
    case F_SIN: return (real)sin((double)x);
    case F_COS: return (real)cos((double)x);
    case F_MAX: return larger(x, y);
    case F_MIN: return -larger(-x, -y);
    case F_POW: return (real)pow((double)x, (double)y);
    default: return x > (real)0 ? y : z;
  }
}

static __device__ real formula(const u32* steps, const double* numbers, int n_steps, real x) {
  real v[MAX_STEPS];
  v[0] = (real)0;
  for (int at = 0; at < n_steps; at++) {
    const u32* s = steps + 5 * at;  // code, three operands, function or exponent
    real a = v[s[1]], b = v[s[2]], c = v[s[3]], y = (real)0;
    switch (s[0]) {
      case NUMBER: y = (real)numbers[at]; break;
      case VARIABLE: y = x; break;
      case NEGATE: y = -a; break;
      case ADD: y = a + b; break;
      case SUBTRACT: y = a - b; break;
      case MULTIPLY: y = a * b; break;
      case DIVIDE: y = a / b; break;
      case POWER: {
        int n = (int)s[4];
        real square = a;
        y = (real)1;
        for (u32 rest = n < 0 ? 0u - (u32)n : (u32)n; rest > 0; rest /= 2) {
          if (rest % 2 == 1) y *= square;
          square *= square;
        }
        if (n < 0) y = (real)1 / y;
        break;
      }
      default: y = formula_call((int)s[4], a, b, c);
    }
    v[at] = y;
  }
  return v[n_steps - 1];
}

// y = f(x), f a list of steps
KERNEL(formula_forward, const real* x, i64 xs, real* y, i64 ys, int n, const u32* steps, const double* numbers, int n_steps) {
  REPLICA(x, xs);
  REPLICA(y, ys);
  EACH(i, n) y[i] = formula(steps, numbers, n_steps, x[i]);
}

// dx (+)= dy f'(x), the derivative being another list of steps
KERNEL(formula_backward, const real* x, i64 xs, const real* dy, i64 dys, real* dx, i64 dxs, int n, const u32* steps, const double* numbers, int n_steps, int add) {
  REPLICA(x, xs);
  REPLICA(dy, dys);
  REPLICA(dx, dxs);
  EACH(i, n) put(dx + i, dy[i] * formula(steps, numbers, n_steps, x[i]), add);
}

// y = a b, and the bias [width] where there is one
KERNEL(product_forward, const real* a, i64 as, const real* b, i64 bs, const real* bias, i64 ps, real* y, i64 ys, int n, int width) {
  REPLICA(a, as);
  REPLICA(b, bs);
  REPLICA(y, ys);
  if (bias) REPLICA(bias, ps);
  EACH(i, n) y[i] = a[i] * b[i] + (bias ? bias[i % width] : (real)0);
}

// dx (+)= dy other: of products, and of dropout with its mask
KERNEL(product_backward, const real* dy, i64 dys, const real* other, i64 os, real* dx, i64 dxs, int n, int add) {
  REPLICA(dy, dys);
  REPLICA(other, os);
  REPLICA(dx, dxs);
  EACH(i, n) put(dx + i, dy[i] * other[i], add);
}

// y (+)= by x: sums' gradients, factors, copies
KERNEL(scale, const real* x, i64 xs, real* y, i64 ys, int n, double by, int add) {
  REPLICA(x, xs);
  REPLICA(y, ys);
  EACH(i, n) put(y + i, (real)by * x[i], add);
}

// y = a + b
KERNEL(sum_forward, const real* a, i64 as, const real* b, i64 bs, real* y, i64 ys, int n) {
  REPLICA(a, as);
  REPLICA(b, bs);
  REPLICA(y, ys);
  EACH(i, n) y[i] = a[i] + b[i];
}

// y = bias (+ residual), row by row: what a matrix product then adds to
KERNEL(start_rows, const real* bias, i64 ps, const real* residual, i64 rs, real* y, i64 ys, int n, int width) {
  REPLICA(bias, ps);
  REPLICA(y, ys);
  if (residual) REPLICA(residual, rs);
  EACH(i, n) y[i] = bias[i % width] + (residual ? residual[i] : (real)0);
}

// y = x w, column by column, and its gradient with dy for x
KERNEL(gain, const real* x, i64 xs, const real* w, i64 ps, real* y, i64 ys, int n, int width, int add) {
  REPLICA(x, xs);
  REPLICA(w, ps);
  REPLICA(y, ys);
  EACH(i, n) put(y + i, x[i] * w[i % width], add);
}

// Of `Change`, in the order of `change_code`.
enum { ABLATE, PATCH, CLAMP, FREEZE, MASK };

// y = change(x) at columns from .. to of the positions in `which`, x elsewhere; with dy, dx (+)= dy times its slope
KERNEL(change, const real* x, i64 xs, const real* dy, i64 dys, real* out, i64 os, int n, int width, int per_example, const u32* which, int from, int to, int kind, const double* numbers, int by_row, double min, double max, int add) {
  REPLICA(x, xs);
  REPLICA(out, os);
  if (dy) REPLICA(dy, dys);
  EACH(i, n) {
    int col = i % width, position = i / width % per_example;
    real y = x[i], slope = (real)1;
    if (which[position] && col >= from && col < to) {
      switch (kind) {
        case ABLATE: y = (real)0; slope = (real)0; break;
        case PATCH: y = (real)numbers[by_row ? i : col]; slope = (real)0; break;
        case CLAMP:
          if (y < (real)min) { y = (real)min; slope = (real)0; }
          else if (y > (real)max) { y = (real)max; slope = (real)0; }
          break;
        case FREEZE: slope = (real)0; break;
        default: slope = (real)numbers[col]; y = y * slope;
      }
    }
    if (dy) put(out + i, dy[i] * slope, add);
    else out[i] = y;
  }
}

// y[row] = table[position of the row], the same for all replicas: sinusoids
KERNEL(by_position, const double* table, real* y, i64 ys, int n, int width, int per_example, const u32* positions) {
  REPLICA(y, ys);
  EACH(i, n) y[i] = (real)table[positions[i / width % per_example] * width + i % width];
}

// y[row] = x[example, position]: real-valued inputs
KERNEL(reals, const double* x, i64 xs, real* y, i64 ys, int n, int width, int per_example, const u32* positions, int n_ctx) {
  REPLICA(x, xs);
  REPLICA(y, ys);
  EACH(i, n) {
    int row = i / width, example = row / per_example, position = positions[row % per_example];
    y[i] = (real)x[((i64)example * n_ctx + position) * width + i % width];
  }
}

// Turns pairs of columns (i, i + half) of each head by the position's angle: table [n_ctx, half] of (cosine, sine)
KERNEL(rotary, const real* x, i64 xs, real* y, i64 ys, int n, int width, int half, const double* table, const u32* positions, int per_example, int back, int add) {
  REPLICA(x, xs);
  REPLICA(y, ys);
  EACH(i, n) {
    int col = i % width, within = col % (2 * half), pair = within % half;
    int position = positions[i / width % per_example];
    const double* turn = table + 2 * ((i64)position * half + pair);
    real cosine = (real)turn[0], sine = back ? -(real)turn[1] : (real)turn[1];
    real y_i = within < half ? x[i] * cosine - x[i + half] * sine : x[i] * cosine + x[i - half] * sine;
    put(y + i, y_i, add);
  }
}

static __device__ __forceinline__ u64 mix(u64 z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// Word number `at` of Philox4x32-10 with this key and stream: the words of the host's generator.
static __device__ u32 philox_word(u64 key, u64 stream, u64 at) {
  u64 counter = at / 4;
  u32 c[4] = {(u32)counter, (u32)(counter >> 32), (u32)stream, (u32)(stream >> 32)};
  u32 k0 = (u32)key, k1 = (u32)(key >> 32);
  for (int round = 0; round < 10; round++) {
    u64 a = (u64)0xD2511F53u * c[0], b = (u64)0xCD9E8D57u * c[2];
    u32 next[4] = {(u32)(b >> 32) ^ c[1] ^ k0, (u32)b, (u32)(a >> 32) ^ c[3] ^ k1, (u32)a};
    for (int w = 0; w < 4; w++) c[w] = next[w];
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c[at % 4];
}

// mask = 0 or 1/(1 − rate), y = x mask; the draws of a row are the host's. Without streams everything is kept.
KERNEL(dropout_forward, const real* x, i64 xs, real* y, i64 ys, real* m, i64 ms, int n, int width, int per_example, const u32* positions, int n_ctx, const u64* seeds, const double* table, int columns, int column, const u64* step, const u64* first, int replicas, u64 number, u32 border, double kept) {
  REPLICA(x, xs);
  REPLICA(y, ys);
  REPLICA(m, ms);
  int r = blockIdx.y;
  u64 key = 0, stream = 0;
  if (seeds) {
    key = seeds[r];
    stream = (u64)__double_as_longlong(table[((*step - *first) * replicas + r) * columns + column]);
  }
  EACH(i, n) {
    real factor = (real)1;
    if (seeds) {
      int row = i / width;
      u64 place = (u64)(row / per_example) * n_ctx + positions[row % per_example];
      u64 own = mix(stream ^ mix(number * (1ull << 40) + place + 0x9E3779B97F4A7C15ull));
      factor = philox_word(key, own, (u64)(i % width)) < border ? (real)0 : (real)kept;
    }
    m[i] = factor;
    y[i] = x[i] * factor;
  }
}
