// Collect: run documents through a model once and keep exact statistics of every site.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/data/documents.h"
#include "scute/language/model_folder.h"
#include "scute/language/silent_experts.h"
#include "scute/observe/statistics_file.h"
#include "scute/recipe/measure.h"
#include "scute/recipe/part.h"

namespace scute {

/// Every option that influences the result; all are recorded in the file.
struct CollectOptions {
  std::vector<std::string> data;
  WindowOptions windows;
  std::string sites;  ///< glob; empty: all but lm_head:output
  Compute compute = Compute::f32;
  int fine = 8;
  bool per_channel = false;
  int64_t state_every = 64;  ///< 0: no ssm_state_act:steps
  bool ema = false;          ///< also the order-dependent percentile average of Quamba (README.md)
  double sigma = 0.01;
  double alpha = 0.9995;         ///< of the EMA percentile
  int64_t save_activations = 0;  ///< first values of the first sample kept per site
  TextInput input = {};
};

/// The statistics, and what the texts were.
struct CollectResult : Collected {
  std::vector<SilentExperts> silent_experts;  ///< silent_sites by layers
  std::vector<NamedTensor> activations;       ///< for an .npz, when asked for
  int64_t samples = 0, tokens = 0;            ///< finished, also before
  int64_t measured_tokens = 0;                ///< of them, here and now
  int64_t short_documents = 0, empty_documents = 0, documents = 0;
  int64_t samples_wanted = 0;
  BadLines bad_lines = {};
};

/// `part`: what is asked of a collection in parts; then samples, tokens and silent sites of the
/// result are the part's, and its meta that of the whole collection. Error with a moving average or
/// saved activations, which are of one whole pass.
CollectResult collect(const ModelDescription& model, const CollectOptions& options,
                      const PassControl& control, const PartRequest& part = {});

/// The sites of a description without reading its weights.
SiteList list_sites(const ModelDescription& model);

}  // namespace scute
