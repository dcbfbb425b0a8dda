// The loops of conv_pool.cc: conv_pool_forward.cc and conv_pool_backward.cc are compiled once per instruction set.
//
// Scratch memory is counted in floats, begins at a multiple of 64 bytes, and belongs to one thread during one call.
#pragma once

#include <cstdint>

#include "conv_pool.h"

namespace conv_pool {

struct ForwardKernels {
  // Images that are worked on at a time, one in each vector lane.
  int lanes;
  int64_t (*weight_floats)(const Problem&);
  void (*pack_weight)(const Problem&, const float* weight, float* packed);
  int64_t (*scratch_floats)(const Problem&);
  // Images [first, first + count), count <= lanes.
  void (*run)(const Problem&, const float* x, const float* packed_weight, const float* bias, int64_t first,
              int64_t count, float* out, uint8_t* saved, float* scratch);
};

struct BackwardKernels {
  // A packed weight and a partial sum of weight gradients have the same layout and size.
  int64_t (*weight_floats)(const Problem&);
  void (*pack_weight)(const Problem&, const float* weight, float* packed);
  int64_t (*scratch_floats)(const Problem&, bool with_grad_x);
  // Images [first, first + count): sets grad_x there, and partial sums of the gradients of weight and bias.
  void (*run)(const Problem&, const float* x, const float* packed_weight, const float* out, const uint8_t* saved,
              const float* grad_out, int64_t first, int64_t count, float* grad_x, float* partial_weight,
              float* partial_bias, float* scratch);
  // Adds the partial sums, in their order, into filter `filter` of grad_weight [M, C, k, k]; overwrites the first one.
  void (*reduce_weight)(const Problem&, float* const* partials, int64_t count, int64_t filter, float* grad_weight);
};

}  // namespace conv_pool
