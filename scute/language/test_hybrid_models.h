// For tests: the hybrids of test_hybrids.h with weights, and what is made of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "scute/base/random.h"
#include "scute/language/quantize.h"
#include "scute/language/random_model.h"
#include "scute/language/test_hybrids.h"
#include "scute/language/test_models.h"
#include "scute/tensor/tensor.h"

namespace scute::testing_models {

using NamedHybrid = std::pair<std::string, MambaConfig>;

inline std::string hybrid_name(const testing::TestParamInfo<NamedHybrid>& made) {
  std::string name = made.param.first;
  std::erase_if(name, [](char c) { return c == '-' || c == '_'; });
  return name;
}

/// The published ways, and what they leave out: biases on latent experts, scalars on attention's
/// input in Falcon-H1 and an untied head on a stream without a first factor.
inline std::vector<NamedHybrid> all_hybrids() {
  std::vector<NamedHybrid> out = test::small_hybrids();
  MambaConfig latent = out[3].second;
  latent.feed_forward.bias = latent.in_proj_bias = latent.out_proj_bias = true;
  out.emplace_back("nemotron-biases", latent);
  MambaConfig falcon = out[4].second;
  falcon.attention.in_factor = 0.7F;
  falcon.attention.out_bias = falcon.out_proj_bias = falcon.feed_forward.bias = true;
  falcon.gated_norm = MambaConfig::GatedNorm::norm_first;
  falcon.tied_head = false;
  out.emplace_back("falcon_h1-biases", falcon);
  MambaConfig zamba = out[5].second;
  zamba.shared.count = 2;
  zamba.shared.attention_adapters = false;
  zamba.feed_forward.bias = true;
  zamba.blocks[0].shared = 0;
  zamba.blocks[1].shared = 1;
  zamba.blocks[2].shared = 2;
  out.emplace_back("zamba2-blocks", zamba);
  return out;
}

/// A model that is in no folder, of these tensors.
inline ModelDescription embedded(const MambaConfig& config, const Weights& weights) {
  ModelDescription out;
  out.path = out.name = "hybrid";
  out.config = config;
  out.json = Json::object();
  out.embedded = std::make_shared<ModelDescription::Embedded>(
      ModelDescription::Embedded{weights, std::string(64, 'a')});
  return out;
}

/// Random weights in f32, so that folding and rotating lose nothing but f32's own rounding; norms
/// and D between 0.5 and 1.5, the stream's with one channel of `outlier` times that.
inline ModelDescription hybrid_model(const MambaConfig& config, float outlier = 1) {
  const Weights made = random_weights(config, 3);
  Weights weights("hybrid");
  Random random(4);
  for (const std::string& name : made.names()) {
    const bool vary = name.find("norm") != std::string::npos || name.ends_with(".D");
    Tensor tensor = vary ? varied(made.at(name), random) : made.at(name).to_f32();
    const bool stream = name.ends_with(".norm.weight") || name.ends_with(".norm2.weight");
    if (stream && name.find("mixer") == std::string::npos) {
      Tensor planted(DType::f32, tensor.shape());
      std::ranges::copy(tensor.values<float>(), planted.mutable_values<float>().begin());
      planted.mutable_values<float>()[5] *= outlier;
      tensor = planted;
    }
    if (name == "backbone.embedding.weight") {  // of size 1, as streams are
      Tensor table(DType::f32, tensor.shape());
      const auto from = tensor.values<float>();
      const auto to = table.mutable_values<float>();
      for (size_t i = 0; i < to.size(); ++i) to[i] = 40 * from[i];
      tensor = table;
    }
    weights.add(name, std::move(tensor));
  }
  return embedded(config, weights);
}

inline std::vector<int32_t> hybrid_ids(const MambaConfig& config, int64_t count) {
  std::vector<int32_t> out;
  Random random(6);
  for (int64_t i = 0; i < count; ++i) {
    out.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(config.vocabulary))));
  }
  return out;
}

inline std::vector<float> hybrid_logits(const LanguageModel& model, int64_t count = 40) {
  const auto ids = hybrid_ids(model.config(), count);
  Run run;
  State state = model.new_state();
  const auto hidden = run.matrix(count, model.config().width);
  model.hidden(run, ids, state, hidden);
  Tensor out(DType::f32, {count, model.config().vocabulary});
  model.logits(run, hidden, out.mutable_matrix<float>());
  return to_vector(out);
}

/// Largest difference as a share of the largest magnitude.
inline double apart(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference = std::max(difference, std::abs(double{a[i]} - double{b[i]}));
    largest = std::max(largest, std::abs(double{b[i]}));
  }
  EXPECT_EQ(a.size(), b.size());
  EXPECT_GT(largest, 1e-3);
  return difference / largest;
}

/// Root of the mean square of a − b, as a share of b's.
inline double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, all = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += std::pow(double{a[i]} - double{b[i]}, 2);
    all += std::pow(double{b[i]}, 2);
  }
  return std::sqrt(error / all);
}

/// Ids in a file, 8 sequences of 80.
inline std::string hybrid_data(const MambaConfig& config, const Folder& folder) {
  Tensor ids(DType::i32, {8, 80});
  std::ranges::copy(hybrid_ids(config, 640), ids.mutable_values<int32_t>().begin());
  const std::string path = folder.path("ids.npy");
  write_npy(path, ids);
  return path;
}

inline StatisticsSet hybrid_statistics(const ModelDescription& model, const Folder& folder) {
  CollectOptions options;
  options.data = {hybrid_data(model.config, folder)};
  options.windows.samples = 8;
  options.windows.seqlen = 80;
  return collect(model, options, {.threads = 2}).statistics;
}

inline Plan hybrid_plan(const StatisticsSet& statistics) {
  PlanOptions options;
  options.policy = Policy::parse("minmax");
  return make_plan(statistics.sites, options);
}

/// The low-bit model as if its folder had been read.
inline ModelDescription as_read(const LowBitModel& low) {
  Weights weights("low");
  for (const NamedTensor& item : low.tensors) weights.add(item.name, item.tensor);
  ModelDescription out = low.description;
  out.embedded = std::make_shared<ModelDescription::Embedded>(
      ModelDescription::Embedded{std::move(weights), std::string(64, 'b')});
  return out;
}

inline std::vector<std::string> names_of(const LowBitModel& low) {
  std::vector<std::string> out;
  for (const NamedTensor& item : low.tensors) out.push_back(item.name);
  return out;
}

}  // namespace scute::testing_models
