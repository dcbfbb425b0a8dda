// The loops of loops.h, compiled once per instruction set (see simd.h, whose rule holds here).

#include "isa.h"
#include "simd.h"
#include "tanh.h"

namespace step {
namespace {

// Longer than the vectors of most instruction sets: the compiler splits them, and sums have one order on all.
typedef float Vec __attribute__((vector_size(4 * kSumLanes), aligned(4), may_alias));
typedef int32_t IntVec __attribute__((vector_size(4 * kSumLanes)));
typedef float FullVec __attribute__((vector_size(4 * kSumLanes)));

inline const Vec& At(const float* p) { return *reinterpret_cast<const Vec*>(p); }
inline Vec& At(float* p) { return *reinterpret_cast<Vec*>(p); }

// Batch normalisation goes image by image, as the memory lies: channel by channel, it took three times as long.

void SumAboutShift(const BatchNorm& norm, int64_t first, int64_t past, const float* x,
                   const float* shift, float* sums) {
  const int64_t area = norm.area, whole = area / kSumLanes * kSumLanes;
  for (int64_t i = first * norm.channels; i < past * norm.channels; ++i) {
    const int64_t c = i % norm.channels;
    const float* plane = x + i * area;
    float* to = sums + 2 * kSumLanes * c;
    Vec sum = At(to), squares = At(to + kSumLanes);
    for (int64_t j = 0; j < whole; j += kSumLanes) {
      const Vec d = At(plane + j) - shift[c];
      sum += d;
      squares += d * d;
    }
    for (int64_t j = whole; j < area; ++j) {
      const float d = plane[j] - shift[c];
      sum[j - whole] += d;
      squares[j - whole] += d * d;
    }
    At(to) = sum;
    At(to + kSumLanes) = squares;
  }
}

void SumGradients(const BatchNorm& norm, int64_t first, int64_t past, const float* x,
                  const float* mean, const float* grad_y, float* sums) {
  const int64_t area = norm.area, whole = area / kSumLanes * kSumLanes;
  for (int64_t i = first * norm.channels; i < past * norm.channels; ++i) {
    const int64_t c = i % norm.channels;
    const float *plane = x + i * area, *grad = grad_y + i * area;
    float* to = sums + 2 * kSumLanes * c;
    Vec sum = At(to), products = At(to + kSumLanes);
    for (int64_t j = 0; j < whole; j += kSumLanes) {
      sum += At(grad + j);
      products += At(grad + j) * (At(plane + j) - mean[c]);
    }
    for (int64_t j = whole; j < area; ++j) {
      sum[j - whole] += grad[j];
      products[j - whole] += grad[j] * (plane[j] - mean[c]);
    }
    At(to) = sum;
    At(to + kSumLanes) = products;
  }
}

void Combine(const BatchNorm& norm, int64_t first, int64_t past, const float* a, const float* of_a,
             const float* b, const float* of_b, const float* offset, float* to) {
  const int64_t area = norm.area, whole = area / kSumLanes * kSumLanes;
  for (int64_t i = first * norm.channels; i < past * norm.channels; ++i) {
    const int64_t c = i % norm.channels, at = i * area;
    const float factor_a = of_a[c], factor_b = b != nullptr ? of_b[c] : 0, more = offset[c];
    if (b == nullptr) {
      for (int64_t j = at; j < at + whole; j += kSumLanes) At(to + j) = At(a + j) * factor_a + more;
      for (int64_t j = at + whole; j < at + area; ++j) to[j] = a[j] * factor_a + more;
    } else {
      for (int64_t j = at; j < at + whole; j += kSumLanes) {
        At(to + j) = At(a + j) * factor_a + (At(b + j) * factor_b + more);
      }
      for (int64_t j = at + whole; j < at + area; ++j) to[j] = a[j] * factor_a + (b[j] * factor_b + more);
    }
  }
}

// The last vector of a plane may reach beyond it, and is then copied.
inline Vec LoadUpTo(const float* from, int64_t count) {
  if (count >= kSumLanes) return At(from);
  float all[kSumLanes] = {};
  for (int64_t i = 0; i < count; ++i) all[i] = from[i];
  return At(all);
}

inline void StoreUpTo(float* to, int64_t count, Vec v) {
  if (count >= kSumLanes) {
    At(to) = v;
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = v[i];
  }
}

void SquashImages(const Squash& squash, int64_t first, int64_t past, const float* x,
                  const float* coefficient, const float* bias, float* y) {
  for (int64_t i = first * squash.channels; i < past * squash.channels; ++i) {
    const int64_t c = i % squash.channels;
    const float factor = squash.slope * coefficient[c], more = squash.slope * bias[c];
    for (int64_t j = 0; j < squash.area; j += kSumLanes) {
      const int64_t at = i * squash.area + j;
      const FullVec t = TanhOf<FullVec, IntVec>(LoadUpTo(x + at, squash.area - j) * factor + more);
      StoreUpTo(y + at, squash.area - j, t * squash.amplitude + squash.offset);
    }
  }
}

void SquashGradients(const Squash& squash, int64_t first, int64_t past, const float* x,
                     const float* coefficient, const float* y, const float* grad_y, float* grad_x,
                     float* sums) {
  const float steepness = squash.slope * squash.amplitude, per_amplitude = 1 / squash.amplitude;
  for (int64_t i = first * squash.channels; i < past * squash.channels; ++i) {
    const int64_t c = i % squash.channels;
    float* to = sums + 2 * kSumLanes * c;
    Vec sum = At(to), products = At(to + kSumLanes);
    for (int64_t j = 0; j < squash.area; j += kSumLanes) {
      const int64_t at = i * squash.area + j, count = squash.area - j;
      const Vec t = (LoadUpTo(y + at, count) - squash.offset) * per_amplitude;
      const Vec grad = LoadUpTo(grad_y + at, count) * (steepness * (1 - t * t));  // 0 beyond the plane, as grad_y
      StoreUpTo(grad_x + at, count, grad * coefficient[c]);
      sum += grad;
      products += grad * LoadUpTo(x + at, count);
    }
    At(to) = sum;
    At(to + kSumLanes) = products;
  }
}

void Update(const Adam& adam, const Parameter& p, float rate, float epsilon, float shrink,
            int64_t begin, int64_t end) {
  // The compiler makes vectors of this loop: nothing here depends on another element.
  float *__restrict value = p.value, *__restrict moment1 = p.moment1, *__restrict moment2 = p.moment2;
  const float* __restrict gradient = p.gradient;
  for (int64_t i = begin; i < end; ++i) {
    const float g = gradient[i];
    const float m = adam.beta1 * moment1[i] + (1 - adam.beta1) * g;
    const float v = adam.beta2 * moment2[i] + (1 - adam.beta2) * g * g;
    moment1[i] = m;
    moment2[i] = v;
    value[i] = value[i] * shrink - rate * (m / (__builtin_sqrtf(v) + epsilon));
  }
}

void Average(float rate, int64_t begin, int64_t end, const float* __restrict value,
             float* __restrict average) {
  for (int64_t i = begin; i < end; ++i) average[i] += rate * (value[i] - average[i]);
}

}  // namespace
}  // namespace step

namespace isa::CONV_POOL_ISA {
using namespace step;
const Loops kLoops = {SumAboutShift, SumGradients, Combine, SquashImages, SquashGradients, Update, Average};
}  // namespace isa::CONV_POOL_ISA
