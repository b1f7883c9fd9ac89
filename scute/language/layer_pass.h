// Sequences that go through a language model together, one layer after the other.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "scute/base/memory.h"
#include "scute/io/scratch_file.h"
#include "scute/models/language/layered_model.h"
#include "scute/recipe/measure.h"

namespace scute {

/// What sequences take from layer to layer: rows × width floats each, in memory or in a file
/// without a name.
class StreamStore {
 public:
  /// folder: of that file; "": in memory.
  StreamStore(std::span<const int64_t> rows, int64_t width, const std::string& folder);
  /// Of one sequence, until its put(): scratch of `run`, or the store's own. From any thread.
  MatView<float> get(int64_t index, Run& run) const;
  /// A view of the same size with any content, to be filled and put().
  MatView<float> fresh(int64_t index, Run& run) const;
  void put(int64_t index, MatView<const float> stream) const;

  /// Of all sequences one after the other, F32 rows × width: borrowed or mapped, until the next
  /// put().
  Tensor all() const;
  /// What all() gave. Error naming `where` for another shape.
  void fill(const Tensor& streams, const std::string& where) const;

 private:
  int64_t offset(int64_t index) const { return first_[static_cast<size_t>(index)] * width_ * 4; }

  int64_t width_;
  std::vector<int64_t> first_;  ///< row of each sequence, and behind the last
  mutable std::vector<float, MemoryAllocator<float>> memory_;
  std::unique_ptr<ScratchFile> file_;
};

/// Step 0: the tokens become vectors; steps 1 to N: blocks 0 to N − 1; step N + 1: the last norm,
/// and the head if it is wanted.
class LayerPass {
 public:
  /// Shown what each sequence ends with: the last norm's output, or its logits.
  using OnOutput = std::function<void(int64_t index, Run& run, MatView<const float> output)>;
  /// Fills what enters the first block of one sequence; from any thread.
  using Enter = std::function<void(int64_t index, Run& run, MatView<float> stream)>;
  /// norm_beside_head: as `norm`, while the head is packed for whoever is shown its output.
  enum class End { norm, norm_beside_head, head };

  /// `model` and `ids` must live as long as this. `on_output`: may be empty.
  LayerPass(LayeredModel& model, std::vector<std::span<const int32_t>> ids, End end,
            const std::string& folder, OnOutput on_output = {});
  /// Of sequences of so many rows that begin with something else than tokens.
  LayerPass(LayeredModel& model, const std::vector<int64_t>& lengths, Enter enter, End end,
            const std::string& folder, OnOutput on_output = {});

  int64_t steps() const { return model_.blocks() + 2; }
  /// What all sequences' step needs is packed, and what the last one needed is not any more.
  void begin(int64_t step);
  /// One sequence's step; from any thread.
  void show(int64_t step, int64_t index, Run& run) const;
  /// These, for a Measurement.
  SampleSteps all();

  /// What the sequences take from the step that was shown last into the next one, as F32 rows ×
  /// width: "stream", and "origin" where blocks read it. Valid until the next step is shown.
  std::vector<NamedTensor> carried() const;
  /// Goes on behind that step, with what carried() gave; others are left alone. Error naming
  /// `where` when they are not of these sequences.
  void carry_on(const std::vector<NamedTensor>& carried, const std::string& where) const;

 private:
  void leave(int64_t index, Run& run) const;

  LayeredModel& model_;
  Enter enter_;
  End end_;
  OnOutput on_output_;
  StreamStore streams_, origins_;
};

/// The logits of one sequence of so many rows, which `enter` fills, F32 rows × V: with so many rows
/// of the head packed at once, a multiple of 32.
Tensor logits_by_layers(LayeredModel& model, int64_t rows, const LayerPass::Enter& enter,
                        int64_t head_rows);

}  // namespace scute
