// tanh of vectors, for sources that are compiled for several instruction sets.
#pragma once

#include <stdint.h>

namespace {  // not an inline function of the whole library: the linker would keep that of one instruction set

// Within 2 units in the last place. Polynomials: S. L. Moshier, Cephes library, tanhf.c and expf.c.
template <typename Vec, typename IntVec>
inline __attribute__((always_inline)) Vec TanhOf(Vec x) {
  const Vec magnitude = x < 0.0f ? -x : x;
  const Vec z = x * x;
  const Vec near_zero =
      ((((-5.70498872745e-3f * z + 2.06390887954e-2f) * z - 5.37397155531e-2f) * z + 1.33314422036e-1f) * z -
       3.33332819422e-1f) * z * x + x;
  // tanh(10) rounds to 1. A NaN stays one: it is not greater than 10.
  const Vec t = 2.0f * (magnitude > 10.0f ? 10.0f - Vec{} : magnitude);
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

}  // namespace
