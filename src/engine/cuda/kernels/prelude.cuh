// What every source begins with: number types, how a kernel gets its arguments, sums over a warp.
//
// A kernel's arguments are words of 64 bits, so that one launch function serves all of them: pointers and whole numbers as they are,
// real numbers as the bits of a double. `blockIdx.y` is the replica; a pointer to replicas' data is followed by the numbers between two of
// them (0 for data that all share).

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
typedef REAL real;

// NVRTC has no header that tells it.
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

struct Words {
  u64 word[32];
};

template <class T>
struct Word {
  static __device__ __forceinline__ T read(u64 w) { return (T)w; }
};
template <>
struct Word<double> {
  static __device__ __forceinline__ double read(u64 w) { return __longlong_as_double((i64)w); }
};

template <int... I>
struct Numbers {};
template <int N, int... I>
struct Count : Count<N - 1, N - 1, I...> {};
template <int... I>
struct Count<0, I...> {
  typedef Numbers<I...> To;
};

template <class F, F f>
struct Call;
template <class... A, void (*f)(A...)>
struct Call<void (*)(A...), f> {
  template <int... I>
  static __device__ __forceinline__ void spread(const Words& a, Numbers<I...>) {
    f(Word<A>::read(a.word[I])...);
  }
  static __device__ __forceinline__ void run(const Words& a) { spread(a, typename Count<sizeof...(A)>::To()); }
};

// A kernel whose threads do not talk to each other.
#define KERNEL(name, ...)                                                                    \
  static __device__ __forceinline__ void name##_body(__VA_ARGS__);                           \
  extern "C" __global__ void name(const Words a) { Call<decltype(&name##_body), &name##_body>::run(a); } \
  static __device__ __forceinline__ void name##_body(__VA_ARGS__)

// A kernel whose threads do, by shuffles or shared memory. The difference is for the emulation on a host alone.
#ifndef TEAM_KERNEL
#define TEAM_KERNEL KERNEL
#endif

// Goes on to this replica's data.
#define REPLICA(pointer, stride) pointer += (i64)blockIdx.y * (stride)

// Calls for every i below n, shared out among the blocks of a replica.
#define EACH(i, n) for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += gridDim.x * blockDim.x)

// The row of this warp, and the thread's place in it.
#define WARP_ROW (int)(blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32)
#define LANE (int)(threadIdx.x % 32)
#define ALL_LANES 0xffffffffu

static __device__ __forceinline__ real bigger(real a, real b) { return a > b ? a : b; }

template <class T>
static __device__ __forceinline__ T warp_sum(T x) {
  for (int d = 16; d > 0; d /= 2) x += __shfl_xor_sync(ALL_LANES, x, d);
  return x;
}
template <class T>
static __device__ __forceinline__ T warp_max(T x) {
  for (int d = 16; d > 0; d /= 2) {
    T other = __shfl_xor_sync(ALL_LANES, x, d);
    x = other > x ? other : x;
  }
  return x;
}
static __device__ __forceinline__ int warp_min(int x) {
  for (int d = 16; d > 0; d /= 2) {
    int other = __shfl_xor_sync(ALL_LANES, x, d);
    x = other < x ? other : x;
  }
  return x;
}

// Adds the numbers of 256 threads, always in the same order.
static __device__ __forceinline__ double block_sum(double x) {
  __shared__ double sums[256];
  sums[threadIdx.x] = x;
  for (int half = 128; half > 0; half /= 2) {
    __syncthreads();
    if ((int)threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  __syncthreads();
  double sum = sums[0];
  __syncthreads();
  return sum;
}

// y, or what was there and y.
static __device__ __forceinline__ void put(real* to, real y, int add) { *to = add ? *to + y : y; }
