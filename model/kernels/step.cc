#include "step.h"

#include <cmath>
#include <cstring>

#include "integers.h"
#include "isa.h"
#include "thread_pool.h"

namespace step {
namespace {

using conv_pool::Turn;

constexpr int64_t kImagesPerUnit = 16;  // that one thread works on at a time; sums of more are made in double
constexpr int64_t kUnit = 4096;         // elements of a parameter that one thread updates at a time

// body(i, begin, end) for pieces of `count` arrays, all at once: a single array would not be worth the threads' wake.
template <typename Size, typename Body>
void ForPieces(int64_t count, const Size& size, const Body& body) {
  int64_t units = 0;
  for (int64_t i = 0; i < count; ++i) units += CeilDiv(size(i), kUnit);
  Turn()->For(units, [&](int64_t unit, int) {
    int64_t i = 0;
    for (; unit >= CeilDiv(size(i), kUnit); ++i) unit -= CeilDiv(size(i), kUnit);
    body(i, unit * kUnit, Min((unit + 1) * kUnit, size(i)));
  });
}

// Memory for sums over images and area, of two quantities for each channel, and for three more numbers for each.
class ChannelSums {
 public:
  ChannelSums(Turn& turn, int64_t images, int64_t channels)
      : turn_(turn), images_(images), channels_(channels), units_(CeilDiv(images, kImagesPerUnit)),
        of_unit_(2 * kSumLanes * channels), sums_(turn->Scratch(units_ * of_unit_ + 3 * channels)) {
    std::memset(sums_, 0, units_ * of_unit_ * sizeof(float));
  }
  float* ForChannels(int64_t number) { return sums_ + units_ * of_unit_ + number * channels_; }
  // body(first image, past the last, sums of these)
  template <typename Body>
  void ForUnits(const Body& body) {
    turn_->For(units_, [&](int64_t unit, int) {
      body(unit * kImagesPerUnit, Min(images_, (unit + 1) * kImagesPerUnit), sums_ + unit * of_unit_);
    });
  }
  double Total(int64_t channel, int64_t quantity) const {
    double total = 0;
    for (int64_t unit = 0; unit < units_; ++unit) {
      const float* lanes = sums_ + unit * of_unit_ + (2 * channel + quantity) * kSumLanes;
      for (int lane = 0; lane < kSumLanes; ++lane) total += lanes[lane];
    }
    return total;
  }

 private:
  Turn& turn_;
  int64_t images_, channels_, units_, of_unit_;
  float* sums_;
};

constexpr int64_t kRowsPerUnit = 48;  // a multiple of every tile's rows

// c [rows, columns] = bias + a b, all threads at work. b [inner, columns] is read as it is, or as its transpose
// [columns, inner].
void Multiply(Turn& turn, Product product, bool b_is_transposed) {
  const MatrixKernels& matrix = isa::Chosen().matrix;
  const int64_t columns = product.columns, inner = product.inner;
  const int64_t stride = RoundUp(columns, matrix.lanes);
  if (b_is_transposed || stride != columns) {
    const float* b = product.b;
    float* filled = turn->Scratch(inner * stride);
    turn->For(CeilDiv(inner, kRowsPerUnit), [&](int64_t unit, int) {
      const int64_t past = Min(inner, (unit + 1) * kRowsPerUnit);
      for (int64_t p = unit * kRowsPerUnit; p < past; ++p) {
        float* row = filled + p * stride;
        if (b_is_transposed) {
          for (int64_t j = 0; j < columns; ++j) row[j] = b[j * inner + p];
        } else {
          std::memcpy(row, b + p * columns, columns * sizeof(float));
        }
        for (int64_t j = columns; j < stride; ++j) row[j] = 0;
      }
    });
    product.b = filled;
  }
  turn->For(CeilDiv(product.rows, kRowsPerUnit), [&](int64_t unit, int) {
    matrix.multiply(product, unit * kRowsPerUnit, Min(product.rows, (unit + 1) * kRowsPerUnit));
  });
}

}  // namespace

void LinearForward(const Linear& linear, const float* x, const float* weight, const float* bias, float* y) {
  Turn turn;
  const int64_t n = linear.rows, k = linear.inputs, m = linear.outputs;
  Multiply(turn, {n, k, m, x, k, 1, weight, bias, y}, linear.transposed);
}

void LinearBackward(const Linear& linear, const float* x, const float* weight, const float* grad_y, float* grad_x,
                    float* grad_weight, float* grad_bias) {
  Turn turn;
  const int64_t n = linear.rows, k = linear.inputs, m = linear.outputs;
  Multiply(turn, {n, m, k, grad_y, m, 1, weight, nullptr, grad_x}, !linear.transposed);
  if (linear.transposed) {
    Multiply(turn, {m, n, k, grad_y, 1, m, x, nullptr, grad_weight}, false);
  } else {
    Multiply(turn, {k, n, m, x, 1, k, grad_y, nullptr, grad_weight}, false);
  }
  for (int64_t j = 0; j < m; ++j) grad_bias[j] = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < m; ++j) grad_bias[j] += grad_y[i * m + j];
  }
}

void SquashForward(const Squash& squash, const float* x, const float* coefficient, const float* bias, float* y) {
  Turn turn;
  ChannelSums units(turn, squash.images, squash.channels);
  units.ForUnits([&](int64_t first, int64_t past, float*) {
    isa::Chosen().loops.squash(squash, first, past, x, coefficient, bias, y);
  });
}

void SquashBackward(const Squash& squash, const float* x, const float* coefficient, const float* y,
                    const float* grad_y, float* grad_x, float* grad_coefficient, float* grad_bias) {
  Turn turn;
  ChannelSums sums(turn, squash.images, squash.channels);
  sums.ForUnits([&](int64_t first, int64_t past, float* of_unit) {
    isa::Chosen().loops.squash_gradients(squash, first, past, x, coefficient, y, grad_y, grad_x, of_unit);
  });
  for (int64_t c = 0; c < squash.channels; ++c) {
    grad_bias[c] = static_cast<float>(sums.Total(c, 0));
    grad_coefficient[c] = static_cast<float>(sums.Total(c, 1));
  }
}

void BatchNormForward(const BatchNorm& norm, const float* x, const float* scale, const float* bias,
                      float* running_mean, float* running_variance, float* y, float* saved_mean, float* saved_slope) {
  Turn turn;
  const double count = static_cast<double>(norm.images * norm.area);
  ChannelSums sums(turn, norm.images, norm.channels);
  float *shift = sums.ForChannels(0), *factor = sums.ForChannels(1), *offset = sums.ForChannels(2);
  // Squares are summed about the first image's mean, or the variance would be the small difference of large numbers.
  for (int64_t c = 0; c < norm.channels; ++c) {
    double sum = 0;
    for (int64_t j = 0; j < norm.area; ++j) sum += x[c * norm.area + j];
    shift[c] = static_cast<float>(sum / norm.area);
  }
  sums.ForUnits([&](int64_t first, int64_t past, float* of_unit) {
    isa::Chosen().loops.sum_about_shift(norm, first, past, x, shift, of_unit);
  });
  for (int64_t c = 0; c < norm.channels; ++c) {
    const double from_shift = sums.Total(c, 0) / count, mean = shift[c] + from_shift;
    const double variance = std::fmax(0.0, sums.Total(c, 1) / count - from_shift * from_shift);
    running_mean[c] = static_cast<float>(norm.momentum * running_mean[c] + (1 - norm.momentum) * mean);
    running_variance[c] = static_cast<float>(norm.momentum * running_variance[c] + (1 - norm.momentum) * variance);
    saved_mean[c] = static_cast<float>(mean);
    saved_slope[c] = static_cast<float>(1 / std::sqrt(variance + norm.epsilon));
    factor[c] = scale[c] * saved_slope[c];
    offset[c] = static_cast<float>(bias[c] - mean * factor[c]);
  }
  sums.ForUnits([&](int64_t first, int64_t past, float*) {
    isa::Chosen().loops.combine(norm, first, past, x, factor, nullptr, nullptr, offset, y);
  });
}

// With xhat = (x - mean) * slope and averages over the channel:
// grad_x = scale * slope * (grad_y - average of grad_y - xhat * average of grad_y * xhat).
void BatchNormBackward(const BatchNorm& norm, const float* x, const float* scale, const float* saved_mean,
                       const float* saved_slope, const float* grad_y, float* grad_x, float* grad_scale,
                       float* grad_bias) {
  Turn turn;
  const double count = static_cast<double>(norm.images * norm.area);
  ChannelSums sums(turn, norm.images, norm.channels);
  float *of_grad = sums.ForChannels(0), *of_x = sums.ForChannels(1), *offset = sums.ForChannels(2);
  sums.ForUnits([&](int64_t first, int64_t past, float* of_unit) {
    isa::Chosen().loops.sum_gradients(norm, first, past, x, saved_mean, grad_y, of_unit);
  });
  for (int64_t c = 0; c < norm.channels; ++c) {
    const double sum = sums.Total(c, 0), product = sums.Total(c, 1), slope = saved_slope[c];
    grad_bias[c] = static_cast<float>(sum);
    grad_scale[c] = static_cast<float>(product * slope);
    const double factor = scale[c] * slope, factor_of_x = -factor * slope * slope * product / count;
    of_grad[c] = static_cast<float>(factor);
    of_x[c] = static_cast<float>(factor_of_x);
    offset[c] = static_cast<float>(-factor * sum / count - factor_of_x * saved_mean[c]);
  }
  sums.ForUnits([&](int64_t first, int64_t past, float*) {
    isa::Chosen().loops.combine(norm, first, past, grad_y, of_grad, x, of_x, offset, grad_x);
  });
}

float SoftmaxLoss(const Softmax& softmax, const float* scores, const int64_t* labels, float* probability, float* log) {
  const int64_t columns = softmax.columns, classes = softmax.classes;
  double loss = 0, loss_of_all = 0;
  int64_t right = 0;
  for (int64_t n = 0; n < softmax.rows; ++n, scores += columns, probability += columns) {
    int64_t largest = 0;
    for (int64_t k = 1; k < classes; ++k) {
      if (scores[k] > scores[largest]) largest = k;
    }
    float maximum = scores[largest];
    for (int64_t k = classes; k < columns; ++k) maximum = std::fmax(maximum, scores[k]);
    double sum = 0, distance = 0;  // distance: of the classes' scores to the maximum, summed
    for (int64_t k = 0; k < columns; ++k) sum += probability[k] = std::exp(scores[k] - maximum);
    for (int64_t k = 0; k < classes; ++k) distance += static_cast<double>(maximum) - scores[k];
    const float share = static_cast<float>(1 / sum);
    for (int64_t k = 0; k < columns; ++k) probability[k] *= share;
    const double log_sum = std::log(sum);
    loss += log_sum + (static_cast<double>(maximum) - scores[labels[n]]);
    loss_of_all += log_sum + distance / classes;
    right += largest == labels[n];
  }
  loss /= softmax.rows;
  loss_of_all /= softmax.rows;
  log[0] = static_cast<float>(loss);
  log[1] = static_cast<float>(right);
  if (softmax.smoothing == 0) return log[0];  // the other one may be infinite
  return static_cast<float>((1 - softmax.smoothing) * loss + softmax.smoothing * loss_of_all);
}

void SoftmaxLossBackward(const Softmax& softmax, const float* probability, const int64_t* labels, float grad_loss,
                         float* grad_scores) {
  const int64_t columns = softmax.columns;
  const float of_row = grad_loss / softmax.rows, of_each = softmax.smoothing / softmax.classes;
  for (int64_t n = 0; n < softmax.rows; ++n, probability += columns, grad_scores += columns) {
    for (int64_t k = 0; k < columns; ++k) {
      grad_scores[k] = of_row * (probability[k] - (k < softmax.classes ? of_each : 0));
    }
    grad_scores[labels[n]] -= of_row * (1 - softmax.smoothing);
  }
}

void AdamStep(const Adam& adam, float learning_rate, const Parameter* parameters, int64_t count) {
  ForPieces(count, [&](int64_t i) { return parameters[i].size; }, [&](int64_t i, int64_t begin, int64_t end) {
    const Parameter& p = parameters[i];
    const float correction = std::sqrt(1 - *p.power2);
    const float rate = learning_rate * correction / (1 - *p.power1);
    isa::Chosen().loops.update(adam, p, rate, adam.epsilon * correction, 1 - learning_rate * p.decay, begin, end);
  });
  for (int64_t i = 0; i < count; ++i) {
    *parameters[i].power1 *= adam.beta1;
    *parameters[i].power2 *= adam.beta2;
  }
}

void MoveAverages(float decay, float* updates, const Averaged* averages, int64_t count) {
  *updates += 1;
  const float rate = std::fmax(1 - decay, 9 / (9 + *updates));
  ForPieces(count, [&](int64_t i) { return averages[i].size; }, [&](int64_t i, int64_t begin, int64_t end) {
    isa::Chosen().loops.average(rate, begin, end, averages[i].value, averages[i].average);
  });
}

void Scale(int64_t count, float factor, const float* __restrict from, float* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] = factor * from[i];
}

void Add(int64_t count, const float* __restrict from, float* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}

}  // namespace step
