// scute export --dequantized: a low-bit model as a plain float one; for every kind that is low-bit.
#pragma once

#include <string>

#include "cli/terminal/job.h"
#include "cli/terminal/options.h"
#include "scute/recipe/probe.h"

namespace scute::cli {

struct PlainExportRequest {
  std::string model, folder, dtype = "f32";
  bool plain = false, force = false;
  Job job;

  void declare(Options& options);
  /// What declare() has before and after the folder.
  void declare_form(Options& options);
  void declare_rest(Options& options);
  void check() const;
  DType type() const { return dtype == "f32" ? DType::f32 : DType::bf16; }
};

/// What was written: `names` as whose ("state-spaces"), `what` they are in a sentence, and the
/// bytes of its weight files.
struct PlainExportAnswer {
  std::string names, what;
  int64_t bytes = 0;
  ProbeComparison comparison;
};

/// Gives the exit code.
int show_plain_export(const PlainExportRequest& request, const PlainExportAnswer& answer,
                      Output& out);

}  // namespace scute::cli
