// Stands in for CUDA on a host, for tests: the kernels compiled by the system's C++ compiler, a block at a time, its threads as fibres that
// change over at every shuffle and barrier. One launch at a time: callers take turns.

#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __shared__ static
using std::exp;
using std::sqrt;
using std::erf;
using std::tanh;
using std::fma;
using std::log;

struct Extent {
  unsigned x, y, z;
};
static Extent threadIdx, blockIdx, blockDim, gridDim;

static inline double __longlong_as_double(long long w) {
  double x;
  memcpy(&x, &w, 8);
  return x;
}
static inline long long __double_as_longlong(double x) {
  long long w;
  memcpy(&w, &x, 8);
  return w;
}
static inline int __ffs(int x) { return __builtin_ffs(x); }

struct Words;
typedef void (*Body)(const Words);

#define THREADS 256
#define STACK (64 * 1024)

// What a thread waits for.
enum Waits { NOTHING, WARP_MATES, BLOCK_MATES, NOBODY };

// A fibre begins once, by its context, and goes on by jumps, which cost no system call: after one block it waits for the next.
struct Team {
  ucontext_t fibre[THREADS];
  jmp_buf scheduler, at[THREADS];
  bool begun[THREADS];
  Waits waits[THREADS];
  unsigned long long said[THREADS];
  std::vector<char> stacks;
  int running;
  Body body;
  const Words* words;
};
static Team* team;

static void wait_for(Waits mates) {
  int own = team->running;
  team->waits[own] = mates;
  if (_setjmp(team->at[own]) == 0) _longjmp(team->scheduler, 1);
}
static inline void __syncthreads() { wait_for(BLOCK_MATES); }

// What each lane of the warp says, heard by all of them; two waits, so that nobody speaks again before all have heard.
template <class T>
static T exchange(T x, int from) {
  int own = team->running, first = own / 32 * 32;
  unsigned long long word = 0;
  memcpy(&word, &x, sizeof(T));
  team->said[own] = word;
  wait_for(WARP_MATES);
  word = team->said[first + from];
  wait_for(WARP_MATES);
  memcpy(&x, &word, sizeof(T));
  return x;
}
template <class T>
static T __shfl_sync(unsigned, T x, int from) {
  return exchange(x, from);
}
template <class T>
static T __shfl_xor_sync(unsigned, T x, int by) {
  return exchange(x, (team->running % 32) ^ by);
}
static unsigned __ballot_sync(unsigned, bool yes) {
  int own = team->running, first = own / 32 * 32;
  team->said[own] = yes;
  wait_for(WARP_MATES);
  unsigned all = 0;
  for (int lane = 0; lane < 32; lane++) all |= (unsigned)(team->said[first + lane] != 0) << lane;
  wait_for(WARP_MATES);
  return all;
}

#define TEAM_KERNEL(name, ...)            \
  extern "C" const int name##_is_team = 1; \
  KERNEL(name, __VA_ARGS__)
