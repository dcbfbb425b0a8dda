// Convolution, activation and pooling of images, written once over vectors (see simd.h).
//
// One image is in each vector lane, so that any number of filters and any image size fill the vectors. A tile of
// filters x one pooling window is accumulated in registers; maximum, bias and activation are applied before anything is
// stored, and the convolution's output never exists in memory.

#include "isa.h"
#include "simd.h"
#include "tanh.h"

namespace conv_pool {
namespace {

constexpr int kMaxTileFilters = kMaxSums / 4;  // a window has 4 positions

__attribute__((noinline)) Vec Tanh(Vec x) { return TanhOf<Vec, IntVec>(x); }

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
    UNROLLED for (int i = 1; i < 4; ++i) {
      // A NaN anywhere in the window wins, so that a diverged training shows.
      const IntVec better = (sum[i] > best) | (sum[i] != sum[i]);
      best = better ? sum[i] : best;
      position = better ? Broadcast(i) : position;
    }
    best += bias;
    if (p.activation == Activation::kRelu) {
      position = best > 0.0f ? position : Broadcast(4);
      best = best < 0.0f ? Vec{} : best;
    }
    if (p.activation == Activation::kTanh) best = Tanh(best);
    StoreAligned(out + at, best);
    StoreAligned(code + at, reinterpret_cast<Vec>(position));
    return;
  }
  Vec mean = {};
  IntVec passes = {};
  UNROLLED for (int i = 0; i < 4; ++i) {
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
          UNROLLED for (int64_t kx = 0; kx < kernel; ++kx) {
            const Vec x00 = LoadAligned(upper + kx * kLanes), x01 = LoadAligned(upper + (kx + 1) * kLanes);
            const Vec x10 = LoadAligned(lower + kx * kLanes), x11 = LoadAligned(lower + (kx + 1) * kLanes);
            UNROLLED for (int f = 0; f < Filters; ++f) {
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
      UNROLLED for (int f = 0; f < Filters; ++f) {
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
    UNROLLED for (int i = 0; i < kLanes; ++i) t[i] = LoadAligned(from + (r + i) * kLanes);
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
  if (count < kLanes) memset(scratch.x, 0, pixels * kLanes * sizeof(float));  // lanes without an image
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

}  // namespace
}  // namespace conv_pool

namespace isa::CONV_POOL_ISA {
using namespace conv_pool;
const ForwardKernels kForward = {kLanes, ForwardWeightFloats, PackForwardWeight, ForwardScratchFloats, ForwardImages};
}  // namespace isa::CONV_POOL_ISA
