#include "thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

namespace conv_pool {
namespace {

// The next call within a training step comes after tens to hundreds of microseconds. Waking a sleeping thread costs
// about as much as this short spin; a long one takes the processor from Paddle's own threads.
constexpr int kSpins = 2000;

// Far above the units of work that a batch has; it bounds the memory, of which every thread needs its own.
constexpr int kMostThreads = 256;

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Processors that this process may use. cpu_set_t has room for 1024; where there are more, the system wants a larger one.
int Processors() {
  for (int room = CPU_SETSIZE; room <= CPU_SETSIZE << 10; room *= 2) {
    cpu_set_t* set = CPU_ALLOC(room);
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(room);
    const bool told = sched_getaffinity(0, bytes, set) == 0;
    const bool too_small = !told && errno == EINVAL;
    const int count = told ? CPU_COUNT_S(bytes, set) : 1;
    CPU_FREE(set);
    if (!too_small) return count;
  }
  return 1;
}

int ThreadsByDefault() {
  if (const char* text = std::getenv("CONV_POOL_THREADS")) {
    const long threads = std::strtol(text, nullptr, 10);
    if (threads > 0) return static_cast<int>(std::min<long>(threads, kMostThreads));
  }
  return Processors();
}

ThreadPool* pool = nullptr;
std::mutex pool_mutex;

}  // namespace

struct ThreadPool::State {
  std::mutex turn;  // held during a whole call of an operator

  // One piece of work. A worker enters it, under the mutex, while it is open; the caller closes it when no unit is left
  // and waits only for those who entered: one that the system has not yet woken delays nobody.
  std::mutex mutex;
  std::condition_variable opened;
  std::atomic<uint64_t> generation{0};
  bool open = false;
  Function function = nullptr;
  void* context = nullptr;
  int64_t units = 0;
  int helpers = 0;
  std::atomic<int64_t> next{0};
  std::atomic<int> inside{0};

  int started = 0;  // threads beside the callers'; they live as long as the process
  float* scratch = nullptr;
  int64_t scratch_floats = 0;

  void Work(int worker) {
    for (;;) {
      const int64_t unit = next.fetch_add(1, std::memory_order_relaxed);
      if (unit >= units) return;
      function(context, unit, worker);
    }
  }

  void Serve(int worker) {
    uint64_t seen = 0;
    for (;;) {
      for (int i = 0; i < kSpins && generation.load(std::memory_order_relaxed) == seen; ++i) Pause();
      {
        std::unique_lock<std::mutex> lock(mutex);
        opened.wait(lock, [&] { return generation.load(std::memory_order_relaxed) != seen; });
        seen = generation.load(std::memory_order_relaxed);
        if (!open || worker > helpers) continue;
        inside.fetch_add(1, std::memory_order_relaxed);
      }
      Work(worker);
      inside.fetch_sub(1, std::memory_order_release);
    }
  }
};

ThreadPool::ThreadPool() : state_(new State), threads_(1) { SetThreads(0); }

ThreadPool& ThreadPool::Get() {
  std::lock_guard<std::mutex> lock(pool_mutex);
  if (pool == nullptr) {
    // Never destroyed: its threads may outlive any order in which static objects are.
    pool = new ThreadPool;
    // A forked child has none of the threads, and must make its own.
    static const int registered = pthread_atfork(nullptr, nullptr, [] {
      new (&pool_mutex) std::mutex;
      pool = nullptr;
    });
    (void)registered;
  }
  return *pool;
}

void ThreadPool::Lock() { state_->turn.lock(); }
void ThreadPool::Unlock() { state_->turn.unlock(); }

void ThreadPool::SetThreads(int threads) {
  std::lock_guard<std::mutex> lock(state_->turn);
  const int wanted = std::min(threads < 1 ? ThreadsByDefault() : threads, kMostThreads);
  try {
    for (; state_->started < wanted - 1; ++state_->started) {
      std::thread(&State::Serve, state_, state_->started + 1).detach();
    }
  } catch (const std::system_error&) {
    // The system gives no more, as where a container limits them: those that it gave do the work.
  }
  threads_ = std::min(wanted, state_->started + 1);
}

void ThreadPool::Run(int64_t units, Function function, void* context) {
  State& s = *state_;
  const bool shared = threads_ > 1 && units > 1;
  s.function = function;
  s.context = context;
  s.units = units;
  s.next.store(0, std::memory_order_relaxed);
  if (shared) {
    {
      std::lock_guard<std::mutex> lock(s.mutex);
      s.open = true;
      s.helpers = static_cast<int>(units < threads_ ? units : threads_) - 1;
      s.generation.fetch_add(1, std::memory_order_relaxed);
    }
    s.opened.notify_all();
  }
  s.Work(0);
  if (shared) {
    {
      std::lock_guard<std::mutex> lock(s.mutex);
      s.open = false;
    }
    for (int i = 0; s.inside.load(std::memory_order_acquire) != 0; ++i) {
      if (i < kSpins) {
        Pause();
      } else {
        sched_yield();
      }
    }
  }
}

float* ThreadPool::Scratch(int64_t floats) {
  State& s = *state_;
  if (s.scratch_floats < floats) {
    ::operator delete[](s.scratch, std::align_val_t(64));
    s.scratch = nullptr;
    s.scratch_floats = 0;
    s.scratch = static_cast<float*>(::operator new[](floats * sizeof(float), std::align_val_t(64)));
    s.scratch_floats = floats;
  }
  return s.scratch;
}

}  // namespace conv_pool
