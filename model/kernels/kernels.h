// What an instruction set provides: kernels.cc is compiled once for each, and conv_pool.cc picks one at run time.
#pragma once

#include <cstdint>

#include "conv_pool.h"

namespace conv_pool {

struct Kernels {
  const char* isa;
  // Images that the forward pass works on at a time, one in each vector lane.
  int lanes;

  // Scratch memory is counted in floats, begins at a multiple of 64 bytes, and belongs to one thread during one call.
  int64_t (*forward_weight_floats)(const Problem&);
  void (*pack_forward_weight)(const Problem&, const float* weight, float* packed);
  int64_t (*forward_scratch_floats)(const Problem&);
  // Images [first, first + count), count <= lanes.
  void (*forward)(const Problem&, const float* x, const float* packed_weight, const float* bias, int64_t first,
                  int64_t count, float* out, uint8_t* saved, float* scratch);

  // A packed weight and a partial sum of weight gradients have the same layout and size.
  int64_t (*backward_weight_floats)(const Problem&);
  void (*pack_backward_weight)(const Problem&, const float* weight, float* packed);
  int64_t (*backward_scratch_floats)(const Problem&, bool with_grad_x);
  // Images [first, first + count): sets grad_x there, and partial sums of the gradients of weight and bias.
  void (*backward)(const Problem&, const float* x, const float* packed_weight, const float* out, const uint8_t* saved,
                   const float* grad_out, int64_t first, int64_t count, float* grad_x, float* partial_weight,
                   float* partial_bias, float* scratch);
  // Adds the partial sums, in their order, into filter `filter` of grad_weight [M, C, k, k]; overwrites the first one.
  void (*reduce_weight)(const Problem&, float* const* partials, int64_t count, int64_t filter, float* grad_weight);
};

extern const Kernels kGenericKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#endif

}  // namespace conv_pool
