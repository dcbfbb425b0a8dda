// Vectors of floats for sources that are compiled once per instruction set (see build.py), and their transposition.
//
// Everything is in a nameless namespace, and no standard library code with external linkage may be used in such
// sources: the linker keeps one copy of an inline function, and if that is the one compiled for AVX-512, it crashes
// processors without.
#pragma once

#include <stdint.h>
#include <string.h>

#include <utility>  // std::integer_sequence, which is a type and emits no code

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "integers.h"

namespace {

// CONV_POOL_ISA: the instruction set, and the namespace of what is compiled for it (see isa.h).
// kLanes: floats in a vector. kMaxSums: vectors that registers can sum, beside those that are read.
#if defined(__AVX512F__)
#define CONV_POOL_ISA avx512
constexpr int kLanes = 16;
constexpr int kMaxSums = 24;  // of 32 registers
#elif defined(__AVX2__)
#define CONV_POOL_ISA avx2
constexpr int kLanes = 8;
constexpr int kMaxSums = 12;  // of 16 registers
#else
#define CONV_POOL_ISA generic
constexpr int kLanes = 4;  // SSE2 and NEON, which every x86-64 and ARM64 processor has
constexpr int kMaxSums = 12;
#endif

// Loops over registers must disappear, or the registers become memory.
#define UNROLLED _Pragma("GCC unroll 16")

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef float UnalignedVec __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef int32_t IntVec __attribute__((vector_size(4 * kLanes)));

inline Vec Load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
inline void Store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
inline Vec LoadAligned(const float* p) { return *reinterpret_cast<const Vec*>(p); }
inline void StoreAligned(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }
inline Vec Broadcast(float f) { return f - Vec{}; }
inline IntVec Broadcast(int32_t i) { return i - IntVec{}; }

// Hands out pieces of scratch memory, each at a multiple of 64 bytes; with a null base it only counts.
struct Arena {
  float* base;
  int64_t used = 0;
  float* Take(int64_t floats) {
    float* piece = base == nullptr ? nullptr : base + used;
    used += RoundUp(floats, 16);
    return piece;
  }
  int32_t* TakeInts(int64_t count) { return reinterpret_cast<int32_t*>(Take(count)); }
};

// ---- transposition ----------------------------------------------------------------------------------------------

template <int Step, bool Upper, int... Lane>
inline Vec ExchangeLanes(Vec a, Vec b, std::integer_sequence<int, Lane...>) {
  constexpr IntVec kFrom = {(Upper ? ((Lane & Step) ? kLanes + Lane : Lane + Step)
                                   : ((Lane & Step) ? kLanes + Lane - Step : Lane))...};
  return __builtin_shuffle(a, b, kFrom);
}

template <int Step>
inline void TransposeStep(Vec* t) {
  using Lanes = std::make_integer_sequence<int, kLanes>;
  UNROLLED for (int i = 0; i < kLanes; ++i) {
    if ((i & Step) == 0) {
      const Vec a = t[i], b = t[i + Step];
      t[i] = ExchangeLanes<Step, false>(a, b, Lanes());
      t[i + Step] = ExchangeLanes<Step, true>(a, b, Lanes());
    }
  }
}

inline void TransposeTile(Vec* t) {
  TransposeStep<1>(t);
  TransposeStep<2>(t);
#if defined(__AVX2__)
  TransposeStep<4>(t);
#endif
#if defined(__AVX512F__)
  TransposeStep<8>(t);
#endif
}

// rows x columns floats, `from` with row stride from_stride, into their transpose with row stride to_stride.
// Every row of `to` but the last may be written up to kLanes - 1 floats beyond its end and must be followed in memory
// by the next; after the last, this many floats of slack are needed where rows is no multiple of kLanes.
// (The remainder of the rows goes first: what it writes too much lies where whole vectors are yet to be written.)
inline void TransposeOverwriting(const float* from, int64_t from_stride, int64_t rows, int64_t columns, float* to,
                                 int64_t to_stride) {
  if (rows == 1 && to_stride == 1) {
    memcpy(to, from, columns * sizeof(float));
    return;
  }
  const int64_t whole_rows = rows / kLanes * kLanes;
  for (int64_t pass = 0; pass < 2; ++pass) {
    const int64_t begin = pass == 0 ? whole_rows : 0, end = pass == 0 ? rows : whole_rows;
    for (int64_t r = begin; r < end; r += kLanes) {
      const int64_t valid = Min(kLanes, rows - r);
      int64_t c = 0;
      for (; c + kLanes <= columns; c += kLanes) {
        Vec t[kLanes];
        UNROLLED for (int i = 0; i < kLanes; ++i) t[i] = Load(from + (r + Min(i, valid - 1)) * from_stride + c);
        TransposeTile(t);
        UNROLLED for (int i = 0; i < kLanes; ++i) Store(to + (c + i) * to_stride + r, t[i]);
      }
      for (; c < columns; ++c) {
        for (int64_t i = 0; i < valid; ++i) to[c * to_stride + r + i] = from[(r + i) * from_stride + c];
      }
    }
  }
}

// The same, writing nothing beyond the rows of `to`; reads `from` up to kLanes - 1 floats beyond the last column.
inline void TransposeOverreading(const float* from, int64_t from_stride, int64_t rows, int64_t columns, float* to,
                                 int64_t to_stride) {
  int64_t r = 0;
  for (; r + kLanes <= rows; r += kLanes) {
    for (int64_t c = 0; c < columns; c += kLanes) {
      Vec t[kLanes];
      UNROLLED for (int i = 0; i < kLanes; ++i) t[i] = Load(from + (r + i) * from_stride + c);
      TransposeTile(t);
      const int64_t valid = Min(kLanes, columns - c);
      if (valid == kLanes) {
        UNROLLED for (int i = 0; i < kLanes; ++i) Store(to + (c + i) * to_stride + r, t[i]);
      } else {
        for (int64_t i = 0; i < valid; ++i) Store(to + (c + i) * to_stride + r, t[i]);
      }
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[c * to_stride + r] = from[r * from_stride + c];
  }
}


}  // namespace
