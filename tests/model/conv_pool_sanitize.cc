// The fused operator without Paddle, against its definition written down plainly in double precision, over many shapes.
// Built with -fsanitize=address,undefined by tests/model/test_conv_pool.py; ends with status 0 and one line.

#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "conv_pool.h"

namespace {

using conv_pool::Activation;
using conv_pool::Pooling;
using conv_pool::Problem;

struct Results {
  std::vector<double> out, grad_x, grad_weight, grad_bias;
};

double Activate(Activation activation, double v) {
  return activation == Activation::kRelu ? (v > 0 ? v : 0) : activation == Activation::kTanh ? std::tanh(v) : v;
}

double Slope(Activation activation, double y) {
  return activation == Activation::kRelu ? y > 0 : activation == Activation::kTanh ? 1 - y * y : 1;
}

Results Definition(const Problem& p, const std::vector<float>& x, const std::vector<float>& weight,
                   const std::vector<float>& bias, const std::vector<float>& grad_out) {
  Results r;
  r.grad_x.assign(x.size(), 0);
  r.grad_weight.assign(weight.size(), 0);
  r.grad_bias.assign(bias.size(), 0);
  const auto x_at = [&](int64_t n, int64_t c, int64_t y, int64_t i) {
    return ((n * p.channels + c) * p.height + y) * p.width + i;
  };
  const auto weight_at = [&](int64_t m, int64_t c, int64_t ky, int64_t kx) {
    return ((m * p.channels + c) * p.kernel + ky) * p.kernel + kx;
  };
  int64_t index = 0;
  for (int64_t n = 0; n < p.images; ++n) {
    for (int64_t m = 0; m < p.filters; ++m) {
      for (int64_t py = 0; py < p.PooledHeight(); ++py) {
        for (int64_t px = 0; px < p.PooledWidth(); ++px, ++index) {
          double y[4];
          for (int64_t a = 0; a < 4; ++a) {
            double sum = 0;
            for (int64_t c = 0; c < p.channels; ++c) {
              for (int64_t ky = 0; ky < p.kernel; ++ky) {
                for (int64_t kx = 0; kx < p.kernel; ++kx) {
                  sum += double{x[x_at(n, c, 2 * py + a / 2 + ky, 2 * px + a % 2 + kx)]} *
                         weight[weight_at(m, c, ky, kx)];
                }
              }
            }
            y[a] = p.pooling == Pooling::kMax ? sum + bias[m] : Activate(p.activation, sum + bias[m]);
          }
          int64_t best = 0;
          for (int64_t a = 1; a < 4; ++a) best = y[a] > y[best] ? a : best;
          if (p.pooling == Pooling::kMax) {
            r.out.push_back(Activate(p.activation, y[best]));
          } else {
            r.out.push_back((y[0] + y[1] + y[2] + y[3]) / 4);
          }
          for (int64_t a = 0; a < 4; ++a) {
            double grad = grad_out[index];
            if (p.pooling == Pooling::kMax) {
              grad *= a == best ? Slope(p.activation, r.out.back()) : 0;
            } else {
              grad *= Slope(p.activation, y[a]) / 4;
            }
            r.grad_bias[m] += grad;
            for (int64_t c = 0; c < p.channels; ++c) {
              for (int64_t ky = 0; ky < p.kernel; ++ky) {
                for (int64_t kx = 0; kx < p.kernel; ++kx) {
                  const int64_t at = x_at(n, c, 2 * py + a / 2 + ky, 2 * px + a % 2 + kx);
                  r.grad_weight[weight_at(m, c, ky, kx)] += grad * x[at];
                  r.grad_x[at] += grad * weight[weight_at(m, c, ky, kx)];
                }
              }
            }
          }
        }
      }
    }
  }
  return r;
}

bool Close(const char* what, const Problem& p, const std::vector<float>& got, const std::vector<double>& expected) {
  double largest = 0, difference = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    largest = std::fmax(largest, std::fabs(expected[i]));
    difference = std::fmax(difference, std::fabs(got[i] - expected[i]));
    if (std::isnan(got[i])) difference = INFINITY;
  }
  if (difference <= 1e-5 * largest + 1e-30) return true;
  std::printf("%s: differs by %g of %g: %ld images, %ld channels, %ldx%ld, %ld filters, kernel %ld, activation %d, "
              "pooling %d\n", what, difference, largest, long(p.images), long(p.channels), long(p.height),
              long(p.width), long(p.filters), long(p.kernel), int(p.activation), int(p.pooling));
  return false;
}

bool Check(const Problem& p, std::mt19937* random) {
  // Multiples of 1/8 make the sums exact, so that ties are ties in every order of summation, and there are many.
  std::uniform_int_distribution<int> eighths(-8, 8);
  const auto draw = [&](int64_t size) {
    std::vector<float> values(size);
    for (float& v : values) v = static_cast<float>(eighths(*random)) / 8;
    return values;
  };
  const std::vector<float> x = draw(p.images * p.channels * p.height * p.width);
  const std::vector<float> weight = draw(p.filters * p.channels * p.kernel * p.kernel);
  const std::vector<float> bias = draw(p.filters);
  const std::vector<float> grad_out = draw(p.images * p.filters * p.Windows());
  std::vector<float> out(grad_out.size(), NAN), grad_x(x.size(), NAN), grad_weight(weight.size(), NAN),
      grad_bias(bias.size(), NAN), grad_weight_alone(weight.size(), NAN);
  // As floats: that is how Paddle aligns it, and four slopes are floats.
  std::vector<float> saved((out.size() * p.SavedBytesPerWindow() + 3) / 4);
  uint8_t* saved_bytes = reinterpret_cast<uint8_t*>(saved.data());
  conv_pool::Forward(p, x.data(), weight.data(), bias.data(), out.data(), saved_bytes);
  conv_pool::Backward(p, x.data(), weight.data(), out.data(), saved_bytes, grad_out.data(), grad_x.data(),
                      grad_weight.data(), grad_bias.data());
  conv_pool::Backward(p, x.data(), weight.data(), out.data(), saved_bytes, grad_out.data(), nullptr,
                      grad_weight_alone.data(), grad_bias.data());
  const Results expected = Definition(p, x, weight, bias, grad_out);
  return Close("out", p, out, expected.out) && Close("grad_x", p, grad_x, expected.grad_x) &&
         Close("grad_weight", p, grad_weight, expected.grad_weight) &&
         Close("grad_weight without grad_x", p, grad_weight_alone, expected.grad_weight) &&
         Close("grad_bias", p, grad_bias, expected.grad_bias);
}

}  // namespace

int main() {
  std::mt19937 random(1);
  const auto between = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  std::vector<Problem> problems;
  const Activation activations[] = {Activation::kNone, Activation::kRelu, Activation::kTanh};
  for (Activation activation : activations) {
    for (Pooling pooling : {Pooling::kMax, Pooling::kMean}) {
      problems.push_back({17, 1, 28, 28, 3, 5, activation, pooling});
      problems.push_back({17, 20, 10, 10, 7, 5, activation, pooling});
      problems.push_back({2, 33, 6, 7, 5, 3, activation, pooling});
      for (int i = 0; i < 10; ++i) {
        const int64_t kernel = between(1, 7);
        problems.push_back({between(1, 40), between(1, 24), kernel + between(1, 9), kernel + between(1, 9),
                            between(1, 24), kernel, activation, pooling});
      }
    }
  }
  problems.push_back({600, 2, 4, 4, 3, 3, Activation::kRelu, Pooling::kMax});  // more blocks than partial sums
  problems.push_back({0, 2, 6, 6, 3, 3, Activation::kRelu, Pooling::kMax});
  for (size_t i = 0; i < problems.size(); ++i) {
    conv_pool_set_threads(1 + static_cast<int>(i % 3));
    if (!Check(problems[i], &random)) return 1;
  }
  std::printf("%zu problems agree with the definition on %s\n", problems.size(), conv_pool_isa());
  return 0;
}
