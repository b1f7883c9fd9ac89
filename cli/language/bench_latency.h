// scute bench --size --ttft --tpot --ttlt --pp --tg: the figures by which low-bit models are
// compared.
#pragma once

#include <optional>
#include <string>

#include "cli/roofline.h"
#include "cli/terminal/job.h"
#include "cli/terminal/options.h"
#include "scute/models/language/language_model.h"

namespace scute::cli {

/// What of it was asked for. Defaults of what is not given: 512 tokens, 128 tokens, 1 sequence.
struct LatencyRequest {
  bool size = false, ttft = false, tpot = false, ttlt = false;
  std::optional<int64_t> prompt_len, gen_len, batch;
  std::optional<int64_t> pp, tg;  ///< tokens

  void add_to(Options& options);
  bool timed() const { return ttft || tpot || ttlt || pp || tg; }
  bool asked() const { return size || timed(); }
  /// Tokens of a sequence at most, and sequences at once.
  int64_t longest() const;
  int64_t sequences() const { return batch.value_or(1); }
};

struct LatencySetting {
  std::string model, compute;  ///< as the answer names them
  LatencyRequest request;
  Job job;
  int64_t repeat = 3;
  const Roofline* roofline = nullptr;  ///< measured in the same run, or null
};

/// Measures and writes what was asked for. `model` has its head.
void bench_latency(const LanguageModel& model, const LatencySetting& setting, Output& out);

}  // namespace scute::cli
