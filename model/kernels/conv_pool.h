// Convolution -> + bias -> activation -> 2x2 pooling in one pass, forward and backward, on NCHW float32 tensors.
//
// Nothing here knows Paddle: conv_pool_op.cc binds these functions to it, tests/model/conv_pool_sanitize.cc runs them alone.
#pragma once

#include <cstdint>

namespace conv_pool {

enum class Activation { kNone, kRelu, kTanh };
enum class Pooling { kMax, kMean };

// One layer applied to one batch. The convolution is valid and has stride 1; windows of the pooling do not overlap, and
// an odd last row or column of the convolution's output belongs to none.
struct Problem {
  int64_t images, channels, height, width;
  int64_t filters, kernel;
  Activation activation;
  Pooling pooling;

  int64_t PooledHeight() const { return (height - kernel + 1) / 2; }
  int64_t PooledWidth() const { return (width - kernel + 1) / 2; }
  int64_t Windows() const { return PooledHeight() * PooledWidth(); }
  // The gradient of the mean needs the slope of tanh at each of a window's four positions; all others need one byte.
  bool SavesSlopes() const { return pooling == Pooling::kMean && activation == Activation::kTanh; }
  int64_t SavedBytesPerWindow() const { return SavesSlopes() ? 16 : 1; }
};

// x [N, C, H, W], weight [M, C, k, k], bias [M] -> out [N, M, H', W'], and what the backward pass must know of each
// window, saved [N, M, H', W', SavedBytesPerWindow()]: the position of the maximum (0 to 3, row by row; the first among
// equals; 4 where ReLU lets no gradient pass), or for the mean a bit for every position whose gradient passes, or four
// slopes as floats.
void Forward(const Problem& problem, const float* x, const float* weight, const float* bias, float* out,
             uint8_t* saved);

// The gradients of sum(out * grad_out). grad_x may be null: then its work, about half of all, is left out.
// The sums over images have an order that depends on the shapes alone: every number of threads gives the same bits.
void Backward(const Problem& problem, const float* x, const float* weight, const float* out, const uint8_t* saved,
              const float* grad_out, float* grad_x, float* grad_weight, float* grad_bias);

}  // namespace conv_pool

extern "C" {
// Threads that work on one call, the caller's included. At first, and again after 0: CONV_POOL_THREADS of the
// environment, or else as many as processors that the process may use. Never more than 256, nor than the system gives.
void conv_pool_set_threads(int threads);
int conv_pool_threads();
// "avx512", "avx2" or "generic": the best that the processor has, or CONV_POOL_ISA of the environment if it has that.
const char* conv_pool_isa();
}
