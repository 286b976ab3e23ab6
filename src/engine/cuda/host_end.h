
static void fibre_main() {
  for (;;) {
    team->body(*team->words);
    wait_for(NOBODY);
  }
}

// Lets a thread run until it waits.
static void resume(Team* own, int t) {
  if (_setjmp(own->scheduler) != 0) return;
  if (own->begun[t]) _longjmp(own->at[t], 1);
  own->begun[t] = true;
  setcontext(&own->fibre[t]);
}

static void run_team(Body body, const Words& words) {
  static Team own;
  team = &own;
  own.body = body;
  own.words = &words;
  if (own.stacks.empty()) {
    own.stacks.resize((size_t)THREADS * STACK);
    for (int t = 0; t < THREADS; t++) {
      getcontext(&own.fibre[t]);
      own.fibre[t].uc_stack.ss_sp = own.stacks.data() + (size_t)t * STACK;
      own.fibre[t].uc_stack.ss_size = STACK;
      own.fibre[t].uc_link = nullptr;
      makecontext(&own.fibre[t], fibre_main, 0);
    }
  }
  for (int t = 0; t < THREADS; t++) own.waits[t] = NOTHING;
  for (bool any = true; any;) {
    any = false;
    for (int t = 0; t < THREADS; t++) {
      if (own.waits[t] != NOTHING) continue;
      any = true;
      own.running = t;
      threadIdx.x = (unsigned)t;
      resume(&own, t);
    }
    // Those that wait go on when all others of their warp, or block, wait too or have ended.
    bool block = true;
    for (int t = 0; t < THREADS; t++) block = block && (own.waits[t] == BLOCK_MATES || own.waits[t] == NOBODY);
    for (int first = 0; first < THREADS; first += 32) {
      bool warp = true;
      for (int t = first; t < first + 32; t++) warp = warp && own.waits[t] != NOTHING && own.waits[t] != BLOCK_MATES;
      for (int t = first; t < first + 32; t++)
        if ((warp && own.waits[t] == WARP_MATES) || (block && own.waits[t] == BLOCK_MATES)) {
          own.waits[t] = NOTHING;
          any = true;
        }
    }
  }
  for (int t = 0; t < THREADS; t++)
    if (own.waits[t] != NOBODY) {
      fprintf(stderr, "a thread waits for others that have ended\n");
      abort();
    }
}

extern "C" void launch_on_host(Body body, int is_team, const Words* words, unsigned x, unsigned y, unsigned z) {
  blockDim = {THREADS, 1, 1};
  gridDim = {x, y, z};
  for (unsigned k = 0; k < z; k++)
    for (unsigned j = 0; j < y; j++)
      for (unsigned i = 0; i < x; i++) {
        blockIdx = {i, j, k};
        if (is_team) {
          run_team(body, *words);
          continue;
        }
        for (unsigned t = 0; t < THREADS; t++) {
          threadIdx = {t, 0, 0};
          body(*words);
        }
      }
}
