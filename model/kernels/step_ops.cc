// The functions of step.h as Paddle's operators. Where an output has an input's name and "Out", it is that input,
// changed in place, as in Paddle's own operators.

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "paddle/phi/api/ext/op_meta_info.h"  // not paddle/extension.h, which takes several times as long to compile
#include "paddle/phi/api/include/api.h"
#include "step.h"

namespace {

using paddle::Tensor;
using Shape = std::vector<int64_t>;
using paddle::DataType;

Tensor Empty(const Shape& shape, const Tensor& on) {
  return paddle::experimental::empty(shape, DataType::FLOAT32, on.place());
}

// The functions of step.h reach as far into memory as their sizes say: tensors must have exactly that many numbers.
void Expect(const char* what, const Tensor& tensor, int64_t numbers) {
  PD_CHECK(tensor.numel() == numbers, what, ": expected ", numbers, " numbers, got ", tensor.numel());
}

// x [N, C, H, W]
Shape ShapeOfMaps(const Tensor& x) {
  const Shape shape = x.shape();
  PD_CHECK(shape.size() == 4, "expected maps of 4 axes, got ", shape.size());
  return shape;
}

// ---- dense layers ---------------------------------------------------------------------------------------------------

step::Linear MakeLinear(const Tensor& x, const Tensor& weight, const Tensor& bias, bool transposed) {
  const Shape shape = x.shape();
  int64_t inputs = 1;
  for (size_t i = 1; i < shape.size(); ++i) inputs *= shape[i];
  // Paddle 3 takes pictures of any size as input, and this is the first operator that one of another size does not fit.
  PD_CHECK(inputs * bias.numel() == weight.numel(), "a dense layer with ", weight.numel(), " weights, of ", inputs,
           " inputs and ", bias.numel(), " outputs");
  return {shape[0], inputs, bias.numel(), transposed};
}

std::vector<Tensor> Linear(const Tensor& x, const Tensor& weight, const Tensor& bias, bool transposed) {
  const step::Linear linear = MakeLinear(x, weight, bias, transposed);
  Tensor y = Empty({linear.rows, linear.outputs}, x);
  step::LinearForward(linear, x.data<float>(), weight.data<float>(), bias.data<float>(), y.data<float>());
  return {y};
}

std::vector<Tensor> LinearGrad(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& grad_y,
                               bool transposed) {
  const step::Linear linear = MakeLinear(x, weight, bias, transposed);
  Expect("a dense layer's gradient", grad_y, linear.rows * linear.outputs);
  Tensor grad_x = Empty(x.shape(), x), grad_weight = Empty(weight.shape(), x), grad_bias = Empty(bias.shape(), x);
  step::LinearBackward(linear, x.data<float>(), weight.data<float>(), grad_y.data<float>(), grad_x.data<float>(),
                       grad_weight.data<float>(), grad_bias.data<float>());
  return {grad_x, grad_weight, grad_bias};
}

std::vector<Shape> LinearShapes(const Shape& x, const Shape&, const Shape& bias, bool) { return {{x[0], bias[0]}}; }

std::vector<DataType> LinearTypes(const DataType& x, const DataType&, const DataType&) { return {x}; }

std::vector<Shape> LinearGradShapes(const Shape& x, const Shape& weight, const Shape& bias, const Shape&) {
  return {x, weight, bias};
}

// ---- subsampling ----------------------------------------------------------------------------------------------------

step::Squash MakeSquash(const Tensor& x, const Tensor& coefficient, const Tensor& bias, float slope, float amplitude,
                        float offset) {
  const Shape shape = ShapeOfMaps(x);
  Expect("coefficients of subsampling", coefficient, shape[1]);
  Expect("biases of subsampling", bias, shape[1]);
  return {shape[0], shape[1], shape[2] * shape[3], slope, amplitude, offset};
}

std::vector<Tensor> Squash(const Tensor& x, const Tensor& coefficient, const Tensor& bias, float slope,
                           float amplitude, float offset) {
  Tensor y = Empty(x.shape(), x);
  step::SquashForward(MakeSquash(x, coefficient, bias, slope, amplitude, offset), x.data<float>(),
                      coefficient.data<float>(), bias.data<float>(), y.data<float>());
  return {y};
}

std::vector<Tensor> SquashGrad(const Tensor& x, const Tensor& coefficient, const Tensor& bias, const Tensor& y,
                               const Tensor& grad_y, float slope, float amplitude, float offset) {
  Tensor grad_x = Empty(x.shape(), x), grad_coefficient = Empty(bias.shape(), x), grad_bias = Empty(bias.shape(), x);
  Expect("output of subsampling", y, x.numel());
  Expect("gradient of subsampling", grad_y, x.numel());
  step::SquashBackward(MakeSquash(x, coefficient, bias, slope, amplitude, offset), x.data<float>(),
                       coefficient.data<float>(), y.data<float>(), grad_y.data<float>(), grad_x.data<float>(),
                       grad_coefficient.data<float>(), grad_bias.data<float>());
  return {grad_x, grad_coefficient, grad_bias};
}

std::vector<Shape> SquashShapes(const Shape& x, const Shape&, const Shape&, float, float, float) { return {x}; }

std::vector<DataType> SquashTypes(const DataType& x, const DataType&, const DataType&) { return {x}; }

std::vector<Shape> SquashGradShapes(const Shape& x, const Shape& coefficient, const Shape& bias, const Shape&,
                                    const Shape&) {
  return {x, coefficient, bias};
}

// ---- batch normalisation --------------------------------------------------------------------------------------------

step::BatchNorm MakeBatchNorm(const Tensor& x, const std::vector<const Tensor*>& of_channels, float momentum,
                              float epsilon) {
  const Shape shape = ShapeOfMaps(x);
  for (const Tensor* tensor : of_channels) Expect("batch normalisation of channels", *tensor, shape[1]);
  return {shape[0], shape[1], shape[2] * shape[3], epsilon, momentum};
}

std::vector<Tensor> BatchNorm(const Tensor& x, const Tensor& scale, const Tensor& bias, Tensor& mean, Tensor& variance,
                              float momentum, float epsilon) {
  PD_CHECK(x.numel() > 0, "batch normalisation of an empty batch");
  Tensor y = Empty(x.shape(), x), saved_mean = Empty(mean.shape(), x), saved_slope = Empty(mean.shape(), x);
  step::BatchNormForward(MakeBatchNorm(x, {&scale, &bias, &mean, &variance}, momentum, epsilon), x.data<float>(),
                         scale.data<float>(), bias.data<float>(), mean.data<float>(), variance.data<float>(),
                         y.data<float>(), saved_mean.data<float>(), saved_slope.data<float>());
  return {y, saved_mean, saved_slope};
}

std::vector<Tensor> BatchNormGrad(const Tensor& x, const Tensor& scale, const Tensor& saved_mean,
                                  const Tensor& saved_slope, const Tensor& grad_y, float momentum, float epsilon) {
  Tensor grad_x = Empty(x.shape(), x), grad_scale = Empty(scale.shape(), x), grad_bias = Empty(scale.shape(), x);
  Expect("gradient of batch normalisation", grad_y, x.numel());
  step::BatchNormBackward(MakeBatchNorm(x, {&scale, &saved_mean, &saved_slope}, momentum, epsilon), x.data<float>(),
                          scale.data<float>(), saved_mean.data<float>(), saved_slope.data<float>(),
                          grad_y.data<float>(), grad_x.data<float>(), grad_scale.data<float>(),
                          grad_bias.data<float>());
  return {grad_x, grad_scale, grad_bias};
}

// Of the new outputs alone: Paddle knows those that are inputs changed in place.
std::vector<Shape> BatchNormShapes(const Shape& x, const Shape& scale, const Shape&, const Shape&, const Shape&, float,
                                   float) {
  return {x, scale, scale};
}

std::vector<DataType> BatchNormTypes(const DataType& x, const DataType&, const DataType&, const DataType&,
                                     const DataType&) {
  return {x, x, x};
}

std::vector<Shape> BatchNormGradShapes(const Shape& x, const Shape& scale, const Shape&, const Shape&, const Shape&) {
  return {x, scale, scale};
}

// ---- loss -----------------------------------------------------------------------------------------------------------

std::vector<Tensor> SoftmaxLoss(const Tensor& scores, const Tensor& label, int classes, float smoothing) {
  const Shape shape = scores.shape();
  const int64_t* labels = label.data<int64_t>();
  PD_CHECK(shape.size() == 2, "expected scores of 2 axes, got ", shape.size());
  PD_CHECK(label.numel() == shape[0], label.numel(), " labels for ", shape[0], " rows of scores");
  PD_CHECK(classes <= shape[1], "scores of ", shape[1], " columns for ", classes, " classes");
  for (int64_t n = 0; n < shape[0]; ++n) {
    PD_CHECK(labels[n] >= 0 && labels[n] < classes, "label ", labels[n], ": expected 0 to ", classes - 1);
  }
  Tensor loss = Empty({}, scores), log = Empty({2}, scores), probability = Empty(shape, scores);
  *loss.data<float>() = step::SoftmaxLoss({shape[0], shape[1], classes, smoothing}, scores.data<float>(), labels,
                                          probability.data<float>(), log.data<float>());
  return {loss, log, probability};
}

std::vector<Tensor> SoftmaxLossGrad(const Tensor& label, const Tensor& probability, const Tensor& grad_loss,
                                    int classes, float smoothing) {
  const Shape shape = probability.shape();
  PD_CHECK(shape.size() == 2 && label.numel() == shape[0] && classes <= shape[1], label.numel(), " labels of ", classes,
           " classes for ", probability.numel(), " probabilities");
  Tensor grad_scores = Empty(shape, probability);
  step::SoftmaxLossBackward({shape[0], shape[1], classes, smoothing}, probability.data<float>(),
                            label.data<int64_t>(), *grad_loss.data<float>(), grad_scores.data<float>());
  return {grad_scores};
}

std::vector<Shape> SoftmaxLossShapes(const Shape& scores, const Shape&, int, float) { return {{}, {2}, scores}; }

std::vector<DataType> SoftmaxLossTypes(const DataType& scores, const DataType&) { return {scores, scores, scores}; }

std::vector<Shape> SoftmaxLossGradShapes(const Shape&, const Shape& probability, const Shape&) { return {probability}; }

// ---- update ---------------------------------------------------------------------------------------------------------

void AdamStep(std::vector<Tensor>& parameters, std::vector<Tensor>& moments1, std::vector<Tensor>& moments2,
              std::vector<Tensor>& powers1, std::vector<Tensor>& powers2, const std::vector<Tensor>& gradients,
              const Tensor& learning_rate, float beta1, float beta2, float epsilon, const std::vector<float>& decay) {
  std::vector<step::Parameter> all;
  const size_t count = parameters.size();
  // Gradients may also be one array, one after the other.
  const bool is_flat = gradients.size() == 1;
  PD_CHECK(moments1.size() == count && moments2.size() == count && powers1.size() == count &&
               powers2.size() == count && (is_flat || gradients.size() == count) && decay.size() == count,
           "Adam: expected as many of all as the ", count, " parameters");
  Expect("Adam's learning rate", learning_rate, 1);
  int64_t before = 0;
  for (size_t i = 0; i < count; ++i) {
    const int64_t numbers = parameters[i].numel();
    Expect("Adam's first moment", moments1[i], numbers);
    Expect("Adam's second moment", moments2[i], numbers);
    if (!is_flat) Expect("Adam's gradient", gradients[i], numbers);
    Expect("Adam's power of beta1", powers1[i], 1);
    Expect("Adam's power of beta2", powers2[i], 1);
    all.push_back({numbers, parameters[i].data<float>(), moments1[i].data<float>(),
                   moments2[i].data<float>(), powers1[i].data<float>(), powers2[i].data<float>(),
                   is_flat ? gradients[0].data<float>() + before : gradients[i].data<float>(), decay[i]});
    before += numbers;
  }
  if (is_flat) Expect("Adam's gradients", gradients[0], before);
  step::AdamStep({beta1, beta2, epsilon}, *learning_rate.data<float>(), all.data(), all.size());
}

void MoveAverages(std::vector<Tensor>& averages, const std::vector<Tensor>& values, Tensor& updates, float decay) {
  std::vector<step::Averaged> all;
  PD_CHECK(averages.size() == values.size(), averages.size(), " averages of ", values.size(), " values");
  Expect("updates of averages", updates, 1);
  for (size_t i = 0; i < averages.size(); ++i) {
    Expect("an average", averages[i], values[i].numel());
    all.push_back({values[i].numel(), values[i].data<float>(), averages[i].data<float>()});
  }
  step::MoveAverages(decay, updates.data<float>(), all.data(), all.size());
}

// Shifts recent [R, L] by one row and puts row [L] at its end.
void Remember(Tensor& recent, const Tensor& row) {
  PD_CHECK(row.numel() <= recent.numel(), "a row of ", row.numel(), " numbers for ", recent.numel(), " to remember");
  float *begin = recent.data<float>(), *end = begin + recent.numel();
  const float* values = row.data<float>();
  std::copy(values, values + row.numel(), std::copy(begin + row.numel(), end, begin));
}

// ---- shards ---------------------------------------------------------------------------------------------------------

int64_t NumbersOf(const std::vector<Tensor>& tensors) {
  int64_t numbers = 0;
  for (const Tensor& each : tensors) numbers += each.numel();
  return numbers;
}

// Writes a row of rows [K, n]: the parts and the loss times the share of a shard, and its right answers.
// shard [2]: its share, and the number of its row.
void ShardRow(const std::vector<Tensor>& parts, const Tensor& log, const Tensor& shard, Tensor& rows) {
  Expect("a shard's share and row", shard, 2);
  const float weight = shard.data<float>()[0];
  const int64_t size = rows.shape().back(), number = shard.data<float>()[1];
  const int64_t numbers = NumbersOf(parts) + 2;
  Expect("loss and right answers", log, 2);
  PD_CHECK(numbers == size && number >= 0 && number < rows.numel() / size, numbers, " numbers for row ", number, " of ",
           rows.numel() / size, " rows of ", size);
  float* to = rows.data<float>() + number * size;
  for (const Tensor& part : parts) {
    const float* values = part.data<float>();
    step::Scale(part.numel(), weight, values, to);
    to += part.numel();
  }
  to[0] = log.data<float>()[0] * weight;
  to[1] = weight > 0 ? log.data<float>()[1] : 0;
}

// rows [K, n] -> their sums [count, n]: neighbours are added in pairs, in place, until `count` are left.
std::vector<Tensor> SumRows(Tensor& rows, int count) {
  const int64_t size = rows.shape().back(), all = rows.numel() / size, group = all / count;
  PD_CHECK(group * count == all && (group & (group - 1)) == 0, "sums of ", group, " rows: expected a power of two");
  Tensor sums = Empty({count, size}, rows);
  float *first = rows.data<float>(), *to = sums.data<float>();
  for (int64_t row = 0; row < all; row += group) {
    for (int64_t apart = 1; apart < group; apart *= 2) {
      for (int64_t i = row; i < row + group; i += 2 * apart) {
        step::Add(size, first + (i + apart) * size, first + i * size);
      }
    }
    to = std::copy(first + row * size, first + (row + 1) * size, to);
  }
  return {sums};
}

std::vector<Shape> SumRowsShapes(const Shape& rows, int count) { return {{count, rows[1]}}; }

std::vector<DataType> SumRowsTypes(const DataType& rows) { return {rows}; }

void AssignPieces(const Tensor& flat, std::vector<Tensor>& pieces) {
  Expect("pieces", flat, NumbersOf(pieces));
  const float* from = flat.data<float>();
  for (Tensor& piece : pieces) {
    std::copy(from, from + piece.numel(), piece.data<float>());
    from += piece.numel();
  }
}

// Begins a shard: that of row 0 keeps the statistics in `before`, and each other one begins with these.
void Restart(const Tensor& shard, std::vector<Tensor>& statistics, Tensor& before) {
  Expect("a shard's share and row", shard, 2);
  Expect("statistics before the step", before, NumbersOf(statistics));
  float* kept = before.data<float>();
  for (Tensor& each : statistics) {
    float* values = each.data<float>();
    const int64_t count = each.numel();
    shard.data<float>()[1] == 0 ? std::copy(values, values + count, kept) : std::copy(kept, kept + count, values);
    kept += count;
  }
}

using Names = std::unordered_map<std::string, std::string>;

}  // namespace

PD_BUILD_OP(fused_linear)
    .Inputs({"X", "Weight", "Bias"})
    .Outputs({"Y"})
    .Attrs({"transposed: bool"})
    .SetKernelFn(PD_KERNEL(Linear))
    .SetInferShapeFn(PD_INFER_SHAPE(LinearShapes))
    .SetInferDtypeFn(PD_INFER_DTYPE(LinearTypes));

PD_BUILD_GRAD_OP(fused_linear)
    .Inputs({"X", "Weight", "Bias", paddle::Grad("Y")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Weight"), paddle::Grad("Bias")})
    .Attrs({"transposed: bool"})
    .SetKernelFn(PD_KERNEL(LinearGrad))
    .SetInferShapeFn(PD_INFER_SHAPE(LinearGradShapes));

PD_BUILD_OP(fused_squash)
    .Inputs({"X", "Coefficient", "Bias"})
    .Outputs({"Y"})
    .Attrs({"slope: float", "amplitude: float", "offset: float"})
    .SetKernelFn(PD_KERNEL(Squash))
    .SetInferShapeFn(PD_INFER_SHAPE(SquashShapes))
    .SetInferDtypeFn(PD_INFER_DTYPE(SquashTypes));

PD_BUILD_GRAD_OP(fused_squash)
    .Inputs({"X", "Coefficient", "Bias", "Y", paddle::Grad("Y")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Coefficient"), paddle::Grad("Bias")})
    .Attrs({"slope: float", "amplitude: float", "offset: float"})
    .SetKernelFn(PD_KERNEL(SquashGrad))
    .SetInferShapeFn(PD_INFER_SHAPE(SquashGradShapes));

PD_BUILD_OP(fused_batch_norm)
    .Inputs({"X", "Scale", "Bias", "Mean", "Variance"})
    .Outputs({"Y", "SavedMean", "SavedSlope", "MeanOut", "VarianceOut"})
    .Attrs({"momentum: float", "epsilon: float"})
    .SetInplaceMap(Names{{"Mean", "MeanOut"}, {"Variance", "VarianceOut"}})
    .SetKernelFn(PD_KERNEL(BatchNorm))
    .SetInferShapeFn(PD_INFER_SHAPE(BatchNormShapes))
    .SetInferDtypeFn(PD_INFER_DTYPE(BatchNormTypes));

PD_BUILD_GRAD_OP(fused_batch_norm)
    .Inputs({"X", "Scale", "SavedMean", "SavedSlope", paddle::Grad("Y")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Scale"), paddle::Grad("Bias")})
    .Attrs({"momentum: float", "epsilon: float"})
    .SetKernelFn(PD_KERNEL(BatchNormGrad))
    .SetInferShapeFn(PD_INFER_SHAPE(BatchNormGradShapes));

PD_BUILD_OP(fused_softmax_loss)
    .Inputs({"Scores", "Label"})
    .Outputs({"Loss", "Log", "Probability"})
    .Attrs({"classes: int", "smoothing: float"})
    .SetKernelFn(PD_KERNEL(SoftmaxLoss))
    .SetInferShapeFn(PD_INFER_SHAPE(SoftmaxLossShapes))
    .SetInferDtypeFn(PD_INFER_DTYPE(SoftmaxLossTypes));

PD_BUILD_GRAD_OP(fused_softmax_loss)
    .Inputs({"Label", "Probability", paddle::Grad("Loss")})
    .Outputs({paddle::Grad("Scores")})
    .Attrs({"classes: int", "smoothing: float"})
    .SetKernelFn(PD_KERNEL(SoftmaxLossGrad))
    .SetInferShapeFn(PD_INFER_SHAPE(SoftmaxLossGradShapes));

PD_BUILD_OP(fused_adam_step)
    .Inputs({paddle::Vec("Param"), paddle::Vec("Moment1"), paddle::Vec("Moment2"), paddle::Vec("Power1"),
             paddle::Vec("Power2"), paddle::Vec("Grad"), "LearningRate"})
    .Outputs({paddle::Vec("ParamOut"), paddle::Vec("Moment1Out"), paddle::Vec("Moment2Out"), paddle::Vec("Power1Out"),
              paddle::Vec("Power2Out")})
    .Attrs({"beta1: float", "beta2: float", "epsilon: float", "decay: std::vector<float>"})
    .SetInplaceMap(Names{{paddle::Vec("Param"), paddle::Vec("ParamOut")},
                         {paddle::Vec("Moment1"), paddle::Vec("Moment1Out")},
                         {paddle::Vec("Moment2"), paddle::Vec("Moment2Out")},
                         {paddle::Vec("Power1"), paddle::Vec("Power1Out")},
                         {paddle::Vec("Power2"), paddle::Vec("Power2Out")}})
    .SetKernelFn(PD_KERNEL(AdamStep));

PD_BUILD_OP(fused_average)
    .Inputs({paddle::Vec("Average"), paddle::Vec("Value"), "Updates"})
    .Outputs({paddle::Vec("AverageOut"), "UpdatesOut"})
    .Attrs({"decay: float"})
    .SetInplaceMap(Names{{paddle::Vec("Average"), paddle::Vec("AverageOut")}, {"Updates", "UpdatesOut"}})
    .SetKernelFn(PD_KERNEL(MoveAverages));

PD_BUILD_OP(fused_remember)
    .Inputs({"Recent", "Row"})
    .Outputs({"RecentOut"})
    .SetInplaceMap(Names{{"Recent", "RecentOut"}})
    .SetKernelFn(PD_KERNEL(Remember));

PD_BUILD_OP(fused_shard_row)
    .Inputs({paddle::Vec("Part"), "Log", "Shard", "Rows"})
    .Outputs({"RowsOut"})
    .SetInplaceMap(Names{{"Rows", "RowsOut"}})
    .SetKernelFn(PD_KERNEL(ShardRow));

PD_BUILD_OP(fused_sum_rows)
    .Inputs({"Rows"})
    .Outputs({"Sums", "RowsOut"})
    .Attrs({"count: int"})
    .SetInplaceMap(Names{{"Rows", "RowsOut"}})
    .SetKernelFn(PD_KERNEL(SumRows))
    .SetInferShapeFn(PD_INFER_SHAPE(SumRowsShapes))
    .SetInferDtypeFn(PD_INFER_DTYPE(SumRowsTypes));

PD_BUILD_OP(fused_assign_pieces)
    .Inputs({"Flat", paddle::Vec("Piece")})
    .Outputs({paddle::Vec("PieceOut")})
    .SetInplaceMap(Names{{paddle::Vec("Piece"), paddle::Vec("PieceOut")}})
    .SetKernelFn(PD_KERNEL(AssignPieces));

PD_BUILD_OP(fused_restart)
    .Inputs({"Shard", paddle::Vec("Statistics"), "Before"})
    .Outputs({paddle::Vec("StatisticsOut"), "BeforeOut"})
    .SetInplaceMap(Names{{paddle::Vec("Statistics"), paddle::Vec("StatisticsOut")}, {"Before", "BeforeOut"}})
    .SetKernelFn(PD_KERNEL(Restart));
