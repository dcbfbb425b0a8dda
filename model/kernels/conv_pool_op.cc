// The operator as Paddle sees it, under two names: fused_conv_pool, and fused_conv_pool_of_data, whose x needs no
// gradient. That saves half of the backward work in a first layer, and Paddle 2.6 cannot leave out one gradient of an
// operator that declares it.

#include <string>
#include <vector>

#include "conv_pool.h"
#include "paddle/phi/api/ext/op_meta_info.h"  // not paddle/extension.h, which takes several times as long to compile
#include "paddle/phi/api/include/api.h"

namespace {

using paddle::Tensor;
using Shape = std::vector<int64_t>;

std::string Text(const Shape& shape) {
  std::string text;
  for (int64_t size : shape) text += (text.empty() ? "[" : ", ") + std::to_string(size);
  return text.empty() ? "[]" : text + "]";
}

conv_pool::Problem MakeProblem(const Shape& x, const Shape& weight, const std::string& activation,
                               const std::string& pooling) {
  return {x[0],
          x[1],
          x[2],
          x[3],
          weight[0],
          weight[2],
          activation == "relu"   ? conv_pool::Activation::kRelu
          : activation == "tanh" ? conv_pool::Activation::kTanh
                                 : conv_pool::Activation::kNone,
          pooling == "max" ? conv_pool::Pooling::kMax : conv_pool::Pooling::kMean};
}

std::vector<Shape> OutputShapes(const conv_pool::Problem& p) {
  const Shape out = {p.images, p.filters, p.PooledHeight(), p.PooledWidth()};
  Shape saved = out;
  saved.push_back(p.SavedBytesPerWindow());
  return {out, saved};
}

// Paddle 3.3 ends the process if this throws; the kernels refuse what does not fit.
std::vector<Shape> InferShape(const Shape& x, const Shape& weight, const Shape& /*bias*/,
                              const std::string& activation, const std::string& pooling) {
  if (x.size() != 4 || weight.size() != 4) return {x, x};
  std::vector<Shape> shapes = OutputShapes(MakeProblem(x, weight, activation, pooling));
  for (Shape& shape : shapes) {  // a side that is not known yet is -1
    if (x[2] < 0) shape[2] = -1;
    if (x[3] < 0) shape[3] = -1;
  }
  return shapes;
}

// The functions of conv_pool.h reach as far into memory as a Problem says, so the tensors must be as large.
conv_pool::Problem CheckedProblem(const Tensor& x_tensor, const Tensor& weight_tensor, const Tensor& bias_tensor,
                                  const std::string& activation, const std::string& pooling) {
  const Shape x = x_tensor.shape(), weight = weight_tensor.shape(), bias = bias_tensor.shape();
  PD_CHECK(x.size() == 4 && weight.size() == 4 && x[1] == weight[1] && weight[2] == weight[3] && weight[2] > 0,
           "fused_conv_pool: expected x [N, C, H, W] and weight [M, C, k, k], got ", Text(x), " and ", Text(weight));
  PD_CHECK(bias == Shape{weight[0]}, "fused_conv_pool: expected bias [", weight[0], "], got ", Text(bias));
  PD_CHECK(x[2] > weight[2] && x[3] > weight[2], "fused_conv_pool: expected images of at least ", weight[2] + 1,
           " pixels a side, got x ", Text(x));
  return MakeProblem(x, weight, activation, pooling);
}

std::vector<paddle::DataType> InferDtype(const paddle::DataType& x, const paddle::DataType& /*weight*/,
                                         const paddle::DataType& /*bias*/) {
  return {x, paddle::DataType::UINT8};
}

std::vector<Tensor> Forward(const Tensor& x, const Tensor& weight, const Tensor& bias, const std::string& activation,
                            const std::string& pooling) {
  const conv_pool::Problem problem = CheckedProblem(x, weight, bias, activation, pooling);
  const std::vector<Shape> shapes = OutputShapes(problem);
  Tensor out = paddle::experimental::empty(shapes[0], paddle::DataType::FLOAT32, x.place());
  Tensor saved = paddle::experimental::empty(shapes[1], paddle::DataType::UINT8, x.place());
  conv_pool::Forward(problem, x.data<float>(), weight.data<float>(), bias.data<float>(), out.data<float>(),
                     saved.data<uint8_t>());
  return {out, saved};
}

Tensor EmptyLike(const Tensor& tensor) {
  return paddle::experimental::empty(tensor.shape(), paddle::DataType::FLOAT32, tensor.place());
}

// grad_x may be null.
void Gradients(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& out, const Tensor& saved,
               const Tensor& grad_out, const std::string& activation, const std::string& pooling, float* grad_x,
               Tensor* grad_weight, Tensor* grad_bias) {
  const conv_pool::Problem problem = CheckedProblem(x, weight, bias, activation, pooling);
  const std::vector<Shape> shapes = OutputShapes(problem);
  PD_CHECK(out.shape() == shapes[0] && saved.shape() == shapes[1] && grad_out.shape() == shapes[0],
           "fused_conv_pool: expected out and its gradient ", Text(shapes[0]), " and saved ", Text(shapes[1]), ", got ",
           Text(out.shape()), ", ", Text(grad_out.shape()), " and ", Text(saved.shape()));
  conv_pool::Backward(problem, x.data<float>(), weight.data<float>(), out.data<float>(), saved.data<uint8_t>(),
                      grad_out.data<float>(), grad_x, grad_weight->data<float>(), grad_bias->data<float>());
}

std::vector<Tensor> Backward(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& out,
                             const Tensor& saved, const Tensor& grad_out, const std::string& activation,
                             const std::string& pooling) {
  Tensor grad_x = EmptyLike(x), grad_weight = EmptyLike(weight), grad_bias = EmptyLike(bias);
  Gradients(x, weight, bias, out, saved, grad_out, activation, pooling, grad_x.data<float>(), &grad_weight, &grad_bias);
  return {grad_x, grad_weight, grad_bias};
}

std::vector<Tensor> BackwardOfData(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& out,
                                   const Tensor& saved, const Tensor& grad_out, const std::string& activation,
                                   const std::string& pooling) {
  Tensor grad_weight = EmptyLike(weight), grad_bias = EmptyLike(bias);
  Gradients(x, weight, bias, out, saved, grad_out, activation, pooling, nullptr, &grad_weight, &grad_bias);
  return {grad_weight, grad_bias};
}

// Paddle 3's programs ask a gradient operator for its shapes; 2.6 takes them from the forward operator.
std::vector<Shape> InferBackwardShape(const Shape& x, const Shape& weight, const Shape& bias, const Shape&,
                                      const Shape&, const Shape&) {
  return {x, weight, bias};
}

std::vector<Shape> InferBackwardShapeOfData(const Shape&, const Shape& weight, const Shape& bias, const Shape&,
                                            const Shape&, const Shape&) {
  return {weight, bias};
}

}  // namespace

PD_BUILD_OP(fused_conv_pool)
    .Inputs({"X", "Weight", "Bias"})
    .Outputs({"Out", "Saved"})
    .Attrs({"activation: std::string", "pooling: std::string"})
    .SetKernelFn(PD_KERNEL(Forward))
    .SetInferShapeFn(PD_INFER_SHAPE(InferShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(InferDtype));

PD_BUILD_GRAD_OP(fused_conv_pool)
    .Inputs({"X", "Weight", "Bias", "Out", "Saved", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Weight"), paddle::Grad("Bias")})
    .Attrs({"activation: std::string", "pooling: std::string"})
    .SetKernelFn(PD_KERNEL(Backward))
    .SetInferShapeFn(PD_INFER_SHAPE(InferBackwardShape));

PD_BUILD_OP(fused_conv_pool_of_data)
    .Inputs({"X", "Weight", "Bias"})
    .Outputs({"Out", "Saved"})
    .Attrs({"activation: std::string", "pooling: std::string"})
    .SetKernelFn(PD_KERNEL(Forward))
    .SetInferShapeFn(PD_INFER_SHAPE(InferShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(InferDtype));

PD_BUILD_GRAD_OP(fused_conv_pool_of_data)
    .Inputs({"X", "Weight", "Bias", "Out", "Saved", paddle::Grad("Out")})
    .Outputs({paddle::Grad("Weight"), paddle::Grad("Bias")})
    .Attrs({"activation: std::string", "pooling: std::string"})
    .SetKernelFn(PD_KERNEL(BackwardOfData))
    .SetInferShapeFn(PD_INFER_SHAPE(InferBackwardShapeOfData));
