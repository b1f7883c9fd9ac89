#include "scute/language/layer_pass.h"

#include <algorithm>
#include <utility>

namespace scute {
namespace {

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

LayerPass::LayerPass(LayeredModel& model, std::vector<std::span<const int32_t>> ids, End end,
                     const std::string& folder, OnLogits on_logits)
    : model_(model),
      ids_(std::move(ids)),
      end_(end),
      on_logits_(std::move(on_logits)),
      streams_(lengths_of(ids_), model.config().width, folder),
      origins_(model.needs_origin() ? lengths_of(ids_) : std::vector<int64_t>(),
               model.config().width, folder) {}

void LayerPass::begin(int64_t step) {
  const int64_t last = steps() - 1;
  if (step > 0 && step < last) return model_.go_to(step - 1);
  if (step == last && end_ == End::head) return model_.go_to_head();
  model_.rest();
}

void LayerPass::show(int64_t step, int64_t index, Run& run) const {
  const Arena::Scope scope(run.arena());
  if (step == steps() - 1) return leave(index, run);
  if (step == 0) {
    const auto stream = streams_.fresh(index, run);
    model_.enter(run, {}, ids_[static_cast<size_t>(index)], stream);
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
  if (end_ != End::head) return;
  const auto logits = run.matrix(stream.rows, model_.config().vocabulary);
  model_.logits(run, hidden, logits);
  if (on_logits_) on_logits_(index, logits);
}

SampleSteps LayerPass::all() {
  return {steps(), [this](int64_t step) { begin(step); },
          [this](int64_t step, int64_t index, Run& run) { show(step, index, run); }};
}

}  // namespace scute
