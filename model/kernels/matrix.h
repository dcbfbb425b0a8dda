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

// matrix.cc is compiled once per instruction set.
struct MatrixKernels {
  int lanes;
  // Rows [first, past) of c.
  void (*multiply)(const Product&, int64_t first, int64_t past);
};

}  // namespace step
