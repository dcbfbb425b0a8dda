// Matrix products of the sizes of a LeNet's dense layers: a hundred rows, and columns by the ten.
#pragma once

#include <cstdint>

namespace step {

// c [rows, columns] = bias [columns] + a b, where bias may be null, and
// a(i, p) = a[i * a_row + p * a_inner], so that a may be read as its transpose;
// b [inner, columns] has each row filled up to a multiple of `lanes` floats, with anything.
struct Product {
  int64_t rows, inner, columns;
  const float* a;
  int64_t a_row, a_inner;
  const float* b;
  const float* bias;
  float* c;
};

// What an instruction set provides: matrix.cc is compiled once for each.
struct MatrixKernels {
  int lanes;
  // Rows [first, past) of c.
  void (*multiply)(const Product&, int64_t first, int64_t past);
};

extern const MatrixKernels kGenericMatrix;
#if defined(__x86_64__)
extern const MatrixKernels kAvx2Matrix;
extern const MatrixKernels kAvx512Matrix;
#endif

}  // namespace step
