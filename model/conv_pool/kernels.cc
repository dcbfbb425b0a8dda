// The arithmetic, written once over vectors of kLanes floats and compiled once per instruction set (see build.py).
//
// Forward: one image in each vector lane, so that any number of filters and any image size fill the vectors. A tile of
// filters x one pooling window is accumulated in registers; maximum, bias and activation are applied before anything is
// stored, and the convolution's output never exists in memory.
//
// Backward: the gradient of a window reaches one of its four positions (or none, where ReLU is flat). The positions that
// it reaches are listed, and each adds a multiple of an image patch to its filter's gradient, and a multiple of its
// filter to a patch of the image's gradient: less than a quarter of the dense work. Vectors run along kernel row x
// channel here. Images are unfolded beforehand, one copy of each kernel row for each position, so that every vector of a
// patch is aligned; an unaligned 64-byte load costs two.
//
// No standard library code with external linkage may be used here: the linker keeps one copy of an inline function, and
// if that is the one compiled for AVX-512, it crashes processors without.

#include <stdint.h>
#include <string.h>

#include <utility>  // std::integer_sequence, which is a type and emits no code

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "kernels.h"

namespace conv_pool {
namespace {

#if defined(__AVX512F__)
#define CONV_POOL_KERNELS kAvx512Kernels
constexpr char kIsa[] = "avx512";
constexpr int kLanes = 16;
constexpr int kMaxTileFilters = 6;     // x 4 positions = 24 accumulators of 32 registers
constexpr int kMaxPatchVectors = 24;   // accumulators of the backward pass
#elif defined(__AVX2__)
#define CONV_POOL_KERNELS kAvx2Kernels
constexpr char kIsa[] = "avx2";
constexpr int kLanes = 8;
constexpr int kMaxTileFilters = 3;     // of 16 registers
constexpr int kMaxPatchVectors = 12;
#else
#define CONV_POOL_KERNELS kGenericKernels
constexpr char kIsa[] = "generic";
constexpr int kLanes = 4;              // SSE2 and NEON, which every x86-64 and ARM64 processor has
constexpr int kMaxTileFilters = 3;
constexpr int kMaxPatchVectors = 12;
#endif

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef float UnalignedVec __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef int32_t IntVec __attribute__((vector_size(4 * kLanes)));

inline Vec Load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
inline void Store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
inline Vec LoadAligned(const float* p) { return *reinterpret_cast<const Vec*>(p); }
inline void StoreAligned(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }
inline Vec Broadcast(float f) { return f - Vec{}; }
inline IntVec Broadcast(int32_t i) { return i - IntVec{}; }

constexpr int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
constexpr int64_t CeilDiv(int64_t n, int64_t by) { return (n + by - 1) / by; }
inline int64_t Min(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t Max(int64_t a, int64_t b) { return a > b ? a : b; }

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
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
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
// Every row of `to` but the last may be written up to kLanes - 1 floats beyond its end and must be followed in memory by
// the next; after the last, this many floats of slack are needed where rows is no multiple of kLanes.
// (The remainder of the rows goes first: what it writes too much lies where whole vectors are yet to be written.)
inline void TransposeOverwriting(const float* from, int64_t from_stride, int64_t rows, int64_t columns, float* to,
                                 int64_t to_stride) {
  const int64_t whole_rows = rows / kLanes * kLanes;
  for (int64_t pass = 0; pass < 2; ++pass) {
    const int64_t begin = pass == 0 ? whole_rows : 0, end = pass == 0 ? rows : whole_rows;
    for (int64_t r = begin; r < end; r += kLanes) {
      const int64_t valid = Min(kLanes, rows - r);
      int64_t c = 0;
      for (; c + kLanes <= columns; c += kLanes) {
        Vec t[kLanes];
        for (int i = 0; i < kLanes; ++i) t[i] = i < valid ? Load(from + (r + i) * from_stride + c) : Vec{};
        TransposeTile(t);
        for (int i = 0; i < kLanes; ++i) Store(to + (c + i) * to_stride + r, t[i]);
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
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) t[i] = Load(from + (r + i) * from_stride + c);
      TransposeTile(t);
      const int64_t valid = Min(kLanes, columns - c);
      if (valid == kLanes) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) Store(to + (c + i) * to_stride + r, t[i]);
      } else {
        for (int64_t i = 0; i < valid; ++i) Store(to + (c + i) * to_stride + r, t[i]);
      }
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[c * to_stride + r] = from[r * from_stride + c];
  }
}

// ---- tanh -------------------------------------------------------------------------------------------------------

// Within 2 units in the last place. Polynomials: S. L. Moshier, Cephes library, tanhf.c and expf.c.
__attribute__((noinline)) Vec Tanh(Vec x) {
  const Vec magnitude = x < 0.0f ? -x : x;
  const Vec z = x * x;
  const Vec near_zero =
      ((((-5.70498872745e-3f * z + 2.06390887954e-2f) * z - 5.37397155531e-2f) * z + 1.33314422036e-1f) * z -
       3.33332819422e-1f) * z * x + x;
  // tanh(10) rounds to 1. A NaN stays one: it is not greater than 10.
  const Vec t = 2.0f * (magnitude > 10.0f ? Broadcast(10.0f) : magnitude);
  const IntVec n = __builtin_convertvector(t * 1.44269504088896341f + 0.5f, IntVec);
  const Vec n_float = __builtin_convertvector(n, Vec);
  const Vec r = t - n_float * 0.693359375f + n_float * 2.12194440e-4f;
  const Vec power =
      (((((1.9875691500e-4f * r + 1.3981999507e-3f) * r + 8.3334519073e-3f) * r + 4.1665795894e-2f) * r +
        1.6666665459e-1f) * r + 5.0000001201e-1f) * (r * r) + r + 1.0f;
  const Vec exponential = power * reinterpret_cast<Vec>((n + 127) << 23);
  const Vec far = 1.0f - 2.0f / (exponential + 1.0f);
  return magnitude < 0.625f ? near_zero : (x < 0.0f ? -far : far);
}

// ---- forward ----------------------------------------------------------------------------------------------------

// The filters are cut into the fewest groups that a tile of registers can hold, as even as possible.
struct FilterGroups {
  int64_t count, small, larger;  // `larger` groups of small + 1 filters, then the others of `small`
  explicit FilterGroups(int64_t filters)
      : count(CeilDiv(filters, kMaxTileFilters)), small(filters / count), larger(filters % count) {}
  int64_t Size(int64_t group) const { return small + (group < larger); }
  int64_t First(int64_t group) const { return group * small + Min(group, larger); }
};

int64_t ForwardWeightFloats(const Problem& p) { return p.filters * p.channels * p.kernel * p.kernel; }

// [group][c][ky][kx][filter of the group], the order in which the tile reads it.
void PackForwardWeight(const Problem& p, const float* weight, float* packed) {
  const FilterGroups groups(p.filters);
  const int64_t taps = p.channels * p.kernel * p.kernel;
  for (int64_t g = 0; g < groups.count; ++g) {
    const int64_t size = groups.Size(g);
    for (int64_t f = 0; f < size; ++f) {
      const float* filter = weight + (groups.First(g) + f) * taps;
      for (int64_t t = 0; t < taps; ++t) packed[groups.First(g) * taps + t * size + f] = filter[t];
    }
  }
}

// Where the results of one group of filters are collected before they go to the images: [filter][window][lane].
struct ForwardScratch {
  float *x, *out, *code;
  int64_t floats;
  ForwardScratch(const Problem& p, float* base) {
    Arena arena{base};
    x = arena.Take(p.channels * p.height * p.width * kLanes);
    out = arena.Take(kMaxTileFilters * p.Windows() * kLanes);
    code = arena.Take(kMaxTileFilters * p.Windows() * kLanes * (p.SavesSlopes() ? 4 : 1));
    floats = arena.used;
  }
};

int64_t ForwardScratchFloats(const Problem& p) { return ForwardScratch(p, nullptr).floats; }

// From the four sums of one filter in one window to its output and to what the backward pass must know (see Forward).
inline void Finish(const Problem& p, const Vec (&sum)[4], Vec bias, float* out, float* code, int64_t at) {
  if (p.pooling == Pooling::kMax) {
    Vec best = sum[0];
    IntVec position = {};
#pragma GCC unroll 4
    for (int i = 1; i < 4; ++i) {
      // A NaN anywhere in the window wins, so that a diverged training shows.
      const IntVec better = (sum[i] > best) | (sum[i] != sum[i]);
      best = better ? sum[i] : best;
      position = better ? Broadcast(i) : position;
    }
    best += bias;
    if (p.activation == Activation::kRelu) best = best < 0.0f ? Vec{} : best;
    if (p.activation == Activation::kTanh) best = Tanh(best);
    StoreAligned(out + at, best);
    StoreAligned(code + at, reinterpret_cast<Vec>(position));
    return;
  }
  Vec mean = {};
  IntVec passes = {};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    Vec y = sum[i] + bias;
    if (p.activation == Activation::kRelu) {
      y = y < 0.0f ? Vec{} : y;
      passes |= (y > 0.0f) & (1 << i);
    } else if (p.activation == Activation::kTanh) {
      y = Tanh(y);
      StoreAligned(code + 4 * at + i * kLanes, 1.0f - y * y);
    } else {
      passes |= 1 << i;
    }
    mean += y;
  }
  StoreAligned(out + at, 0.25f * mean);
  if (!p.SavesSlopes()) StoreAligned(code + at, reinterpret_cast<Vec>(passes));
}

// All windows of one group of Filters filters. x: [c][y][x][lane]; Kernel 0: any size.
template <int Filters, int Kernel>
void ForwardTiles(const Problem& p, const float* x, const float* weight, const float* bias, float* out, float* code) {
  const int64_t kernel = Kernel != 0 ? Kernel : p.kernel;
  const int64_t row = p.width * kLanes, plane = p.height * row, windows = p.Windows();
  int64_t window = 0;
  for (int64_t py = 0; py < p.PooledHeight(); ++py) {
    for (int64_t px = 0; px < p.PooledWidth(); ++px, ++window) {
      Vec sum[Filters][4] = {};
      const float* w = weight;
      const float* corner = x + 2 * py * row + 2 * px * kLanes;
      for (int64_t c = 0; c < p.channels; ++c) {
        for (int64_t ky = 0; ky < kernel; ++ky) {
          const float* upper = corner + c * plane + ky * row;
          const float* lower = upper + row;
#pragma GCC unroll 8
          for (int64_t kx = 0; kx < kernel; ++kx) {
            const Vec x00 = LoadAligned(upper + kx * kLanes), x01 = LoadAligned(upper + (kx + 1) * kLanes);
            const Vec x10 = LoadAligned(lower + kx * kLanes), x11 = LoadAligned(lower + (kx + 1) * kLanes);
#pragma GCC unroll 8
            for (int f = 0; f < Filters; ++f) {
              const Vec wf = Broadcast(w[f]);
              sum[f][0] += wf * x00;
              sum[f][1] += wf * x01;
              sum[f][2] += wf * x10;
              sum[f][3] += wf * x11;
            }
            w += Filters;
          }
        }
      }
#pragma GCC unroll 8
      for (int f = 0; f < Filters; ++f) {
        Finish(p, sum[f], Broadcast(bias[f]), out, code, (f * windows + window) * kLanes);
      }
    }
  }
}

using ForwardTilesFunction = void (*)(const Problem&, const float*, const float*, const float*, float*, float*);

template <int Kernel, int... Filters>
ForwardTilesFunction ForwardTilesOf(int64_t filters, std::integer_sequence<int, Filters...>) {
  constexpr ForwardTilesFunction kFunctions[] = {ForwardTiles<Filters + 1, Kernel>...};
  return kFunctions[filters - 1];
}

ForwardTilesFunction ForwardTilesOf(int64_t filters, int64_t kernel) {
  using Sizes = std::make_integer_sequence<int, kMaxTileFilters>;
  switch (kernel) {
    case 3: return ForwardTilesOf<3>(filters, Sizes());
    case 5: return ForwardTilesOf<5>(filters, Sizes());
    default: return ForwardTilesOf<0>(filters, Sizes());
  }
}

// rows x kLanes integers below 256 -> bytes, row by row, of `count` images at to + image * stride.
inline void TransposeToBytes(const float* from, int64_t rows, int64_t count, uint8_t* to, int64_t stride) {
  typedef uint8_t Bytes __attribute__((vector_size(kLanes), aligned(1), may_alias));
  int64_t r = 0;
  for (; r + kLanes <= rows; r += kLanes) {
    Vec t[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) t[i] = LoadAligned(from + (r + i) * kLanes);
    TransposeTile(t);
    for (int64_t i = 0; i < count; ++i) {
      *reinterpret_cast<Bytes*>(to + i * stride + r) = __builtin_convertvector(reinterpret_cast<IntVec>(t[i]), Bytes);
    }
  }
  const int32_t* codes = reinterpret_cast<const int32_t*>(from);
  for (; r < rows; ++r) {
    for (int64_t i = 0; i < count; ++i) to[i * stride + r] = static_cast<uint8_t>(codes[r * kLanes + i]);
  }
}

void ForwardImages(const Problem& p, const float* x, const float* packed_weight, const float* bias, int64_t first,
                   int64_t count, float* out, uint8_t* saved, float* scratch_base) {
  const ForwardScratch scratch(p, scratch_base);
  const int64_t pixels = p.channels * p.height * p.width, windows = p.Windows();
  const int64_t taps = p.channels * p.kernel * p.kernel;
  if (count < kLanes) memset(scratch.x, 0, pixels * kLanes * sizeof(float));
  TransposeOverwriting(x + first * pixels, pixels, count, pixels, scratch.x, kLanes);
  const FilterGroups groups(p.filters);
  for (int64_t g = 0; g < groups.count; ++g) {
    const int64_t size = groups.Size(g), filter = groups.First(g);
    ForwardTilesOf(size, p.kernel)(p, scratch.x, packed_weight + filter * taps, bias + filter, scratch.out,
                                   scratch.code);
    const int64_t at = (first * p.filters + filter) * windows, stride = p.filters * windows;
    TransposeOverreading(scratch.out, kLanes, size * windows, count, out + at, stride);
    if (p.SavesSlopes()) {
      TransposeOverreading(scratch.code, kLanes, size * windows * 4, count, reinterpret_cast<float*>(saved) + 4 * at,
                           4 * stride);
    } else {
      TransposeToBytes(scratch.code, size * windows, count, saved + at, stride);
    }
  }
}

// ---- backward ---------------------------------------------------------------------------------------------------

// How an image is unfolded: for each row and each column where a patch can begin, `vectors` vectors that hold kernel x
// channels floats of that row (its `run`), and, where a run is so short that vectors would stay half empty (one channel),
// also those of the next rows_per_step - 1 rows. A patch is then `steps` pieces, rows_per_step rows apart.
// Weights and their gradients have the layout of a patch: [filter][step][vectors * kLanes].
struct Patches {
  int64_t run, rows_per_step, vectors, steps;
  int64_t piece, row, filter;  // strides, in floats: piece to piece, row to row, filter to filter
  int64_t rows, columns;
  explicit Patches(const Problem& p) {
    run = p.kernel * p.channels;
    rows_per_step = Min(p.kernel, Max(1, kLanes / run));
    steps = CeilDiv(p.kernel, rows_per_step);
    vectors = CeilDiv(run * rows_per_step, kLanes);
    piece = vectors * kLanes;
    columns = 2 * p.PooledWidth();
    rows = 2 * p.PooledHeight() + (steps - 1) * rows_per_step;
    row = columns * piece;
    filter = steps * piece;
  }
  // Where element (c, ky, kx) of a filter is.
  int64_t Index(const Problem& p, int64_t c, int64_t ky, int64_t kx) const {
    return ky / rows_per_step * piece + ky % rows_per_step * run + kx * p.channels + c;
  }
};

int64_t BackwardWeightFloats(const Problem& p) { return p.filters * Patches(p).filter; }

void PackBackwardWeight(const Problem& p, const float* weight, float* packed) {
  const Patches patches(p);
  memset(packed, 0, p.filters * patches.filter * sizeof(float));
  for (int64_t m = 0; m < p.filters; ++m) {
    for (int64_t c = 0; c < p.channels; ++c) {
      for (int64_t ky = 0; ky < p.kernel; ++ky) {
        for (int64_t kx = 0; kx < p.kernel; ++kx) {
          packed[m * patches.filter + patches.Index(p, c, ky, kx)] = *weight++;
        }
      }
    }
  }
}

void ReduceWeight(const Problem& p, float* const* partials, int64_t count, int64_t filter, float* grad_weight) {
  const Patches patches(p);
  float* sum = partials[0] + filter * patches.filter;
  for (int64_t i = 1; i < count; ++i) {
    const float* part = partials[i] + filter * patches.filter;
    for (int64_t j = 0; j < patches.filter; j += kLanes) {
      StoreAligned(sum + j, LoadAligned(sum + j) + LoadAligned(part + j));
    }
  }
  float* to = grad_weight + filter * p.channels * p.kernel * p.kernel;
  for (int64_t c = 0; c < p.channels; ++c) {
    for (int64_t ky = 0; ky < p.kernel; ++ky) {
      for (int64_t kx = 0; kx < p.kernel; ++kx) *to++ = sum[patches.Index(p, c, ky, kx)];
    }
  }
}

// Where a vector takes rows_per_step runs from as many source vectors: lane -> lane of (what is there, the new row).
inline IntVec RunLanes(const Patches& patches, int64_t j) {
  IntVec from;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    const bool taken = lane >= j * patches.run && lane < (j + 1) * patches.run;
    from[lane] = static_cast<int32_t>(taken ? kLanes + lane - j * patches.run : lane);
  }
  return from;
}

// image [C, H, W] -> hwc [H, W, C] -> unfolded. Lanes that belong to no run hold finite or not finite rubbish.
void Unfold(const Problem& p, const Patches& patches, const float* image, float* hwc, float* unfolded) {
  const int64_t pixels = p.height * p.width, width = p.width * p.channels;
  TransposeOverwriting(image, pixels, p.channels, pixels, hwc, p.channels);
  for (int64_t y = 0; y < patches.rows; ++y) {
    const float* from = hwc + y * width;
    float* to = unfolded + y * patches.row;
    if (patches.rows_per_step == 1) {
      for (int64_t x = 0; x < patches.columns; ++x, from += p.channels) {
        for (int64_t v = 0; v < patches.piece; v += kLanes, to += kLanes) StoreAligned(to, Load(from + v));
      }
      continue;
    }
    IntVec lanes[kLanes];
    for (int64_t j = 1; j < patches.rows_per_step; ++j) lanes[j] = RunLanes(patches, j);
    for (int64_t x = 0; x < patches.columns; ++x, from += p.channels, to += kLanes) {
      Vec v = Load(from);
      for (int64_t j = 1; j < patches.rows_per_step; ++j) v = __builtin_shuffle(v, Load(from + j * width), lanes[j]);
      StoreAligned(to, v);
    }
  }
}

// The adjoint of Unfold: unfolded -> hwc -> image.
void Fold(const Problem& p, const Patches& patches, const float* unfolded, float* hwc, float* image) {
  const int64_t pixels = p.height * p.width, width = p.width * p.channels;
  memset(hwc, 0, pixels * p.channels * sizeof(float));
  for (int64_t y = 0; y < patches.rows; ++y) {
    for (int64_t x = 0; x < patches.columns; ++x) {
      const float* from = unfolded + y * patches.row + x * patches.piece;
      float* to = hwc + y * width + x * p.channels;
      if (patches.rows_per_step == 1) {
        // The lanes beyond the run are multiples of the weights' padding: they add zero to the pixels that follow.
        for (int64_t v = 0; v < patches.piece; v += kLanes) Store(to + v, Load(to + v) + LoadAligned(from + v));
        continue;
      }
      for (int64_t j = 0; j < patches.rows_per_step && y + j < p.height; ++j) {
        for (int64_t i = 0; i < patches.run; ++i) to[j * width + i] += from[j * patches.run + i];
      }
    }
  }
  TransposeOverreading(hwc, p.channels, pixels, p.channels, image, pixels);
}

// The gradients before pooling and activation of one image. `layers` is 1 for the maximum, whose gradient reaches the
// one position named by code, and 4 for the mean: layer a is that of position a.
struct WindowGradients {
  int64_t layers;
  const float* value[4];  // [filter][window]; 0 where nothing passes
  const uint8_t* code;
};

WindowGradients ComputeWindowGradients(const Problem& p, const float* out, const uint8_t* saved, const float* grad_out,
                                       float* scratch) {
  const int64_t size = p.filters * p.Windows();
  WindowGradients gradients = {p.pooling == Pooling::kMax ? 1 : 4, {}, saved};
  for (int64_t a = 0; a < gradients.layers; ++a) gradients.value[a] = scratch + a * size;
  if (p.pooling == Pooling::kMax) {
    float* value = scratch;
    switch (p.activation) {
      case Activation::kNone: gradients.value[0] = grad_out; break;
      case Activation::kRelu: for (int64_t i = 0; i < size; ++i) value[i] = out[i] > 0 ? grad_out[i] : 0; break;
      case Activation::kTanh: for (int64_t i = 0; i < size; ++i) value[i] = grad_out[i] * (1 - out[i] * out[i]); break;
    }
    return gradients;
  }
  const float* slopes = reinterpret_cast<const float*>(saved);
  for (int64_t a = 0; a < 4; ++a) {
    float* value = scratch + a * size;
    if (p.SavesSlopes()) {
      for (int64_t i = 0; i < size; ++i) value[i] = 0.25f * grad_out[i] * slopes[4 * i + a];
    } else {
      for (int64_t i = 0; i < size; ++i) value[i] = (saved[i] >> a & 1) ? 0.25f * grad_out[i] : 0;
    }
  }
  return gradients;
}

inline float Sum(const float* values, int64_t count) {
  Vec sums = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) sums += Load(values + i);
  float sum = 0;
  for (; i < count; ++i) sum += values[i];
  for (int lane = 0; lane < kLanes; ++lane) sum += sums[lane];
  return sum;
}

// Positions that a gradient reaches, and the gradients there. Lists are written without branches: every candidate is
// stored, and the end moves on only behind those that count. Hence kLanes elements of slack.
struct List {
  int32_t* offset;  // in floats, of a patch in the unfolded image or of a filter in the packed weights
  float* value;
  int64_t count;
};

// Appends the windows whose value is not 0. codes: which position of the window, or null: position `code` of each.
inline void AppendWindows(const float* value, const uint8_t* codes, int code, const int32_t* window_offset,
                          const int32_t (&position_offset)[4], int64_t windows, List* list) {
#if defined(__AVX512F__)
  const __m512i positions =
      _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(position_offset)));
  for (int64_t i = 0; i < windows; i += kLanes) {
    const __mmask16 valid = windows - i < kLanes ? (1u << (windows - i)) - 1 : 0xFFFF;
    const __m512 v = _mm512_maskz_loadu_ps(valid, value + i);
    const __mmask16 active = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    const __m512i which = codes == nullptr ? _mm512_set1_epi32(code)
                                           : _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(valid, codes + i));
    const __m512i offset = _mm512_add_epi32(_mm512_maskz_loadu_epi32(valid, window_offset + i),
                                            _mm512_permutexvar_epi32(which, positions));
    // Compressed in a register, then stored whole: compressing stores are slow on Zen 4 and 5.
    _mm512_storeu_ps(list->value + list->count, _mm512_maskz_compress_ps(active, v));
    _mm512_storeu_si512(list->offset + list->count, _mm512_maskz_compress_epi32(active, offset));
    list->count += __builtin_popcount(active);
  }
#else
  for (int64_t i = 0; i < windows; ++i) {
    list->value[list->count] = value[i];
    list->offset[list->count] = window_offset[i] + position_offset[codes == nullptr ? code : codes[i]];
    list->count += value[i] != 0;
  }
#endif
}

// sum[s][v] += value * patch piece, over a list of patches: Steps x Vectors accumulators. Where these are few, several
// elements of the list are summed separately, lest each addition wait for the one before.
template <int Steps, int Vectors>
void AddPatches(const List& list, const float* unfolded, int64_t step_stride, float* sum, int64_t sum_stride) {
  constexpr int kWays = Steps * Vectors >= 6 ? 1 : Steps * Vectors >= 3 ? 2 : 4;
  Vec acc[kWays][Steps][Vectors] = {};
#pragma GCC unroll 8
  for (int s = 0; s < Steps; ++s) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) acc[0][s][v] = LoadAligned(sum + s * sum_stride + v * kLanes);
  }
  int64_t i = 0;
  for (; i + kWays <= list.count; i += kWays) {
#pragma GCC unroll 4
    for (int way = 0; way < kWays; ++way) {
      const Vec value = Broadcast(list.value[i + way]);
      const float* patch = unfolded + list.offset[i + way];
#pragma GCC unroll 8
      for (int s = 0; s < Steps; ++s) {
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) {
          acc[way][s][v] += value * LoadAligned(patch + s * step_stride + v * kLanes);
        }
      }
    }
  }
  for (; i < list.count; ++i) {
    const Vec value = Broadcast(list.value[i]);
    const float* patch = unfolded + list.offset[i];
#pragma GCC unroll 8
    for (int s = 0; s < Steps; ++s) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) acc[0][s][v] += value * LoadAligned(patch + s * step_stride + v * kLanes);
    }
  }
#pragma GCC unroll 8
  for (int s = 0; s < Steps; ++s) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      Vec total = acc[0][s][v];
#pragma GCC unroll 4
      for (int way = 1; way < kWays; ++way) total += acc[way][s][v];
      StoreAligned(sum + s * sum_stride + v * kLanes, total);
    }
  }
}

using AddPatchesFunction = void (*)(const List&, const float*, int64_t, float*, int64_t);
constexpr int kMaxVectors = 8;
constexpr int kMaxSteps = 5;

template <int Steps, int Vectors>
constexpr AddPatchesFunction AddPatchesIfItFits() {
  if constexpr (Steps * Vectors <= kMaxPatchVectors) {
    return AddPatches<Steps, Vectors>;
  } else {
    return nullptr;
  }
}

template <int... Index>
AddPatchesFunction AddPatchesOf(int64_t steps, int64_t vectors, std::integer_sequence<int, Index...>) {
  constexpr AddPatchesFunction kFunctions[] = {AddPatchesIfItFits<Index / kMaxVectors + 1, Index % kMaxVectors + 1>()...};
  return kFunctions[(steps - 1) * kMaxVectors + vectors - 1];
}

AddPatchesFunction AddPatchesOf(int64_t steps, int64_t vectors) {
  return AddPatchesOf(steps, vectors, std::make_integer_sequence<int, kMaxSteps * kMaxVectors>());
}

// A filter, or a patch, cut into blocks of steps x vectors that fit the registers, as even as possible.
struct Blocks {
  int64_t step_blocks, vector_blocks, steps, vectors;
  Blocks(const Patches& patches, int64_t max_accumulators) {
    vector_blocks = CeilDiv(patches.vectors, Min(kMaxVectors, max_accumulators));
    vectors = CeilDiv(patches.vectors, vector_blocks);
    vector_blocks = CeilDiv(patches.vectors, vectors);
    const int64_t most = Max(1, Min(kMaxSteps, max_accumulators / vectors));
    step_blocks = CeilDiv(patches.steps, most);
    steps = CeilDiv(patches.steps, step_blocks);
    step_blocks = CeilDiv(patches.steps, steps);
  }
};

struct BackwardScratch {
  float *hwc, *unfolded, *unfolded_grad, *values, *list_value;
  int32_t *window_offset, *list_offset, *list_begin;
  int64_t floats;
  BackwardScratch(const Problem& p, bool with_grad_x, float* base) {
    const Patches patches(p);
    const int64_t windows = p.Windows(), positions = 4 * windows;
    // The slack lets whole vectors be read and written at the last pixels, and one step reach below the last row.
    const int64_t slack = patches.piece + kLanes + patches.rows_per_step * p.width * p.channels;
    Arena arena{base};
    hwc = arena.Take(p.height * p.width * p.channels + slack);
    unfolded = arena.Take(patches.rows * patches.row);
    unfolded_grad = with_grad_x ? arena.Take(patches.rows * patches.row) : nullptr;
    values = arena.Take(p.pooling == Pooling::kMax ? p.filters * windows : 4 * p.filters * windows);
    window_offset = arena.TakeInts(windows);
    const int64_t lists = Max(p.filters * ((p.pooling == Pooling::kMax ? windows : positions) + kLanes),
                              with_grad_x ? positions * (p.filters + 1) : 0);
    list_value = arena.Take(lists);
    list_offset = arena.TakeInts(lists);
    list_begin = arena.TakeInts(Max(positions, p.filters) + 1);
    floats = arena.used;
  }
};

int64_t BackwardScratchFloats(const Problem& p, bool with_grad_x) {
  return BackwardScratch(p, with_grad_x, nullptr).floats;
}

// Gradient of the weights: for each filter the patches that its windows chose.
void AddWeightGradient(const Problem& p, const Patches& patches, const WindowGradients& gradients,
                       const BackwardScratch& scratch, const int32_t (&position_offset)[4], float* partial) {
  const int64_t windows = p.Windows(), capacity = (gradients.layers * windows + kLanes);
  int32_t* counts = scratch.list_begin;
  for (int64_t m = 0; m < p.filters; ++m) {
    List list = {scratch.list_offset + m * capacity, scratch.list_value + m * capacity, 0};
    for (int64_t a = 0; a < gradients.layers; ++a) {
      AppendWindows(gradients.value[a] + m * windows, gradients.layers == 1 ? gradients.code + m * windows : nullptr,
                    static_cast<int>(a), scratch.window_offset, position_offset, windows, &list);
    }
    counts[m] = static_cast<int32_t>(list.count);
  }
  const Blocks blocks(patches, kMaxPatchVectors);
  const int64_t step_stride = patches.rows_per_step * patches.row;
  for (int64_t s = 0; s < patches.steps; s += blocks.steps) {
    for (int64_t v = 0; v < patches.vectors; v += blocks.vectors) {
      const AddPatchesFunction add =
          AddPatchesOf(Min(blocks.steps, patches.steps - s), Min(blocks.vectors, patches.vectors - v));
      for (int64_t m = 0; m < p.filters; ++m) {
        const List list = {scratch.list_offset + m * capacity, scratch.list_value + m * capacity, counts[m]};
        add(list, scratch.unfolded + s * step_stride + v * kLanes, step_stride,
            partial + m * patches.filter + s * patches.piece + v * kLanes, patches.piece);
      }
    }
  }
}

// Gradient of one image: for each position the filters that chose it.
void AddImageGradient(const Problem& p, const Patches& patches, const WindowGradients& gradients,
                      const BackwardScratch& scratch, const int32_t (&position_offset)[4], const float* packed_weight) {
  const int64_t windows = p.Windows(), capacity = p.filters + 1;
  int32_t* counts = scratch.list_begin;
  memset(counts, 0, 4 * windows * sizeof(int32_t));
  for (int64_t a = 0; a < gradients.layers; ++a) {
    for (int64_t m = 0; m < p.filters; ++m) {
      const float* value = gradients.value[a] + m * windows;
      const uint8_t* code = gradients.code + m * windows;
      const int32_t offset = static_cast<int32_t>(m * patches.filter);
      for (int64_t i = 0; i < windows; ++i) {
        const int64_t position = 4 * i + (gradients.layers == 1 ? code[i] : a);
        const int64_t at = position * capacity + counts[position];
        scratch.list_value[at] = value[i];
        scratch.list_offset[at] = offset;
        counts[position] += value[i] != 0;
      }
    }
  }
  memset(scratch.unfolded_grad, 0, patches.rows * patches.row * sizeof(float));
  const Blocks blocks(patches, kMaxPatchVectors);
  const int64_t step_stride = patches.rows_per_step * patches.row;
  for (int64_t s = 0; s < patches.steps; s += blocks.steps) {
    for (int64_t v = 0; v < patches.vectors; v += blocks.vectors) {
      const AddPatchesFunction add =
          AddPatchesOf(Min(blocks.steps, patches.steps - s), Min(blocks.vectors, patches.vectors - v));
      for (int64_t i = 0; i < windows; ++i) {
        for (int64_t a = 0; a < 4; ++a) {
          const int64_t position = 4 * i + a;
          const List list = {scratch.list_offset + position * capacity, scratch.list_value + position * capacity,
                             counts[position]};
          add(list, packed_weight + s * patches.piece + v * kLanes, patches.piece,
              scratch.unfolded_grad + scratch.window_offset[i] + position_offset[a] + s * step_stride + v * kLanes,
              step_stride);
        }
      }
    }
  }
}

void BackwardImages(const Problem& p, const float* x, const float* packed_weight, const float* out,
                    const uint8_t* saved, const float* grad_out, int64_t first, int64_t count, float* grad_x,
                    float* partial_weight, float* partial_bias, float* scratch_base) {
  const Patches patches(p);
  const BackwardScratch scratch(p, grad_x != nullptr, scratch_base);
  const int64_t pixels = p.channels * p.height * p.width, windows = p.Windows();
  const int32_t position_offset[4] = {0, static_cast<int32_t>(patches.piece), static_cast<int32_t>(patches.row),
                                      static_cast<int32_t>(patches.row + patches.piece)};
  for (int64_t i = 0; i < windows; ++i) {
    scratch.window_offset[i] =
        static_cast<int32_t>(2 * (i / p.PooledWidth()) * patches.row + 2 * (i % p.PooledWidth()) * patches.piece);
  }
  memset(scratch.hwc, 0, (scratch.unfolded - scratch.hwc) * sizeof(float));
  memset(partial_weight, 0, p.filters * patches.filter * sizeof(float));
  memset(partial_bias, 0, p.filters * sizeof(float));
  for (int64_t n = first; n < first + count; ++n) {
    const int64_t at = n * p.filters * windows;
    const WindowGradients gradients =
        ComputeWindowGradients(p, out + at, saved + at * p.SavedBytesPerWindow(), grad_out + at, scratch.values);
    for (int64_t a = 0; a < gradients.layers; ++a) {
      for (int64_t m = 0; m < p.filters; ++m) partial_bias[m] += Sum(gradients.value[a] + m * windows, windows);
    }
    Unfold(p, patches, x + n * pixels, scratch.hwc, scratch.unfolded);
    AddWeightGradient(p, patches, gradients, scratch, position_offset, partial_weight);
    if (grad_x != nullptr) {
      AddImageGradient(p, patches, gradients, scratch, position_offset, packed_weight);
      Fold(p, patches, scratch.unfolded_grad, scratch.hwc, grad_x + n * pixels);
    }
  }
}

}  // namespace

extern const Kernels CONV_POOL_KERNELS = {
    kIsa,           kLanes,
    ForwardWeightFloats,  PackForwardWeight,  ForwardScratchFloats,  ForwardImages,
    BackwardWeightFloats, PackBackwardWeight, BackwardScratchFloats, BackwardImages, ReduceWeight,
};

}  // namespace conv_pool
