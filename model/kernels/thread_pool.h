// A few threads that wait for short pieces of work.
//
// Why not OpenMP: the compiler's libgomp would run beside the Intel library inside Paddle, and each keeps its threads
// spinning while the other works.
#pragma once

#include <cstdint>

namespace conv_pool {

class ThreadPool {
 public:
  // `worker` is below the number of threads, and no two calls at a time have the same.
  using Function = void (*)(void* context, int64_t unit, int worker);

  // The process's pool.
  static ThreadPool& Get();

  // Calls function for every unit in [0, units), on this thread and the others; returns when all are done.
  // The caller holds Lock().
  void Run(int64_t units, Function function, void* context);

  template <typename Work>
  void For(int64_t units, Work&& work) {
    Run(units, [](void* w, int64_t unit, int worker) { (*static_cast<Work*>(w))(unit, worker); }, &work);
  }

  // Memory for the one who holds Lock(): at least `floats`, beginning at a multiple of 64 bytes, contents undefined.
  // It only grows, so that a training step allocates nothing.
  float* Scratch(int64_t floats);

  // Calls from several threads take turns.
  void Lock();
  void Unlock();

  int threads() const { return threads_; }  // the caller holds Lock()
  void SetThreads(int threads);             // 0: the default; at most 256, and as many as the system gives

 private:
  ThreadPool();
  struct State;
  State* state_;
  int threads_;
};

// A call's turn at the process's pool, which ends with its scope, by an exception too.
class Turn {
 public:
  Turn() : pool_(ThreadPool::Get()) { pool_.Lock(); }
  ~Turn() { pool_.Unlock(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ThreadPool* operator->() const { return &pool_; }

 private:
  ThreadPool& pool_;
};

}  // namespace conv_pool
