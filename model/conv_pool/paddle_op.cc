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

std::vector<Shape> InferShape(const Shape& x, const Shape& weight, const Shape& /*bias*/,
                              const std::string& activation, const std::string& pooling) {
  const conv_pool::Problem p = MakeProblem(x, weight, activation, pooling);
  const Shape out = {x[0], weight[0], p.PooledHeight(), p.PooledWidth()};
  Shape saved = out;
  saved.push_back(p.SavedBytesPerWindow());
  return {out, saved};
}

std::vector<paddle::DataType> InferDtype(const paddle::DataType& x, const paddle::DataType& /*weight*/,
                                         const paddle::DataType& /*bias*/) {
  return {x, paddle::DataType::UINT8};
}

std::vector<Tensor> Forward(const Tensor& x, const Tensor& weight, const Tensor& bias, const std::string& activation,
                            const std::string& pooling) {
  const std::vector<Shape> shapes = InferShape(x.shape(), weight.shape(), bias.shape(), activation, pooling);
  Tensor out = paddle::experimental::empty(shapes[0], paddle::DataType::FLOAT32, x.place());
  Tensor saved = paddle::experimental::empty(shapes[1], paddle::DataType::UINT8, x.place());
  conv_pool::Forward(MakeProblem(x.shape(), weight.shape(), activation, pooling), x.data<float>(),
                     weight.data<float>(), bias.data<float>(), out.data<float>(), saved.data<uint8_t>());
  return {out, saved};
}

Tensor EmptyLike(const Tensor& tensor) {
  return paddle::experimental::empty(tensor.shape(), paddle::DataType::FLOAT32, tensor.place());
}

std::vector<Tensor> Backward(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& out,
                             const Tensor& saved, const Tensor& grad_out, const std::string& activation,
                             const std::string& pooling) {
  Tensor grad_x = EmptyLike(x), grad_weight = EmptyLike(weight), grad_bias = EmptyLike(bias);
  conv_pool::Backward(MakeProblem(x.shape(), weight.shape(), activation, pooling), x.data<float>(),
                      weight.data<float>(), out.data<float>(), saved.data<uint8_t>(), grad_out.data<float>(),
                      grad_x.data<float>(), grad_weight.data<float>(), grad_bias.data<float>());
  return {grad_x, grad_weight, grad_bias};
}

std::vector<Tensor> BackwardOfData(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& out,
                                   const Tensor& saved, const Tensor& grad_out, const std::string& activation,
                                   const std::string& pooling) {
  Tensor grad_weight = EmptyLike(weight), grad_bias = EmptyLike(bias);
  conv_pool::Backward(MakeProblem(x.shape(), weight.shape(), activation, pooling), x.data<float>(),
                      weight.data<float>(), out.data<float>(), saved.data<uint8_t>(), grad_out.data<float>(), nullptr,
                      grad_weight.data<float>(), grad_bias.data<float>());
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
