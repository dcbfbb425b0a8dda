// The loops of a step over elements: batch normalisation, squashing, Adam's update, averages.
#pragma once

#include <cstdint>

#include "step.h"

namespace step {

// Sums over images [first, past) are kept for each channel as two quantities of so many parts each:
// sums [channel][quantity][part], added to.
constexpr int kSumLanes = 16;

// loops.cc is compiled once per instruction set.
struct Loops {
  // Of x - shift, and of its square.
  void (*sum_about_shift)(const BatchNorm&, int64_t first, int64_t past, const float* x, const float* shift,
                          float* sums);
  // Of grad_y, and of grad_y * (x - mean).
  void (*sum_gradients)(const BatchNorm&, int64_t first, int64_t past, const float* x, const float* mean,
                        const float* grad_y, float* sums);
  // to = of_a[channel] * a + of_b[channel] * b + offset[channel]; without b where it is null.
  void (*combine)(const BatchNorm&, int64_t first, int64_t past, const float* a, const float* of_a, const float* b,
                  const float* of_b, const float* offset, float* to);
  void (*squash)(const Squash&, int64_t first, int64_t past, const float* x, const float* coefficient,
                 const float* bias, float* y);
  // grad_x, and the sums of the gradients of bias and coefficient.
  void (*squash_gradients)(const Squash&, int64_t first, int64_t past, const float* x, const float* coefficient,
                           const float* y, const float* grad_y, float* grad_x, float* sums);
  // Elements [begin, end) of a parameter: Adam's step, after a share of 1 - shrink of each is taken away.
  void (*update)(const Adam&, const Parameter&, float rate, float epsilon, float shrink, int64_t begin, int64_t end);
  // Elements [begin, end): average += rate * (value - average).
  void (*average)(float rate, int64_t begin, int64_t end, const float* value, float* average);
};

}  // namespace step
