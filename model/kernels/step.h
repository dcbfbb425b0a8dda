// What a training step does beside its convolutions, on float32 tensors: dense layers, batch normalisation, the loss,
// Adam's update, and the moving average of the weights.
//
// Nothing here knows Paddle: step_ops.cc binds these functions to it. Threads are those of the fused
// convolution-pooling operator. Every sum has an order that depends on the shapes alone: every number of threads gives
// the same bits.
#pragma once

#include <cstdint>

namespace step {

// A dense layer, y [rows, outputs] = x [rows, inputs] w + bias [outputs]. w is the weight [inputs, outputs], or if
// `transposed` the transpose of the weight [outputs, inputs], as of a convolution with one place for its kernel.
struct Linear {
  int64_t rows, inputs, outputs;
  bool transposed;
};

void LinearForward(const Linear& linear, const float* x, const float* weight, const float* bias, float* y);

void LinearBackward(const Linear& linear, const float* x, const float* weight, const float* grad_y, float* grad_x,
                    float* grad_weight, float* grad_bias);

// A subsampling layer's squashing function on x [N, C, area], with a coefficient and a bias for each channel:
// y = amplitude * tanh(slope * (coefficient * x + bias)) + offset (LeCun et al. 1998, section II.B, equation 6).
struct Squash {
  int64_t images, channels, area;
  float slope, amplitude, offset;
};

void SquashForward(const Squash& squash, const float* x, const float* coefficient, const float* bias, float* y);

void SquashBackward(const Squash& squash, const float* x, const float* coefficient, const float* y,
                    const float* grad_y, float* grad_x, float* grad_coefficient, float* grad_bias);

// x [N, C, area]: normalised per channel over images and area.
struct BatchNorm {
  int64_t images, channels, area;
  float epsilon;
  float momentum;  // of the running statistics: running = momentum * running + (1 - momentum) * the batch's
};

// Training's batch normalisation (Ioffe and Szegedy 2015, algorithm 1) of at least one number a channel:
// y = scale * (x - mean) / sqrt(variance + epsilon) + bias, by the mean and the biased variance of each channel in the
// batch. Moves the running ones; saved_mean and saved_slope [C] are the batch's mean and 1 / sqrt(variance + epsilon),
// for the backward pass.
void BatchNormForward(const BatchNorm& norm, const float* x, const float* scale, const float* bias,
                      float* running_mean, float* running_variance, float* y, float* saved_mean, float* saved_slope);

void BatchNormBackward(const BatchNorm& norm, const float* x, const float* scale, const float* saved_mean,
                       const float* saved_slope, const float* grad_y, float* grad_x, float* grad_scale,
                       float* grad_bias);

// scores [N, columns], of which the first `classes` are those of classes; the others take part in the softmax, and no
// label names them.
struct Softmax {
  int64_t rows, columns, classes;
  float smoothing;  // part of a label that is spread evenly over the classes (Szegedy et al. 2016)
};

// Softmax and cross-entropy with labels [N], each 0 to classes - 1. probability [N, columns] is for the backward pass.
// log[0]: the mean negative log-probability of the labels as they are, nats; log[1]: the number of rows in which the
// label's class has the first largest score. Returns the loss that is minimised, the one of the smoothed labels.
float SoftmaxLoss(const Softmax& softmax, const float* scores, const int64_t* labels, float* probability, float* log);

void SoftmaxLossBackward(const Softmax& softmax, const float* probability, const int64_t* labels, float grad_loss,
                         float* grad_scores);

// One parameter with its gradient and Adam's state (Kingma and Ba 2015; with decay, Loshchilov and Hutter 2019).
// power1 and power2: beta1^t and beta2^t of the coming step t; moved on.
struct Parameter {
  int64_t size;
  float *value, *moment1, *moment2, *power1, *power2;
  const float* gradient;
  float decay;
};

struct Adam {
  float beta1, beta2, epsilon;
};

void AdamStep(const Adam& adam, float learning_rate, const Parameter* parameters, int64_t count);

struct Averaged {
  int64_t size;
  const float* value;
  float* average;
};

// average += rate * (value - average), where update t = 1, 2, … has rate = max(1 - decay, 9 / (9 + t)): while updates are
// few, the average is of about the last ninth of them, so that it soon forgets where it began (as
// tf.train.ExponentialMovingAverage with num_updates). updates: t - 1; moved on.
void MoveAverages(float decay, float* updates, const Averaged* averages, int64_t count);

// to = factor * from
void Scale(int64_t count, float factor, const float* from, float* to);

// to += from
void Add(int64_t count, const float* from, float* to);

}  // namespace step
