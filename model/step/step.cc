#include "step.h"

#include <cmath>

#include "../conv_pool/thread_pool.h"

// The compiler makes one version per instruction set, and the loader takes the best that the processor has.
#if defined(__x86_64__) && defined(__linux__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

namespace step {
namespace {

constexpr int kLanes = 16;
typedef float Vec __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

constexpr int64_t kImagesPerSum = 8;  // summed in float32, lane by lane; beyond that in double
constexpr int64_t kUnit = 4096;       // elements of a parameter that one thread updates at a time

inline int64_t Min(int64_t a, int64_t b) { return a < b ? a : b; }
inline const Vec& At(const float* p) { return *reinterpret_cast<const Vec*>(p); }
inline Vec& At(float* p) { return *reinterpret_cast<Vec*>(p); }

FOR_EACH_PROCESSOR void NormaliseChannel(const BatchNorm& norm, int64_t channel, const float* x, float scale,
                                         float bias, float* y, double* mean_of, double* variance_of, float* slope_of) {
  const int64_t area = norm.area, stride = norm.channels * area, whole = area / kLanes * kLanes;
  const double count = static_cast<double>(norm.images * area);
  x += channel * area;
  y += channel * area;
  double total = 0;
  for (int64_t first = 0; first < norm.images; first += kImagesPerSum) {
    Vec sum = {};
    float rest = 0;
    for (int64_t n = first; n < Min(first + kImagesPerSum, norm.images); ++n) {
      const float* plane = x + n * stride;
      for (int64_t i = 0; i < whole; i += kLanes) sum += At(plane + i);
      for (int64_t i = whole; i < area; ++i) rest += plane[i];
    }
    for (int lane = 0; lane < kLanes; ++lane) total += sum[lane];
    total += rest;
  }
  const float mean = static_cast<float>(total / count);
  total = 0;
  for (int64_t first = 0; first < norm.images; first += kImagesPerSum) {
    Vec sum = {};
    float rest = 0;
    for (int64_t n = first; n < Min(first + kImagesPerSum, norm.images); ++n) {
      const float* plane = x + n * stride;
      for (int64_t i = 0; i < whole; i += kLanes) {
        const Vec from_mean = At(plane + i) - mean;
        sum += from_mean * from_mean;
      }
      for (int64_t i = whole; i < area; ++i) rest += (plane[i] - mean) * (plane[i] - mean);
    }
    for (int lane = 0; lane < kLanes; ++lane) total += sum[lane];
    total += rest;
  }
  const double variance = total / count;
  const float slope = static_cast<float>(1 / std::sqrt(variance + norm.epsilon));
  const float factor = scale * slope, offset = bias - mean * factor;
  for (int64_t n = 0; n < norm.images; ++n) {
    const float* from = x + n * stride;
    float* to = y + n * stride;
    for (int64_t i = 0; i < whole; i += kLanes) At(to + i) = At(from + i) * factor + offset;
    for (int64_t i = whole; i < area; ++i) to[i] = from[i] * factor + offset;
  }
  *mean_of = mean;
  *variance_of = variance;
  *slope_of = slope;
}

FOR_EACH_PROCESSOR void BackwardOfChannel(const BatchNorm& norm, int64_t channel, const float* x, float scale,
                                          float mean, float slope, const float* grad_y, float* grad_x,
                                          float* grad_scale, float* grad_bias) {
  const int64_t area = norm.area, stride = norm.channels * area, whole = area / kLanes * kLanes;
  const double count = static_cast<double>(norm.images * area);
  x += channel * area;
  grad_y += channel * area;
  grad_x += channel * area;
  double sum_grad = 0, sum_product = 0;  // of grad_y, and of grad_y * (x - mean)
  for (int64_t first = 0; first < norm.images; first += kImagesPerSum) {
    Vec grads = {}, products = {};
    float rest_grads = 0, rest_products = 0;
    for (int64_t n = first; n < Min(first + kImagesPerSum, norm.images); ++n) {
      const float *plane = x + n * stride, *grad = grad_y + n * stride;
      for (int64_t i = 0; i < whole; i += kLanes) {
        grads += At(grad + i);
        products += At(grad + i) * (At(plane + i) - mean);
      }
      for (int64_t i = whole; i < area; ++i) {
        rest_grads += grad[i];
        rest_products += grad[i] * (plane[i] - mean);
      }
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      sum_grad += grads[lane];
      sum_product += products[lane];
    }
    sum_grad += rest_grads;
    sum_product += rest_products;
  }
  *grad_bias = static_cast<float>(sum_grad);
  *grad_scale = static_cast<float>(sum_product * slope);
  // grad_x = scale * slope * (grad_y - mean of grad_y - (x - mean) * slope^2 * mean of grad_y * (x - mean))
  const float of_grad = scale * slope;
  const float of_x = static_cast<float>(-static_cast<double>(of_grad) * slope * slope * sum_product / count);
  const float offset = static_cast<float>(-of_grad * sum_grad / count) - of_x * mean;
  for (int64_t n = 0; n < norm.images; ++n) {
    const float *plane = x + n * stride, *grad = grad_y + n * stride;
    float* to = grad_x + n * stride;
    for (int64_t i = 0; i < whole; i += kLanes) {
      At(to + i) = At(grad + i) * of_grad + At(plane + i) * of_x + offset;
    }
    for (int64_t i = whole; i < area; ++i) to[i] = grad[i] * of_grad + plane[i] * of_x + offset;
  }
}

FOR_EACH_PROCESSOR void Update(const Adam& adam, const Parameter& p, float rate, float epsilon, float shrink,
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

FOR_EACH_PROCESSOR void Average(float decay, int64_t begin, int64_t end, const float* __restrict value,
                                float* __restrict average) {
  for (int64_t i = begin; i < end; ++i) average[i] = decay * average[i] + (1 - decay) * value[i];
}

// A call's turn at the threads that it shares with the convolutions.
class Turn {
 public:
  Turn() : pool_(conv_pool::ThreadPool::Get()) { pool_.Lock(); }
  ~Turn() { pool_.Unlock(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  template <typename Body>
  void For(int64_t units, const Body& body) {
    pool_.For(units, [&](int64_t unit, int) { body(unit); });
  }

 private:
  conv_pool::ThreadPool& pool_;
};

}  // namespace

void BatchNormForward(const BatchNorm& norm, const float* x, const float* scale, const float* bias,
                      float* running_mean, float* running_variance, float* y, float* saved_mean, float* saved_slope) {
  Turn().For(norm.channels, [&](int64_t c) {
    double mean, variance;
    NormaliseChannel(norm, c, x, scale[c], bias[c], y, &mean, &variance, saved_slope + c);
    saved_mean[c] = static_cast<float>(mean);
    running_mean[c] = static_cast<float>(norm.momentum * running_mean[c] + (1 - norm.momentum) * mean);
    running_variance[c] = static_cast<float>(norm.momentum * running_variance[c] + (1 - norm.momentum) * variance);
  });
}

void BatchNormBackward(const BatchNorm& norm, const float* x, const float* scale, const float* saved_mean,
                       const float* saved_slope, const float* grad_y, float* grad_x, float* grad_scale,
                       float* grad_bias) {
  Turn().For(norm.channels, [&](int64_t c) {
    BackwardOfChannel(norm, c, x, scale[c], saved_mean[c], saved_slope[c], grad_y, grad_x, grad_scale + c,
                      grad_bias + c);
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
    for (int64_t k = 0; k < classes; ++k) distance += maximum - scores[k];
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
  log[1] = static_cast<float>(static_cast<double>(right) / softmax.rows);
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
  Turn turn;
  for (int64_t i = 0; i < count; ++i) {
    const Parameter& p = parameters[i];
    const float correction = std::sqrt(1 - *p.power2);
    const float rate = learning_rate * correction / (1 - *p.power1), epsilon = adam.epsilon * correction;
    const float shrink = 1 - learning_rate * p.decay;
    *p.power1 *= adam.beta1;
    *p.power2 *= adam.beta2;
    turn.For((p.size + kUnit - 1) / kUnit, [&](int64_t unit) {
      Update(adam, p, rate, epsilon, shrink, unit * kUnit, Min((unit + 1) * kUnit, p.size));
    });
  }
}

void MoveAverage(float decay, int64_t size, const float* value, float* average) {
  Turn().For((size + kUnit - 1) / kUnit, [&](int64_t unit) {
    Average(decay, unit * kUnit, Min((unit + 1) * kUnit, size), value, average);
  });
}

}  // namespace step
