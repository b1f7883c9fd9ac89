// For the tests of experiments: a small model of either family, texts and a log in a folder.
#pragma once

#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <string>

#include "scute/experiments/fields.h"
#include "scute/experiments/log.h"
#include "scute/experiments/run.h"
#include "scute/language/test_models.h"

namespace scute {

/// A small model, texts of random ids, and a log in a folder of their own.
class TrialFixture : public testing::TestWithParam<MixerKind> {
 protected:
  void SetUp() override {
    testing_models::make_model(folder_.path("model"), GetParam(),
                               testing_models::Dialect::state_spaces);
    write_ids("data.npy", {6, 80}, 5);
    write_ids("text.npy", {1, 300}, 6);
    std::string passages;
    Random random(7);
    for (int i = 0; i < 20; ++i) {
      Json item;
      for (int k = 0; k < 12; ++k) item["ids"].push_back(static_cast<int64_t>(random.below(256)));
      item["target"] = 1;
      passages += item.dump() + "\n";
    }
    write_file(folder_.path("words.jsonl"), passages);
  }
  void write_ids(const char* name, Shape shape, uint64_t seed) const {
    Tensor ids(DType::i32, std::move(shape));
    Random random(seed);
    for (int32_t& id : ids.mutable_values<int32_t>()) id = static_cast<int32_t>(random.below(256));
    write_npy(folder_.path(name), ids);
  }

  SubjectOptions options() const {
    SubjectOptions out;
    out.model = folder_.path("model");
    out.collect.data = {folder_.path("data.npy")};
    out.collect.windows.seqlen = 80;
    out.score.perplexity = folder_.path("text.npy");
    out.score.last_word = folder_.path("words.jsonl");
    out.score.windows = {.window = 60, .stride = 60};
    out.log = folder_.path("logs/log.jsonl");
    return out;
  }
  /// Steps that were taken are noted.
  RunHow how() {
    RunHow out;
    out.threads = 1;
    out.local_time = [](const char* format) {
      return std::string(format) == "%Y-%m-%d %H:%M:%S" ? "2026-11-21 10:00:00" : "20261121_100000";
    };
    out.progress = [this](Step step, int64_t, int64_t) {
      const std::lock_guard lock(guard_);
      steps_.insert(step);
    };
    return out;
  }
  static Setting percentile(double alpha) {
    Setting out;
    out.policy = "percentile";
    out.alpha = alpha;
    out.command = "scute run …";
    return out;
  }
  /// Of a model folder, as eval scores it.
  Scores scores_of(const ModelDescription& model) const {
    const ScoreOptions how_scored = options().score;
    return score(load_model(model, {}, LanguageModel::Head::packed),
                 read_score_work(model, how_scored), how_scored, Threads(1));
  }
  Json only_record() const {
    const ExperimentLog log = read_log(options().log);
    EXPECT_EQ(log.entries.size(), 1u);
    return log.entries.back().record(log.path);
  }

  fixtures::Folder folder_;
  std::mutex guard_;
  std::set<Step> steps_;
};
inline std::string family_name(const testing::TestParamInfo<MixerKind>& tested) {
  return tested.param == MixerKind::mamba1 ? "mamba1" : "mamba2";
}

}  // namespace scute
