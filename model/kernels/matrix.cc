// The arithmetic of matrix.h, compiled once per instruction set (see model/kernels/build.py, and kernels.cc there,
// whose rules hold here too: no standard library code with external linkage).
//
// A tile of rows x vectors of columns is summed in registers. Few columns, as the ten digits, get many rows.

#include "matrix.h"

namespace step {
namespace {

#if defined(__AVX512F__)
#define STEP_MATRIX kAvx512Matrix
constexpr int kLanes = 16;
constexpr int kSums = 24;  // of 32 registers
#elif defined(__AVX2__)
#define STEP_MATRIX kAvx2Matrix
constexpr int kLanes = 8;
constexpr int kSums = 12;  // of 16 registers
#else
#define STEP_MATRIX kGenericMatrix
constexpr int kLanes = 4;
constexpr int kSums = 12;
#endif
constexpr int kMaxVectors = 4;

#define UNROLLED _Pragma("GCC unroll 24")

typedef float Vec __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

inline int64_t Min(int64_t a, int64_t b) { return a < b ? a : b; }

template <int Rows, int Vectors>
void MultiplyTile(const Product& product, int64_t stride, int64_t row, int64_t column, int64_t past) {
  const float* a[Rows];  // beyond the last row, the last row again, whose sums are thrown away
  UNROLLED for (int i = 0; i < Rows; ++i) a[i] = product.a + Min(row + i, past - 1) * product.a_row;
  const float* b = product.b + column;
  Vec sum[Rows][Vectors] = {};
  for (int64_t p = 0; p < product.inner; ++p, b += stride) {
    Vec of_b[Vectors];
    UNROLLED for (int v = 0; v < Vectors; ++v) of_b[v] = *reinterpret_cast<const Vec*>(b + v * kLanes);
    UNROLLED for (int i = 0; i < Rows; ++i) {
      const float of_a = a[i][p * product.a_inner];
      UNROLLED for (int v = 0; v < Vectors; ++v) sum[i][v] += of_a * of_b[v];
    }
  }
  const int64_t valid = product.columns - column;
  for (int64_t i = 0; i < Min(Rows, past - row); ++i) {
    float* c = product.c + (row + i) * product.columns + column;
    UNROLLED for (int v = 0; v < Vectors; ++v) {
      if ((v + 1) * kLanes <= valid) {
        *reinterpret_cast<Vec*>(c + v * kLanes) =
            product.bias ? sum[i][v] + *reinterpret_cast<const Vec*>(product.bias + column + v * kLanes) : sum[i][v];
      } else {
        for (int64_t j = v * kLanes; j < valid; ++j) {
          c[j] = sum[i][v][j - v * kLanes] + (product.bias ? product.bias[column + j] : 0);
        }
      }
    }
  }
}

template <int Vectors>
void MultiplyColumns(const Product& product, int64_t stride, int64_t column, int64_t first, int64_t past) {
  constexpr int kRows = kSums / Vectors < 16 ? kSums / Vectors : 16;
  for (int64_t row = first; row < past; row += kRows) {
    MultiplyTile<kRows, Vectors>(product, stride, row, column, past);
  }
}

void Multiply(const Product& product, int64_t first, int64_t past) {
  const int64_t vectors = (product.columns + kLanes - 1) / kLanes;
  for (int64_t v = 0; v < vectors; v += kMaxVectors) {
    switch (Min(kMaxVectors, vectors - v)) {
      case 1: MultiplyColumns<1>(product, vectors * kLanes, v * kLanes, first, past); break;
      case 2: MultiplyColumns<2>(product, vectors * kLanes, v * kLanes, first, past); break;
      case 3: MultiplyColumns<3>(product, vectors * kLanes, v * kLanes, first, past); break;
      default: MultiplyColumns<4>(product, vectors * kLanes, v * kLanes, first, past); break;
    }
  }
}

}  // namespace

extern const MatrixKernels STEP_MATRIX = {kLanes, Multiply};

}  // namespace step
