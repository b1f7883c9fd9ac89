#include "scute/language/layer_pass.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "scute/base/error.h"

namespace scute {
namespace {

constexpr const char *kStream = "stream", *kOrigin = "origin";

std::vector<int64_t> lengths_of(const std::vector<std::span<const int32_t>>& ids) {
  std::vector<int64_t> out;
  for (const auto& one : ids) out.push_back(std::ssize(one));
  return out;
}

}  // namespace

StreamStore::StreamStore(std::span<const int64_t> rows, int64_t width, const std::string& folder)
    : width_(width), first_{0} {
  for (const int64_t count : rows) first_.push_back(first_.back() + count);
  if (folder.empty()) {
    memory_.resize(static_cast<size_t>(first_.back() * width));
  } else {
    file_ = std::make_unique<ScratchFile>(folder);
  }
}

MatView<float> StreamStore::fresh(int64_t index, Run& run) const {
  const auto i = static_cast<size_t>(index);
  const int64_t rows = first_[i + 1] - first_[i];
  if (file_ != nullptr) return run.matrix(rows, width_);
  return {memory_.data() + first_[i] * width_, rows, width_};
}

MatView<float> StreamStore::get(int64_t index, Run& run) const {
  const MatView<float> out = fresh(index, run);
  if (file_ != nullptr) {
    file_->read(offset(index),
                std::as_writable_bytes(std::span(out.data, static_cast<size_t>(out.size()))));
  }
  return out;
}

void StreamStore::put(int64_t index, MatView<const float> stream) const {
  if (file_ == nullptr) return;
  file_->write(offset(index),
               std::as_bytes(std::span(stream.data, static_cast<size_t>(stream.size()))));
}

Tensor StreamStore::all() const {
  const Shape shape{first_.back(), width_};
  if (file_ != nullptr) return file_->mapped(DType::f32, shape, 0);
  const auto* data = reinterpret_cast<const std::byte*>(memory_.data());
  return {DType::f32, shape, std::shared_ptr<const void>(std::shared_ptr<const void>(), data),
          data};
}

void StreamStore::fill(const Tensor& streams, const std::string& where) const {
  const Shape shape{first_.back(), width_};
  if (streams.dtype() != DType::f32 || streams.shape() != shape) {
    fail(where, "F32 " + to_string(shape), to_string(streams.shape()));
  }
  if (file_ != nullptr) {
    file_->write(0, streams.bytes());
  } else {
    std::ranges::copy(streams.values<float>(), memory_.begin());
  }
  streams.give_back();
}

LayerPass::LayerPass(LayeredModel& model, std::vector<std::span<const int32_t>> ids, End end,
                     const std::string& folder, OnOutput on_output)
    : LayerPass(
          model, lengths_of(ids),
          [&model, ids](int64_t index, Run& run, MatView<float> stream) {
            model.enter(run, {}, ids[static_cast<size_t>(index)], stream);
          },
          end, folder, std::move(on_output)) {}

LayerPass::LayerPass(LayeredModel& model, const std::vector<int64_t>& lengths, Enter enter, End end,
                     const std::string& folder, OnOutput on_output)
    : model_(model),
      enter_(std::move(enter)),
      end_(end),
      on_output_(std::move(on_output)),
      streams_(lengths, model.config().width, folder),
      origins_(model.needs_origin() ? lengths : std::vector<int64_t>(), model.config().width,
               folder) {}

void LayerPass::begin(int64_t step) {
  const int64_t last = steps() - 1;
  if (step > 0 && step < last) return model_.go_to(step - 1);
  if (step == last && end_ != End::norm) return model_.go_to_head();
  model_.rest();
}

void LayerPass::show(int64_t step, int64_t index, Run& run) const {
  const Arena::Scope scope(run.arena());
  if (step == steps() - 1) return leave(index, run);
  if (step == 0) {
    const auto stream = streams_.fresh(index, run);
    enter_(index, run, stream);
    streams_.put(index, stream);
    if (!model_.needs_origin()) return;
    const auto origin = origins_.fresh(index, run);
    std::copy_n(stream.data, stream.size(), origin.data);
    return origins_.put(index, origin);
  }
  const auto stream = streams_.get(index, run);
  MatView<const float> origin = stream;
  if (model_.needs_origin()) origin = origins_.get(index, run);
  model_.through(run, stream, origin);
  streams_.put(index, stream);
}

void LayerPass::leave(int64_t index, Run& run) const {
  const auto stream = streams_.get(index, run);
  const auto hidden = run.matrix(stream.rows, stream.cols);
  model_.leave(run, stream, hidden);
  if (end_ != End::head) {
    if (on_output_) on_output_(index, run, hidden);
    return;
  }
  const auto logits = run.matrix(stream.rows, model_.config().vocabulary);
  model_.logits(run, hidden, logits);
  if (on_output_) on_output_(index, run, logits);
}

SampleSteps LayerPass::all() {
  return {steps(), [this](int64_t step) { begin(step); },
          [this](int64_t step, int64_t index, Run& run) { show(step, index, run); }};
}

std::vector<NamedTensor> LayerPass::carried() const {
  std::vector<NamedTensor> out{{kStream, streams_.all()}};
  if (model_.needs_origin()) out.push_back({kOrigin, origins_.all()});
  return out;
}

void LayerPass::carry_on(const std::vector<NamedTensor>& carried, const std::string& where) const {
  const auto fill = [&](const StreamStore& store, std::string_view name) {
    const auto found = std::ranges::find(carried, name, &NamedTensor::name);
    if (found == carried.end()) fail(where, fmt::format("a tensor {}", name), "none");
    store.fill(found->tensor, where);
  };
  fill(streams_, kStream);
  if (model_.needs_origin()) fill(origins_, kOrigin);
}

Tensor logits_by_layers(LayeredModel& model, int64_t rows, const LayerPass::Enter& enter,
                        int64_t head_rows) {
  Tensor hidden;
  LayerPass pass(model, {rows}, enter, LayerPass::End::norm, "",
                 [&](int64_t, Run&, MatView<const float> found) {
                   hidden = Tensor::of<float>({found.rows, found.cols},
                                              {found.data, static_cast<size_t>(found.size())});
                 });
  Run run;
  for (int64_t step = 0; step < pass.steps(); ++step) {
    pass.begin(step);
    pass.show(step, 0, run);
  }
  const int64_t V = model.config().vocabulary;
  Tensor logits(DType::f32, {rows, V});
  for (int64_t first = 0; first < V; first += head_rows) {
    const int64_t count = std::min(head_rows, V - first);
    model.go_to_head(first, count);
    model.logits(run, hidden.matrix<float>(), logits.mutable_matrix<float>().columns(first, count));
  }
  model.rest();
  return logits;
}

}  // namespace scute
