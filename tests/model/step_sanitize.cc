// The functions of step.h without Paddle, against their definitions written down plainly in double precision.
// Built with -fsanitize=address,undefined by tests/model/test_conv_pool.py; ends with status 0 and one line.

#include "step.h"

#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "conv_pool.h"

namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

std::mt19937 generator(1);

int64_t Between(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(generator); }

Floats Draw(int64_t size) {
  std::normal_distribution<float> normal;
  Floats values(size);
  for (float& v : values) v = normal(generator);
  return values;
}

// To 1e-5 of the largest value, or of `least` where all are smaller.
bool Close(const char* what, const Floats& got, const Doubles& expected, double least = 1) {
  double largest = least, difference = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    largest = std::fmax(largest, std::fabs(expected[i]));
    difference = std::isnan(got[i]) ? INFINITY : std::fmax(difference, std::fabs(got[i] - expected[i]));
  }
  if (difference <= 1e-5 * largest) return true;
  std::printf("%s: differs by %g of %g\n", what, difference, largest);
  return false;
}

bool CheckLinear(const step::Linear& linear) {
  const int64_t n = linear.rows, k = linear.inputs, m = linear.outputs;
  const Floats x = Draw(n * k), weight = Draw(k * m), bias = Draw(m), grad_y = Draw(n * m);
  Floats y(n * m, NAN), grad_x(n * k, NAN), grad_weight(k * m, NAN), grad_bias(m, NAN);
  step::LinearForward(linear, x.data(), weight.data(), bias.data(), y.data());
  step::LinearBackward(linear, x.data(), weight.data(), grad_y.data(), grad_x.data(), grad_weight.data(),
                       grad_bias.data());
  Doubles of_y(n * m), of_x(n * k), of_weight(k * m), of_bias(m);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < m; ++j) {
      of_y[i * m + j] = bias[j];
      of_bias[j] += grad_y[i * m + j];
      for (int64_t p = 0; p < k; ++p) {
        const int64_t at = linear.transposed ? j * k + p : p * m + j;
        of_y[i * m + j] += double{x[i * k + p]} * weight[at];
        of_x[i * k + p] += double{grad_y[i * m + j]} * weight[at];
        of_weight[at] += double{grad_y[i * m + j]} * x[i * k + p];
      }
    }
  }
  return Close("y", y, of_y) && Close("grad_x", grad_x, of_x) && Close("grad_weight", grad_weight, of_weight) &&
         Close("grad_bias", grad_bias, of_bias);
}

bool CheckBatchNorm(const step::BatchNorm& norm) {
  const int64_t channels = norm.channels, size = norm.images * channels * norm.area;
  const double count = norm.images * norm.area;
  const Floats x = Draw(size), scale = Draw(channels), bias = Draw(channels), grad_y = Draw(size);
  const Floats mean_before = Draw(channels), variance_before = Draw(channels);
  Floats running_mean = mean_before, running_variance = variance_before, y(size, NAN), saved_mean(channels, NAN),
         saved_slope(channels, NAN), grad_x(size, NAN), grad_scale(channels, NAN), grad_bias(channels, NAN);
  step::BatchNormForward(norm, x.data(), scale.data(), bias.data(), running_mean.data(), running_variance.data(),
                         y.data(), saved_mean.data(), saved_slope.data());
  step::BatchNormBackward(norm, x.data(), scale.data(), saved_mean.data(), saved_slope.data(), grad_y.data(),
                          grad_x.data(), grad_scale.data(), grad_bias.data());
  Doubles of_mean(channels), of_variance(channels), of_y(size), of_x(size), of_scale(channels), of_bias(channels);
  double steepest = 1;
  for (int64_t c = 0; c < channels; ++c) {
    const auto for_channel = [&](auto body) {
      for (int64_t n = 0; n < norm.images; ++n) {
        for (int64_t j = 0; j < norm.area; ++j) body((n * channels + c) * norm.area + j);
      }
    };
    double mean = 0, variance = 0;
    for_channel([&](int64_t i) { mean += x[i] / count; });
    for_channel([&](int64_t i) { variance += (x[i] - mean) * (x[i] - mean) / count; });
    const double slope = 1 / std::sqrt(variance + norm.epsilon);
    of_mean[c] = norm.momentum * mean_before[c] + (1 - norm.momentum) * mean;
    of_variance[c] = norm.momentum * variance_before[c] + (1 - norm.momentum) * variance;
    for_channel([&](int64_t i) {
      of_y[i] = scale[c] * (x[i] - mean) * slope + bias[c];
      of_bias[c] += grad_y[i];
      of_scale[c] += grad_y[i] * (x[i] - mean) * slope;
    });
    for_channel([&](int64_t i) {
      const double xhat = (x[i] - mean) * slope;
      of_x[i] = scale[c] * slope * (grad_y[i] - of_bias[c] / count - xhat * of_scale[c] / count);
    });
    steepest = std::fmax(steepest, slope);  // what a rounding of x or of a gradient that cancels comes to
  }
  return Close("running_mean", running_mean, of_mean) && Close("running_variance", running_variance, of_variance) &&
         Close("y", y, of_y, steepest) && Close("grad_x", grad_x, of_x, steepest) &&
         Close("grad_scale", grad_scale, of_scale, steepest) && Close("grad_bias", grad_bias, of_bias);
}

bool CheckSquash(const step::Squash& squash) {
  const int64_t channels = squash.channels, size = squash.images * channels * squash.area;
  const Floats x = Draw(size), coefficient = Draw(channels), bias = Draw(channels), grad_y = Draw(size);
  Floats y(size, NAN), grad_x(size, NAN), grad_coefficient(channels, NAN), grad_bias(channels, NAN);
  step::SquashForward(squash, x.data(), coefficient.data(), bias.data(), y.data());
  step::SquashBackward(squash, x.data(), coefficient.data(), y.data(), grad_y.data(), grad_x.data(),
                       grad_coefficient.data(), grad_bias.data());
  Doubles of_y(size), of_x(size), of_coefficient(channels), of_bias(channels);
  for (int64_t i = 0; i < size; ++i) {
    const int64_t c = i / squash.area % channels;
    const double t = std::tanh(squash.slope * (double{coefficient[c]} * x[i] + bias[c]));
    const double grad = grad_y[i] * squash.amplitude * squash.slope * (1 - t * t);
    of_y[i] = squash.amplitude * t + squash.offset;
    of_x[i] = grad * coefficient[c];
    of_coefficient[c] += grad * x[i];
    of_bias[c] += grad;
  }
  return Close("squashed", y, of_y) && Close("grad_x", grad_x, of_x) &&
         Close("grad_coefficient", grad_coefficient, of_coefficient) && Close("grad_bias", grad_bias, of_bias);
}

bool CheckSoftmax(const step::Softmax& softmax, float size) {
  const int64_t rows = softmax.rows, columns = softmax.columns, classes = softmax.classes;
  Floats scores = Draw(rows * columns), probability(rows * columns, NAN), grad_scores(rows * columns, NAN), log(2, NAN);
  for (float& score : scores) score = std::round(size * score);  // so that some tie for the largest
  std::vector<int64_t> labels(rows);
  for (int64_t& label : labels) label = Between(0, classes - 1);
  const float loss = step::SoftmaxLoss(softmax, scores.data(), labels.data(), probability.data(), log.data());
  step::SoftmaxLossBackward(softmax, probability.data(), labels.data(), 3, grad_scores.data());
  double of_loss = 0, of_plain = 0, right = 0;
  Doubles of_scores(rows * columns);
  for (int64_t n = 0; n < rows; ++n) {
    const float* row = &scores[n * columns];
    int64_t answer = 0;
    double largest = -INFINITY, sum = 0;
    for (int64_t k = 0; k < columns; ++k) largest = std::fmax(largest, row[k]);
    for (int64_t k = 0; k < columns; ++k) sum += std::exp(row[k] - largest);
    for (int64_t k = 0; k < classes; ++k) answer = row[k] > row[answer] ? k : answer;
    right += answer == labels[n];
    of_plain -= (row[labels[n]] - largest - std::log(sum)) / rows;
    for (int64_t k = 0; k < columns; ++k) {
      const double target =
          k < classes ? softmax.smoothing / classes + (k == labels[n] ? 1 - softmax.smoothing : 0) : 0;
      of_loss -= target * (row[k] - largest - std::log(sum)) / rows;
      of_scores[n * columns + k] = 3 * (std::exp(row[k] - largest) / sum - target) / rows;
    }
  }
  return Close("loss", {loss}, {of_loss}, 1e-3) && Close("log", log, {of_plain, right}, 1e-3) &&
         Close("grad_scores", grad_scores, of_scores, 1.0 / rows);
}

// Three steps of Adam with decay on parameters of these sizes, which moving averages follow.
bool CheckUpdate(const std::vector<int64_t>& sizes) {
  const float rate = 0.01f, decay = 0.1f, average_decay = 0.15f;
  const step::Adam adam = {0.9f, 0.999f, 1e-8f};
  struct State {
    Floats value, moment1, moment2, average;
    Doubles of_value, of_moment1, of_moment2, of_average;
    float power1 = 0.9f, power2 = 0.999f;
  };
  std::vector<State> states(sizes.size());
  float updates = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    State& s = states[i];
    s.value = Draw(sizes[i]);
    s.moment1 = s.moment2 = s.average = Floats(sizes[i]);
    s.of_value.assign(s.value.begin(), s.value.end());
    s.of_moment1 = s.of_moment2 = s.of_average = Doubles(sizes[i]);
  }
  for (int t = 1; t <= 3; ++t) {
    std::vector<Floats> gradients;
    for (int64_t size : sizes) gradients.push_back(Draw(size));
    std::vector<step::Parameter> parameters;
    std::vector<step::Averaged> averages;
    for (size_t i = 0; i < sizes.size(); ++i) {
      State& s = states[i];
      parameters.push_back({sizes[i], s.value.data(), s.moment1.data(), s.moment2.data(), &s.power1, &s.power2,
                            gradients[i].data(), i % 2 ? decay : 0});
      averages.push_back({sizes[i], s.value.data(), s.average.data()});
    }
    step::AdamStep(adam, rate, parameters.data(), parameters.size());
    step::MoveAverages(average_decay, &updates, averages.data(), averages.size());
    const double follow = std::fmax(1 - double{average_decay}, 9.0 / (9 + t));
    for (size_t i = 0; i < sizes.size(); ++i) {
      State& s = states[i];
      for (int64_t j = 0; j < sizes[i]; ++j) {
        const double g = gradients[i][j];
        s.of_moment1[j] += (1 - double{adam.beta1}) * (g - s.of_moment1[j]);
        s.of_moment2[j] += (1 - double{adam.beta2}) * (g * g - s.of_moment2[j]);
        const double m = s.of_moment1[j] / (1 - std::pow(double{adam.beta1}, t));
        const double v = s.of_moment2[j] / (1 - std::pow(double{adam.beta2}, t));
        s.of_value[j] -= rate * (m / (std::sqrt(v) + adam.epsilon) + (i % 2 ? decay : 0) * s.of_value[j]);
        s.of_average[j] += follow * (s.of_value[j] - s.of_average[j]);
      }
    }
  }
  for (const State& s : states) {
    if (!Close("value", s.value, s.of_value) || !Close("moment1", s.moment1, s.of_moment1) ||
        !Close("moment2", s.moment2, s.of_moment2, 1e-3) || !Close("average", s.average, s.of_average)) {
      return false;
    }
  }
  return true;
}

}  // namespace

int main() {
  int checks = 0;
  const auto passes = [&](bool passed) {
    conv_pool_set_threads(1 + ++checks % 3);
    return passed;
  };
  for (bool transposed : {false, true}) {
    for (int64_t rows : {0, 1, 47, 49, 128}) {
      for (int64_t outputs : {1, 10, 16, 65, 120}) {
        if (!passes(CheckLinear({rows, Between(1, 90), outputs, transposed}))) return 1;
      }
    }
    if (!passes(CheckLinear({33, 800, 10, transposed}))) return 1;
  }
  for (int64_t images : {1, 2, 16, 17, 40}) {
    for (int64_t area : {1, 15, 16, 49, 144}) {
      if (!passes(CheckBatchNorm({images, Between(1, 21), area, 1e-5f, 0.9f}))) return 1;
      if (!passes(CheckSquash({images, Between(1, 21), area, 2.0f / 3, 1.7159f, 0.5f}))) return 1;
    }
  }
  for (float smoothing : {0.0f, 0.1f}) {
    for (float size : {1.0f, 100.0f, 10000.0f}) {
      const int64_t classes = Between(1, 12);
      if (!passes(CheckSoftmax({Between(1, 70), classes + Between(0, 2), classes, smoothing}, size))) return 1;
    }
  }
  if (!passes(CheckUpdate({1, 4095, 4096, 4097, 0, 10000})) || !passes(CheckUpdate({}))) return 1;
  std::printf("%d checks agree with the definitions on %s\n", checks, conv_pool_isa());
  return 0;
}
