// The arithmetic of matrix.h, written once over vectors (see simd.h).
//
// A tile of rows x vectors of columns is summed in registers. Few columns, as the ten digits, get many rows.

#include "isa.h"
#include "simd.h"

namespace step {
namespace {

constexpr int kMaxVectors = 4;

template <int Rows, int Vectors>
void MultiplyTile(const Product& product, int64_t stride, int64_t row, int64_t column, int64_t past) {
  const float* a[Rows];  // beyond the last row, the last row again, whose sums are thrown away
  UNROLLED for (int i = 0; i < Rows; ++i) a[i] = product.a + Min(row + i, past - 1) * product.a_row;
  const float* b = product.b + column;
  // Unaligned, for some are on the stack, and one that must be aligned costs 3 to 6 % (AMD EPYC, AVX2, GCC 12).
  UnalignedVec sum[Rows][Vectors] = {};
  for (int64_t p = 0; p < product.inner; ++p, b += stride) {
    UnalignedVec of_b[Vectors];
    UNROLLED for (int v = 0; v < Vectors; ++v) of_b[v] = Load(b + v * kLanes);
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
        Store(c + v * kLanes, product.bias ? sum[i][v] + Load(product.bias + column + v * kLanes) : sum[i][v]);
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
  constexpr int kRows = Min(kMaxSums / Vectors, 16);
  for (int64_t row = first; row < past; row += kRows) {
    MultiplyTile<kRows, Vectors>(product, stride, row, column, past);
  }
}

void Multiply(const Product& product, int64_t first, int64_t past) {
  const int64_t vectors = CeilDiv(product.columns, kLanes);
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
}  // namespace step

namespace isa::CONV_POOL_ISA {
using namespace step;
const MatrixKernels kMatrix = {kLanes, Multiply};
}  // namespace isa::CONV_POOL_ISA
