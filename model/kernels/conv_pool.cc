#include "conv_pool.h"

#include "integers.h"
#include "isa.h"
#include "thread_pool.h"

namespace conv_pool {
namespace {

// Units of work are fixed by the batch alone, not by the number of threads, and so is the order of all sums.
constexpr int64_t kImagesPerUnit = 16;
constexpr int64_t kMaxPartials = 32;

// A call's turn at the pool, and its memory: each worker's own, and one piece that all share.
class Call {
 public:
  Call(int64_t floats_per_worker, int64_t shared_floats)
      : stride_(RoundUp(floats_per_worker, 1024)),
        base_(turn_->Scratch(stride_ * turn_->threads() + shared_floats)) {}

  const Turn& pool() const { return turn_; }
  float* OfWorker(int worker) { return base_ + stride_ * worker; }
  float* Shared() { return base_ + stride_ * turn_->threads(); }

 private:
  Turn turn_;
  int64_t stride_;
  float* base_;
};

}  // namespace

void Forward(const Problem& p, const float* x, const float* weight, const float* bias, float* out, uint8_t* saved) {
  const ForwardKernels& kernels = isa::Chosen().forward;
  Call call(kernels.scratch_floats(p), kernels.weight_floats(p));
  float* packed = call.Shared();
  kernels.pack_weight(p, weight, packed);
  call.pool()->For(CeilDiv(p.images, kernels.lanes), [&](int64_t unit, int worker) {
    const int64_t first = unit * kernels.lanes;
    kernels.run(p, x, packed, bias, first, Min(kernels.lanes, p.images - first), out, saved, call.OfWorker(worker));
  });
}

void Backward(const Problem& p, const float* x, const float* weight, const float* out, const uint8_t* saved,
              const float* grad_out, float* grad_x, float* grad_weight, float* grad_bias) {
  const BackwardKernels& kernels = isa::Chosen().backward;
  const int64_t blocks = CeilDiv(p.images, kImagesPerUnit);
  // An empty batch has one empty unit, which makes its gradients 0.
  const int64_t units = Max(1, Min(blocks, kMaxPartials));
  const int64_t weight_floats = RoundUp(kernels.weight_floats(p), 16);
  const int64_t bias_floats = RoundUp(p.filters, 16);
  Call call(kernels.scratch_floats(p, grad_x != nullptr), weight_floats + units * (weight_floats + bias_floats));
  float* packed = call.Shared();
  if (grad_x != nullptr) kernels.pack_weight(p, weight, packed);
  float* partial_weight[kMaxPartials];
  float* partial_bias[kMaxPartials];
  for (int64_t i = 0; i < units; ++i) {
    partial_weight[i] = packed + weight_floats + i * (weight_floats + bias_floats);
    partial_bias[i] = partial_weight[i] + weight_floats;
  }
  call.pool()->For(units, [&](int64_t unit, int worker) {
    const int64_t first = unit * blocks / units * kImagesPerUnit;
    const int64_t past = Min((unit + 1) * blocks / units * kImagesPerUnit, p.images);
    kernels.run(p, x, packed, out, saved, grad_out, first, past - first, grad_x, partial_weight[unit],
                partial_bias[unit], call.OfWorker(worker));
  });
  call.pool()->For(p.filters, [&](int64_t filter, int) {
    kernels.reduce_weight(p, partial_weight, units, filter, grad_weight);
    grad_bias[filter] = 0;
    for (int64_t i = 0; i < units; ++i) grad_bias[filter] += partial_bias[i][filter];
  });
}

}  // namespace conv_pool

extern "C" {
void conv_pool_set_threads(int threads) { conv_pool::ThreadPool::Get().SetThreads(threads); }
int conv_pool_threads() { return conv_pool::Turn()->threads(); }
const char* conv_pool_isa() { return isa::Chosen().name; }
}
