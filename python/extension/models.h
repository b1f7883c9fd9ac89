// Loaded models as Python holds them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/threads.h"
#include "scute/cobra/folder.h"
#include "scute/language/model_folder.h"
#include "scute/regressor/predict.h"

namespace scute::python {

/// How a model runs.
struct HowToRun {
  Execution execution;
  int threads = 0;
};
/// "f32" or "bf16"; "integer" or "simulate". Error naming them otherwise.
HowToRun how_to_run(const std::string& compute, const std::string& backend, int threads);

struct LanguageValue {
  ModelDescription description;
  LanguageModel model;
  std::optional<Tokenizer> tokenizer;
  Threads threads;
};

struct CobraValue {
  CobraDescription description;
  CobraModel model;
  std::optional<Tokenizer> tokenizer;
  Threads threads;
};

/// Of a LanguageValue or a CobraValue; Error when there is none.
template <class Value>
const Tokenizer& tokenizer_of(const Value& value) {
  if (!value.tokenizer) {
    fail(value.description.path, "a tokenizer.json (or tokenizer=FILE)", "none");
  }
  return *value.tokenizer;
}

struct RegressorValue {
  RegressorCheckpoint checkpoint;
  AnyRegressor model;
  Threads threads;
};

/// What dump() shows: sites that match one of the globs, in order, each once; none: all but
/// lm_head:output. Error naming the nearest where a glob matches none.
std::vector<Site> chosen_sites(const SiteList& list, const std::vector<std::string>& globs);
std::vector<std::string> site_names(const SiteList& list);

}  // namespace scute::python
