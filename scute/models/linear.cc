#include "scute/models/linear.h"

#include <fmt/format.h>

#include "scute/base/error.h"
#include "scute/kernels/attention.h"
#include "scute/kernels/elementwise.h"
#include "scute/kernels/round.h"
#include "scute/models/grids.h"
#include "scute/quantize/grid.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

/// Rows of a stretch of a product are a multiple of this: whole register blocks of every kernel,
/// and enough of them to share a pass over the weights.
constexpr int64_t kProductRows = 24;

/// The codes as floats, which represent them exactly.
Tensor as_floats(const Tensor& codes) {
  Tensor out(DType::f32, codes.shape());
  const auto from = codes.values<int8_t>();
  std::ranges::copy(from, out.mutable_values<float>().begin());
  return out;
}

void require_stored_shape(const LinearTensors& tensors) {
  const auto stored = tensors.shape.values<int64_t>();
  if (stored[0] == tensors.outputs && stored[1] == tensors.inputs) return;
  fail(tensors.name + ".weight_shape", fmt::format("{}, {}", tensors.outputs, tensors.inputs),
       fmt::format("{}, {}", stored[0], stored[1]));
}

}  // namespace

LinearTensors::LinearTensors() = default;
LinearTensors::LinearTensors(const LinearTensors&) = default;
LinearTensors::LinearTensors(LinearTensors&&) noexcept = default;
LinearTensors& LinearTensors::operator=(const LinearTensors&) = default;
LinearTensors& LinearTensors::operator=(LinearTensors&&) noexcept = default;
LinearTensors::~LinearTensors() = default;

LinearTensors::LinearTensors(WeightReader& reader, std::string name_, int64_t outputs_,
                             int64_t inputs_, bool has_bias)
    : name(std::move(name_)), outputs(outputs_), inputs(inputs_) {
  const Tensor* plain = reader.peek(name + ".weight");
  const auto scale_shape = [&](int64_t rows) {
    const Tensor* found = reader.peek(name + ".weight_scale");
    return Shape{rows, found != nullptr && found->rank() == 2 ? found->dim(1) : 1};
  };
  if (reader.contains(name + ".weight_packed")) {
    packed = reader.take(name + ".weight_packed", {outputs, (inputs + 7) / 8}, DType::i32);
    shape = reader.take(name + ".weight_shape", {2}, DType::i64);
    scale = reader.take(name + ".weight_scale", scale_shape(outputs));
    if (reader.contains(name + ".weight_channel_scale")) {
      channel_scale = reader.take(name + ".weight_channel_scale", {outputs, 1});
    }
  } else if (plain != nullptr && plain->dtype() == DType::i8) {
    weight = reader.take(name + ".weight", {outputs, inputs}, DType::i8);
    const Tensor* found = reader.peek(name + ".weight_scale");
    const bool one = found != nullptr && found->size() == 1;
    scale = reader.take(name + ".weight_scale", one ? found->shape() : Shape{outputs, 1});
  } else {
    weight = reader.take(name + ".weight", {outputs, inputs});
  }
  if (reader.contains(name + ".input_scale")) {
    input_scale = reader.take(name + ".input_scale", {1});
  }
  if (has_bias) bias = reader.take(name + ".bias", {outputs});
}

Tensor take_column_scales(WeightReader& reader, const std::string& name, int64_t columns) {
  const Tensor* found = reader.peek(name);
  const bool each = found != nullptr && found->size() == columns;
  return reader.take(name, {each ? columns : 1});
}

QuantizedWeight LinearTensors::weight_codes() const {
  QuantizedWeight out;
  const std::vector<float> scales = packed.size() == 0
                                        ? checked_scales(scale, name + ".weight_scale")
                                        : checked_signed_scales(scale, name + ".weight_scale");
  const auto count = static_cast<int64_t>(scales.size());
  const bool one = count == 1 && outputs != 1;
  out.scales = Tensor::of<float>({one ? 1 : outputs, one ? 1 : count / outputs}, scales);
  if (packed.size() == 0) {
    out.codes = weight;
    out.format.granularity =
        one ? WeightFormat::Granularity::per_tensor : WeightFormat::Granularity::per_channel;
    return out;
  }
  require_stored_shape(*this);
  const int64_t groups = out.scales.dim(1);
  if (groups < 1 || inputs % groups != 0) {
    fail(name + ".weight_scale", fmt::format("groups that divide {} inputs", inputs),
         fmt::format("{}", groups));
  }
  out.format = WeightFormat::four_bit(inputs, inputs / groups, channel_scale.size() > 0);
  out.codes = unpack_int4(packed, outputs, inputs, name + ".weight_packed");
  if (channel_scale.size() > 0) {
    out.channel_scales = Tensor::of<float>(
        {outputs, 1}, checked_scales(channel_scale, name + ".weight_channel_scale"));
  }
  return out;
}

LinearTensors LinearTensors::rows(int64_t first, int64_t count) const {
  LinearTensors out = *this;
  out.outputs = count;
  if (packed.size() > 0) {
    require_stored_shape(*this);
    out.shape = Tensor::of<int64_t>({2}, std::vector<int64_t>{count, inputs});
  }
  for (Tensor* each : {&out.weight, &out.packed, &out.scale, &out.channel_scale, &out.bias}) {
    if (each->rank() > 0 && each->dim(0) == outputs) *each = each->rows(first, count);
  }
  return out;
}

struct Linear::Adapter {
  Linear down, up;
};

Linear::Linear() = default;
Linear::Linear(const Linear&) = default;
Linear::Linear(Linear&&) noexcept = default;
Linear& Linear::operator=(const Linear&) = default;
Linear& Linear::operator=(Linear&&) noexcept = default;
Linear::~Linear() = default;

Linear::Linear(const LinearTensors& tensors, const Execution& execution)
    : outputs_(tensors.outputs) {
  if (tensors.bias.size() > 0) bias_ = to_vector(tensors.bias);
  if (!tensors.quantized()) {
    if (tensors.eight_bit_input()) {
      fail(tensors.name, "8-bit or 4-bit weights beside an input scale", "float weights");
    }
    form_ = Gemm(tensors.weight, execution.compute);
    return;
  }
  const QuantizedWeight weight = tensors.weight_codes();
  if (!tensors.eight_bit_input()) {
    const bool packed = weight.format.bits == 4 && !weight.format.two_level &&
                        execution.compute == Compute::f32 && execution.backend == Backend::integer;
    if (packed) {
      form_ = GemmInt4(weight.codes, weight.scales, weight.inputs() / weight.scales.dim(1),
                       execution.memory.get());
    } else {
      form_ = Gemm(dequantize(weight), execution.compute);
    }
    return;
  }
  const float input = checked_scales(tensors.input_scale, tensors.name + ".input_scale").front();
  if (execution.backend == Backend::integer && weight.format.two_level) {
    form_ = Integer{
        GemmInt8(weight.codes, weight.scales, weight.channel_scales, execution.memory.get()), input,
        to_vector(weight.channel_scales)};
    return;
  }
  const QuantizedWeight eight = as_int8(weight);
  std::vector<float> scales = to_vector(eight.scales);
  if (execution.backend == Backend::integer) {
    form_ = Integer{GemmInt8(eight.codes, execution.memory.get()), input, std::move(scales)};
  } else {
    form_ = Simulated{Gemm(as_floats(eight.codes), Compute::f32), input, std::move(scales)};
  }
}

void Linear::operator()(Run& run, MatView<const float> x, MatView<float> y) const {
  multiply(run, x, y);
  if (!bias_.empty()) run.on_rows([&](auto rows) { add_row(rows, bias_.data()); }, y);
  if (!adapter_) return;
  const Arena::Scope scope(run.arena());
  const auto low = run.matrix(x.rows, adapter_->down.outputs_), added = run.matrix(y.rows, y.cols);
  adapter_->down(run, x, low);
  adapter_->up(run, low, added);
  run.on_rows(add_into, y, added);
}

Linear Linear::adapted(const LinearTensors& down, const LinearTensors& up,
                       const Execution& execution) const {
  Linear out = *this;
  out.adapter_ =
      std::make_shared<const Adapter>(Adapter{Linear(down, execution), Linear(up, execution)});
  return out;
}

void Linear::multiply(Run& run, MatView<const float> x, MatView<float> y) const {
  const Arena::Scope scope(run.arena());
  const auto in_parts = [&](const auto& product, MatView<const float> in) {
    if (in.rows > outputs_) {
      return run.split(
          in.rows, in.cols * outputs_,
          [&](int64_t first, int64_t count) {
            product(in.slice_rows(first, count), y.slice_rows(first, count));
          },
          kProductRows);
    }
    run.split(
        outputs_, in.rows * in.cols,
        [&](int64_t first, int64_t count) { product.outputs(first, in, y.columns(first, count)); },
        product.kOutputTile);
  };
  if (const auto* plain = std::get_if<Gemm>(&form_)) return in_parts(*plain, x);
  if (const auto* packed = std::get_if<GemmInt4>(&form_)) return in_parts(*packed, x);
  if (const auto* integer = std::get_if<Integer>(&form_)) {
    const GemmInt8& product = integer->product;
    const auto codes = run.codes(x.rows, x.cols);
    const auto inputs = run.codes(1, product.input_bytes(x.rows));
    auto* prepared = reinterpret_cast<std::byte*>(inputs.data);
    run.split_rows(x, [&](int64_t first, int64_t count) {
      to_codes(x.slice_rows(first, count), {&integer->input_scale, 1, 1},
               codes.slice_rows(first, count));
      product.prepare(codes, first, count, prepared);
    });
    return run.split(
        outputs_, x.rows * x.cols,
        [&](int64_t first, int64_t count) {
          product.multiply(prepared, first, integer->scales.data() + first,
                           y.columns(first, count));
        },
        GemmInt8::kOutputTile);
  }
  const auto& simulated = std::get<Simulated>(form_);
  const auto codes = run.matrix(x.rows, x.cols);
  run.on_rows(
      [&](auto in, auto to) {
        to_float_codes(in, {&simulated.input_scale, 1, 1}, to);
      },
      x, codes);
  in_parts(simulated.product, codes);
  run.on_rows([&](auto rows) { multiply_columns(rows, simulated.scales.data()); }, y);
}

int64_t Linear::bytes() const {
  struct Count {
    int64_t operator()(const Gemm& product) const { return product.bytes(); }
    int64_t operator()(const GemmInt4& product) const { return product.bytes(); }
    int64_t operator()(const Integer& form) const { return form.product.bytes(); }
    int64_t operator()(const Simulated& form) const { return form.product.bytes(); }
  };
  const int64_t adapter = adapter_ ? adapter_->down.bytes() + adapter_->up.bytes() : 0;
  return std::visit(Count{}, form_) + static_cast<int64_t>(bias_.size() * sizeof(float)) + adapter;
}

void Linear::add_work(int64_t rows, ModelWork& work) const {
  const auto add = [&](ProductType type, const auto& product) {
    work.add(type, rows * product.inputs() * product.outputs());
  };
  struct Count {
    const decltype(add)& to;
    void operator()(const Gemm& product) const {
      const bool bf16 = product.backend().find("bf16") != std::string_view::npos;
      to(bf16 ? ProductType::bf16 : ProductType::f32, product);
    }
    void operator()(const GemmInt4& product) const { to(ProductType::f32, product); }
    void operator()(const Integer& form) const { to(ProductType::int8, form.product); }
    void operator()(const Simulated& form) const { (*this)(form.product); }
  };
  std::visit(Count{add}, form_);
  if (!adapter_) return;
  adapter_->down.add_work(rows, work);
  adapter_->up.add_work(rows, work);
}

template <class Product>
void Linear::EightBit<Product>::set_input_scale(float input) {
  input_scale = input;
  scales = weight_scales;
  for (float& scale : scales) scale *= input;
}

void Linear::set_input_range(float lo, float hi) {
  set_input_scale(make_grid(lo, hi, GridSpec{.bits = 8}).scale);
}

void Linear::set_input_scale(float scale) {
  if (auto* integer = std::get_if<Integer>(&form_)) integer->set_input_scale(scale);
  if (auto* simulated = std::get_if<Simulated>(&form_)) simulated->set_input_scale(scale);
}

float Linear::input_scale() const {
  if (const auto* integer = std::get_if<Integer>(&form_)) return integer->input_scale;
  if (const auto* simulated = std::get_if<Simulated>(&form_)) return simulated->input_scale;
  return 0;
}

}  // namespace scute
