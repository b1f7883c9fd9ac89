// For the low-bit tests: float models of any size in folders, their statistics, and logits.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
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

namespace scute::low_bit {

using fixtures::Folder;

/// Writes a model whose every tensor is f32, so that folding and rotating lose nothing but f32's
/// own rounding. `config` is config.json's text; an untied head is the table, scaled and turned.
inline ModelDescription write_model(const std::string& path, const std::string& config,
                                    const Weights& weights) {
  const ModelDescription description = describe_config(Json::parse(config, path), path);
  std::vector<NamedTensor> tensors;
  for (const std::string& name : weights.names()) {
    tensors.push_back({name, weights.at(name).to_f32()});
  }
  if (!description.config.tied_head && !weights.contains("lm_head.weight")) {
    const Tensor table = weights.at("backbone.embedding.weight").to_f32();
    Tensor head(DType::f32, table.shape());
    const auto from = table.matrix<float>();
    const auto to = head.mutable_matrix<float>();
    for (int64_t v = 0; v < from.rows; ++v) {
      for (int64_t d = 0; d < from.cols; ++d) {
        to.row(v)[d] = 0.5f * from.row((v + 7) % from.rows)[d] + 0.5f * from.row(v)[d];
      }
    }
    tensors.push_back({"lm_head.weight", std::move(head)});
  }
  std::filesystem::create_directories(path);
  write_safetensors(path + "/model.safetensors", tensors, {{"format", "pt"}});
  write_file(path + "/config.json", config);
  return describe_model(path);
}

/// Random weights, but norms and D between 0.5 and 1.5, so that a fold in the wrong place is seen.
inline ModelDescription random_model(const std::string& path, const std::string& config) {
  const ModelDescription description = describe_config(Json::parse(config, path), path);
  Weights weights = random_weights(description.config, 3);
  Random random(4);
  for (const std::string& name : weights.names()) {
    if (name.find("norm") == std::string::npos && !name.ends_with(".D")) continue;
    const bool wide = name.ends_with(".D") && description.config.D_per_channel;
    Tensor varied(DType::f32, wide ? Shape{description.config.inner} : weights.at(name).shape());
    for (float& x : varied.mutable_values<float>()) x = static_cast<float>(0.5 + random.uniform());
    weights.erase(name);
    weights.add(name, std::move(varied));
  }
  return write_model(path, config, weights);
}

/// Statistics of 8 random sequences of 80 tokens: long enough for one ssm_state_act:steps each.
inline StatisticsSet random_statistics(const ModelDescription& model, const Folder& folder) {
  Tensor ids(DType::i32, {8, 80});
  Random random(5);
  for (int32_t& id : ids.mutable_values<int32_t>()) {
    id = static_cast<int32_t>(random.below(static_cast<uint64_t>(model.config.vocabulary)));
  }
  write_npy(folder.path("ids.npy"), ids);
  CollectOptions options;
  options.data = {folder.path("ids.npy")};
  options.windows.samples = 8;
  options.windows.seqlen = 80;
  return collect(model, options, {.threads = 2}).statistics;
}

inline Plan plan_of(const StatisticsSet& statistics, const char* policy = "auto") {
  PlanOptions options;
  options.policy = Policy::parse(policy);
  return make_plan(statistics.sites, options);
}

/// Every layer and the head in floats: what folding and rotating alone do.
inline LowBitModel all_float(const ModelDescription& model, QuantizeOptions options = {}) {
  options.format = LayerFormat::parse("FP", "");
  return quantize(model, Plan{}, nullptr, nullptr, options);
}

inline Tensor logits_of(const LanguageModel& model, std::span<const int32_t> ids) {
  Run run;
  const auto L = static_cast<int64_t>(ids.size());
  State state = model.new_state();
  const auto hidden = run.matrix(L, model.config().width);
  model.hidden(run, ids, state, hidden);
  Tensor out(DType::f32, {L, model.config().vocabulary});
  model.logits(run, hidden, out.mutable_matrix<float>());
  return out;
}

/// Pearson's correlation of all elements.
inline double correlation(const Tensor& a, const Tensor& b) {
  const auto x = a.values<float>(), y = b.values<float>();
  const auto n = static_cast<double>(x.size());
  double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    mx += static_cast<double>(x[i]) / n;
    my += static_cast<double>(y[i]) / n;
  }
  for (size_t i = 0; i < x.size(); ++i) {
    const double u = static_cast<double>(x[i]) - mx, v = static_cast<double>(y[i]) - my;
    xx += u * u;
    yy += v * v;
    xy += u * v;
  }
  return xy / std::sqrt(xx * yy);
}

inline LanguageModel plain(const ModelDescription& model) {
  return load_model(model, Execution{}, LanguageModel::Head::packed);
}

inline const Tensor* find(const LowBitModel& model, const std::string& name) {
  for (const NamedTensor& item : model.tensors) {
    if (item.name == name) return &item.tensor;
  }
  return nullptr;
}

}  // namespace scute::low_bit
