// The loops, compiled once per instruction set, and the choice among them.
#pragma once

#include "conv_pool_kernels.h"
#include "loops.h"
#include "matrix.h"

#if defined(__x86_64__)
#define FOR_EACH_ISA(DO) DO(avx512) DO(avx2) DO(generic)  // best first
#else
#define FOR_EACH_ISA(DO) DO(generic)
#endif

namespace isa {

struct InstructionSet {
  const char* name;
  const conv_pool::ForwardKernels& forward;
  const conv_pool::BackwardKernels& backward;
  const step::MatrixKernels& matrix;
  const step::Loops& loops;
};

// The best that the processor has, or CONV_POOL_ISA of the environment if it has that.
const InstructionSet& Chosen();

// Each of these is defined by a source that is compiled for that instruction set.
#define DECLARE(name)                                   \
  namespace name {                                      \
  extern const conv_pool::ForwardKernels kForward;      \
  extern const conv_pool::BackwardKernels kBackward;    \
  extern const step::MatrixKernels kMatrix;             \
  extern const step::Loops kLoops;                      \
  }
FOR_EACH_ISA(DECLARE)
#undef DECLARE

}  // namespace isa
