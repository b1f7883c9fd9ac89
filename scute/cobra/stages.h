// What a Cobra makes of pictures and their texts, stage by stage: internal to this folder.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "scute/base/threads.h"
#include "scute/cobra/folder.h"
#include "scute/models/language/layered_model.h"

namespace scute {

/// Of one picture and its text: the towers' features, patches × W; the projector's vectors,
/// tokens × D; the logits of the token after picture and text, 1 × V.
struct CobraStages {
  MatView<float> features, rows, logits;
};
/// Memory for them, of `run`.
CobraStages make_stages(Run& run, const CobraConfig& config);

/// A picture as the towers see it, and the ids behind it.
struct PictureAndText {
  const std::vector<Tensor>* pixels = nullptr;
  std::span<const int32_t> ids;
};

/// All weights in memory.
void fill_stages(Run& run, const CobraModel& model, const PictureAndText& one,
                 const CobraStages& out);

/// A Cobra of which towers and projector are in memory while pictures are seen, and then a layer of
/// its language model at a time: the same numbers.
class LayeredCobra {
 public:
  /// `vision`: towers and projector, made when pictures are to be seen. `language`: inside that
  /// Cobra, with its ranges. `folder`: of the streams between layers; "": in memory.
  LayeredCobra(CobraConfig config, std::function<CobraModel()> vision, LayeredModel language,
               std::string folder)
      : config_(std::move(config)),
        vision_(std::move(vision)),
        language_(std::move(language)),
        folder_(std::move(folder)) {}

  const CobraConfig& config() const { return config_; }
  /// `out`: of each of them; `runs`: of the threads' workers.
  void fill(std::span<const PictureAndText> pictures, std::span<const CobraStages> out,
            const Threads& threads, std::span<Run> runs);

 private:
  CobraConfig config_;
  std::function<CobraModel()> vision_;
  LayeredModel language_;
  std::string folder_;
};

/// Of a folder. Streams on disk lie in `streams_in`; "": in memory.
LayeredCobra load_layered_cobra(const CobraDescription& model, const Execution& execution,
                                const std::string& streams_in);
/// The language model inside that Cobra, of these weights.
LayeredModel layered_language(const CobraDescription& model, Weights weights,
                              const Execution& execution);

}  // namespace scute
