// The matrices of a quantization, rounded by all threads once everything is decided.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "scute/base/error.h"
#include "scute/language/quantize_job.h"
#include "scute/language/stored_weight.h"
#include "scute/quantize/gptq.h"
#include "scute/quantize/group_scale.h"

namespace scute {
namespace {

/// Inputs that were always zero get so small a square of their own that what the others need
/// decides, and GPTQ does not take them for unused.
void give_unseen_inputs(Gram& gram) {
  constexpr double kShare = 1e-3;  // of the mean square of those that were seen
  const TriangleView<double> all = gram.triangle();
  double sum = 0;
  for (int64_t i = 0; i < all.size; ++i) sum += all.row(i)[i];
  const double given = kShare * sum / static_cast<double>(all.size);
  for (int64_t i = 0; i < all.size; ++i) {
    if (all.row(i)[i] == 0) all.row(i)[i] = given;
  }
}

/// At least so many of a matrix are in work at once, a tile of the rounding.
constexpr int64_t kFewOutputs = 32;

/// These rows of a matrix, one after the other.
Tensor gathered(const Tensor& matrix, std::span<const int32_t> rows) {
  std::vector<std::byte> bytes;
  for (const int32_t row : rows) {
    const auto from = matrix.rows(row, 1).bytes();
    bytes.insert(bytes.end(), from.begin(), from.end());
  }
  return Tensor::of_bytes(matrix.dtype(), {std::ssize(rows), matrix.dim(1)}, bytes);
}

}  // namespace

Tensor stored_as(const Tensor& values, DType type) {
  return values.rounded_to(type == DType::f64 ? DType::f32 : type);
}

Tensor MatrixJob::edited_rows(int64_t first, int64_t count) const {
  const auto moved = [&] {
    return gathered(
        weight, std::span(outputs).subspan(static_cast<size_t>(first), static_cast<size_t>(count)));
  };
  const Tensor some = outputs.empty() ? weight.rows(first, count) : moved();
  if (!edited()) return some;
  MatrixEdit edit(some);
  if (!order.empty()) edit.permute_inputs(order);
  if (!factors.empty()) edit.scale_inputs(factors);
  if (rotate_inputs) edit.rotate_inputs();
  if (rotate_outputs) edit.rotate_outputs();
  return edit.tensor();
}

WeightFormat QuantizeJob::weight_format(const MatrixJob& job) const {
  WeightFormat format;
  const int64_t inputs = job.weight.dim(1);
  if (job.format.weight_bits == 4) {
    format = WeightFormat::four_bit(inputs, WeightFormat::fitting_group(inputs, options_.group),
                                    job.two_level);
  } else if (options_.per_tensor) {
    format.granularity = WeightFormat::Granularity::per_tensor;
  }
  format.check(inputs, job.name);
  return format;
}

void QuantizeJob::check_hessians(const MatrixJob& job) const {
  for (const std::string& name : job.hessian_sites) {
    const auto found = hessians_->sites.find(name);
    if (found == hessians_->sites.end()) fail("Hessians", "one of " + name, "none");
    if (found->second.size == job.weight.dim(1)) continue;
    fail("Hessians", fmt::format("{} inputs at {}", job.weight.dim(1), name),
         fmt::format("{}", found->second.size));
  }
}

Gram QuantizeJob::hessian_of(const MatrixJob& job) const {
  Gram out = hessians_->sites.at(job.hessian_sites.front());
  for (size_t i = 1; i < job.hessian_sites.size(); ++i) {
    out += hessians_->sites.at(job.hessian_sites[i]);
  }
  if (job.few_tokens) give_unseen_inputs(out);
  return out;
}

int64_t QuantizeJob::outputs_at_once(const MatrixJob& job) const {
  const int64_t outputs = job.weight.dim(0);
  if (job.rotate_outputs) return outputs;
  const int64_t weights = std::min(kWeightsAtOnce, memory_.at_work / kBytesOfWeight);
  return std::clamp(weights / std::max<int64_t>(job.weight.dim(1), 1),
                    std::min(kFewOutputs, outputs), outputs);
}

/// What all outputs of a matrix that is rounded share.
struct QuantizeJob::Rounding {
  Gram::Values hessian = {};      ///< of GPTQ, which reads it to the end
  std::optional<Gptq> gptq = {};  ///< empty: rounded to nearest
  float largest = 0;              ///< magnitude in all outputs, where they have one scale
};

void QuantizeJob::begin_rounding(const MatrixJob& job, Rounding& how, const Team& team) const {
  const WeightFormat format = weight_format(job);
  const int64_t outputs = job.weight.dim(0), inputs = job.weight.dim(1);
  if (by_gptq(job)) {
    how.hessian = hessian_of(job).square();
    const MatView<double> view(how.hessian.data(), inputs, inputs);
    edit_hessian(view, job.hessian_edit());
    how.gptq.emplace(view, inputs, format, job.name, Descent::on, team);
  }
  if (format.granularity != WeightFormat::Granularity::per_tensor) return;
  const int64_t together = outputs_at_once(job);
  for (int64_t first = 0; first < outputs; first += together) {
    const Tensor values = job.edited_rows(first, std::min(together, outputs - first));
    if (how.gptq) {
      how.gptq->see(values, job.name);
    } else {
      how.largest = std::max(how.largest, largest_magnitude(finite_weight(values, job.name)));
    }
  }
}

std::vector<NamedTensor> QuantizeJob::finished_rows(const MatrixJob& job, Rounding& how,
                                                    int64_t first, int64_t count,
                                                    const Team& team) const {
  const Tensor values = job.edited_rows(first, count);
  if (job.format.is_float()) {
    return {{job.name + ".weight", job.edited() ? stored_as(values, job.weight.dtype()) : values}};
  }
  const std::string where =
      first == 0 ? job.name : fmt::format("{}, outputs from {} on", job.name, first);
  std::vector<NamedTensor> out;
  store_weight(job.name,
               how.gptq ? how.gptq->round(values, where, team)
                        : quantize_nearest(values, weight_format(job), where, team, how.largest),
               out);
  return out;
}

void QuantizeJob::finish(Pending& pending, const Team& team) {
  MatrixJob& job = pending.job;
  const int64_t outputs = job.weight.dim(0);
  if (job.format.is_float() && !job.edited()) {
    pending.tensors = {{job.name + ".weight", job.weight}};
  } else {
    StoredRows stored(outputs, scratch_.get());
    Rounding how;
    if (!job.format.is_float()) begin_rounding(job, how, team);
    const int64_t together = outputs_at_once(job);
    for (int64_t first = 0; first < outputs; first += together) {
      const int64_t count = std::min(together, outputs - first);
      stored.add(first, finished_rows(job, how, first, count, team));
      // Where their order changes they come from everywhere.
      (job.outputs.empty() ? job.weight.rows(first, count) : job.weight).give_back();
    }
    if (how.gptq) pending.report = how.gptq->report();
    pending.tensors = stored.take();
  }
  end(pending);
}

void QuantizeJob::end(Pending& pending) {
  pending.job.weight.give_back();
  pending.job.weight = Tensor();  // gives mapped memory back
  if (progress_) progress_(finished_.fetch_add(1) + 1, std::ssize(pending_));
}

/// Of the weights in work at once, and of GPTQ's matrices.
int64_t QuantizeJob::bytes_at_work(const MatrixJob& job) const {
  const int64_t inputs = job.weight.dim(1);
  return kBytesOfWeight * outputs_at_once(job) * inputs + (by_gptq(job) ? gptq_bytes(inputs) : 0);
}

void QuantizeJob::finish_some(const std::vector<Pending*>& some) {
  for (size_t first = 0, last = 0; first < some.size(); first = last) {
    int64_t bytes = 0;
    do {
      bytes += bytes_at_work(some[last++]->job);
    } while (last < some.size() && bytes + bytes_at_work(some[last]->job) <= memory_.at_work);
    threads_.for_each(static_cast<int64_t>(last - first), [&](int64_t i, int worker) {
      finish(*some[first + static_cast<size_t>(i)], threads_.team(worker));
    });
  }
}

void QuantizeJob::finish_matrices() {
  if (layered_ != nullptr) {
    finish_by_layers();
  } else {
    std::vector<Pending*> all;
    for (Pending& pending : pending_) all.push_back(&pending);
    finish_some(all);
  }
  for (ExpertsRemark& layer : experts_remarks_) {
    for (size_t i = layer.first; i < layer.end; ++i) {
      layer.silent += pending_[i].job.few_tokens && !pending_[i].report ? 1 : 0;
    }
  }
  std::vector<NamedTensor> all;
  size_t next = 0;
  const auto move_until = [&](size_t end) {
    for (; next < end; ++next) all.push_back(std::move(out_.tensors[next]));
  };
  for (Pending& pending : pending_) {
    move_until(pending.place);
    std::ranges::move(pending.tensors, std::back_inserter(all));
    if (pending.report) out_.gptq[pending.job.name] = *pending.report;
  }
  move_until(out_.tensors.size());
  out_.tensors = std::move(all);
  pending_.clear();
}

}  // namespace scute
