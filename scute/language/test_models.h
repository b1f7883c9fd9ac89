// For tests: small models with random weights and norms, in a folder of their own.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <vector>

#include "scute/base/random.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/io/test_npy.h"
#include "scute/io/testing.h"
#include "scute/language/collect.h"
#include "scute/language/quantize.h"
#include "scute/language/random_model.h"

namespace scute::testing_models {

using fixtures::Folder;

enum class Dialect { state_spaces, hugging_face_untied };

inline std::string config_text(MixerKind mixer, Dialect dialect) {
  const bool one = mixer == MixerKind::mamba1;
  if (dialect == Dialect::state_spaces) {
    return fmt::format(
        R"({{"d_model": 64, "n_layer": 2, "vocab_size": 256, "ssm_cfg": {{"layer": "{}"}}}})",
        one ? "Mamba1" : "Mamba2");
  }
  return fmt::format(
      R"({{"model_type": "{}", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 256,
          "state_size": {}, {} "tie_word_embeddings": false, "torch_dtype": "bfloat16"}})",
      one ? "mamba" : "mamba2", one ? 16 : 128,
      one ? "" : R"("num_heads": 2, "head_dim": 64, "n_groups": 1,)");
}

/// Norms and D between 0.5 and 1.5, so that a norm folded wrongly is seen.
inline Tensor varied(const Tensor& tensor, Random& random) {
  Tensor out(DType::f32, tensor.shape());
  for (float& x : out.mutable_values<float>()) x = static_cast<float>(0.5 + random.uniform());
  return out;
}

/// Writes a model of 2 layers, D = 64, V = 256, and describes it.
inline ModelDescription make_model(const std::string& path, MixerKind mixer, Dialect dialect) {
  const MambaConfig config =
      named_config(mixer == MixerKind::mamba1 ? "mamba-tiny" : "mamba2-tiny");
  Weights weights = random_weights(config, 3);
  Random random(4);
  std::vector<NamedTensor> tensors;
  for (const std::string& name : weights.names()) {
    const bool vary = name.find("norm") != std::string::npos || name.ends_with(".D");
    Tensor tensor = vary ? varied(weights.at(name), random) : weights.at(name);
    const bool table = name == "backbone.embedding.weight";
    if (dialect == Dialect::hugging_face_untied && table) {
      Tensor head(DType::f32, tensor.shape());
      for (float& x : head.mutable_values<float>()) x = static_cast<float>(random.normal());
      tensors.push_back({"lm_head.weight", head});
      tensors.push_back({"backbone.embeddings.weight", tensor});
    } else {
      tensors.push_back({name, std::move(tensor)});
    }
  }
  std::filesystem::create_directories(path);
  write_safetensors(path + "/model.safetensors", tensors, {{"format", "pt"}});
  write_file(path + "/config.json", config_text(mixer, dialect));
  return describe_model(path);
}

/// Statistics of 8 random sequences of 80 tokens: long enough for one ssm_state_act:steps each.
inline StatisticsSet make_statistics(const ModelDescription& model, const std::string& ids_file) {
  Tensor ids(DType::i32, {8, 80});
  Random random(5);
  for (int32_t& id : ids.mutable_values<int32_t>()) id = static_cast<int32_t>(random.below(256));
  write_npy(ids_file, ids);
  CollectOptions options;
  options.data = {ids_file};
  options.windows.samples = 8;
  options.windows.seqlen = 80;
  return collect(model, options, {.threads = 1}).statistics;
}

/// Quantizes with everything decided by `policy` and writes the folder.
inline LowBitModel make_low_bit(const ModelDescription& model, const StatisticsSet& statistics,
                                const QuantizeOptions& options, const std::string& path,
                                const char* policy = "percentile:0.99") {
  PlanOptions plan;
  plan.policy = Policy::parse(policy);
  LowBitModel out =
      quantize(model, make_plan(statistics.sites, plan), &statistics, nullptr, options);
  write_low_bit(out, path, false);
  return out;
}

}  // namespace scute::testing_models
