// What stands around the blocks of a language model: the table of token vectors and the last norm.
#pragma once

#include <span>

#include "scute/models/embedding.h"
#include "scute/models/language/config.h"
#include "scute/models/language/stream_norm.h"
#include "scute/models/scheme.h"

namespace scute {

struct LanguageModelSites;
struct LanguageTensors;

/// Embedding and final norm, without the blocks between them.
class ModelFrame {
 public:
  ModelFrame() = default;
  /// Error when the checkpoint rounds ids.
  ModelFrame(const LanguageTensors& tensors, const MambaConfig& config, const Scheme& scheme,
             const LanguageModelSites& sites);

  /// The vectors that enter the first block: those of `prefix`, then the tokens'; residual: L × D.
  /// Error on a prefix of another width and on an id outside the vocabulary.
  void enter(Run& run, MatView<const float> prefix, std::span<const int32_t> ids,
             MatView<float> residual) const;
  /// The last norm, which undoes the rotation of the stream unless that is folded into the head.
  void leave(Run& run, MatView<const float> residual, MatView<float> out) const;

  int64_t table_bytes() const { return embedding_.bytes(); }
  int64_t norm_bytes() const { return static_cast<int64_t>(norm_f_.weight.size() * sizeof(float)); }

 private:
  int64_t width_ = 0;
  float embedding_factor_ = 1;
  Scheme scheme_;
  Site embedding_output_;
  SiteList::InputSites head_input_;
  Embedding embedding_;
  StreamNorm norm_f_;
};

}  // namespace scute
