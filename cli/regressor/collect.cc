// scute collect for regressors: windows of features through the float network once.
#include "scute/regressor/collect.h"

#include <fmt/format.h>

#include <filesystem>

#include "cli/collect_part.h"
#include "cli/collecting.h"
#include "cli/form.h"
#include "cli/regressor/calibration_flags.h"
#include "cli/regressor/memory.h"
#include "cli/terminal/job.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/io/file.h"
#include "scute/recipe/statistics_io.h"

namespace scute::cli {
namespace {

struct RegressorCollectRequest {
  std::string model, out;
  FeatureFlags features;
  MeasuredWindowFlags windows;
  RegressorCollectOptions collect;
  bool force = false;
  PartFlags parts;
  Job job;

  void declare(Options& options);
  void check();
  std::string part() const { return part_name(parts.launched); }
};

void RegressorCollectRequest::declare(Options& options) {
  options.model(model);
  features.declare(options);
  options.statistics_out(out, Options::Need::required);
  options.force(force);
  parts.declare(options);
  windows.declare(options);
  options.part(collect.skip, collect.take);
  options.sites(collect.sites, "all");
  options.fine(collect.fine);
  options.per_channel(collect.per_channel);
  job.declare_memory(options);
  job.declare(options);
}

void RegressorCollectRequest::check() {
  if (features.root.empty()) {
    throw UsageError("expected --feat-root DIR, the features of a regressor's windows");
  }
  check_statistics_name(out, parts);
  collect.features = features.root;
  collect.normalize = !features.no_normalize;
  if (windows.role) collect.role = parse_feature_role(*windows.role);
  collect.batches = windows.batches.value_or(collect.batches);
  collect.batch_size = windows.batch_size.value_or(collect.batch_size);
}

Json as_json(const RegressorCollectRequest& request, const RegressorCollectResult& result,
             double seconds) {
  Json out;
  out["file"] = request.out;
  out["bytes"] = file_size(request.out);
  out["samples"] = result.windows;
  out["samples_wanted"] = result.wanted;
  out["windows_listed"] = result.listed;
  out["pieces"] = result.pieces;
  out["sites"] = std::ssize(result.statistics.sites);
  out["silent_sites"] = array_of(result.silent_sites);
  out["nonfinite_sites"] = array_of(nonfinite_sites(result.statistics));
  out["nan_features"] = result.found.nans;
  out["infinite_features"] = result.found.infinities;
  out["seconds"] = seconds;
  out["interrupted"] = result.interrupted;
  if (request.parts.shard()) out["part"] = part_json(result.statistics);
  if (result.before > 0) out["samples_before"] = result.before;
  return out;
}

std::string as_text(const RegressorCollectRequest& request, const RegressorCollectResult& result,
                    double seconds) {
  std::string out = fmt::format("windows    {} of {} listed ({}), in {}\n", grouped(result.windows),
                                grouped(result.listed), name_of(request.collect.role),
                                count_of(result.pieces, "piece"));
  out += part_text(result.statistics, result.before);
  if (result.found.nans + result.found.infinities > 0) {
    out +=
        fmt::format("WARNING    features that are no numbers: {} NaN (taken as 0), {} infinite\n",
                    grouped(result.found.nans), grouped(result.found.infinities));
  }
  out += fmt::format("sites      {}\n", result.statistics.sites.size());
  out += fmt::format("time       {}, {} windows a second\n", duration_text(seconds),
                     significant(static_cast<double>(result.windows_measured) / seconds, 3));
  out += fmt::format("file       {}, {}\n", request.out, bytes_text(file_size(request.out)));
  return out + nonfinite_text(result.statistics);
}

/// What to type to do the rest: the same command line, with later flags that count instead.
std::string how_to_continue(const Call& call, const RegressorCollectRequest& request,
                            const RegressorCollectResult& result) {
  const int64_t finished = result.pieces;
  Arguments changed{"--skip", fmt::format("{}", request.collect.skip + finished)};
  if (request.collect.take) {
    changed.insert(changed.end(), {"--take", fmt::format("{}", *request.collect.take - finished)});
  }
  return to_continue(call, request.out, changed);
}

int run(RegressorCollectRequest& request, const Call& call, Output& out) {
  CollectionOutput file(request.parts, request.out, request.force,
                        {request.model, request.features.root});
  request.out = file.path();
  const RegressorCheckpoint checkpoint = read_regressor_checkpoint(request.model);
  plan_regressor_collection(request.job, checkpoint,
                            {.root = request.features.root,
                             .roles = {request.collect.role},
                             .normalize = request.collect.normalize},
                            request.out, request.parts.every.any());

  Collecting collecting(request.job, "windows");
  const auto measured = collecting.measure([&](const PassControl& how) {
    return collect_regressor(checkpoint, request.collect, how, file.request());
  });
  if (!measured) return collecting.exit_code();
  const RegressorCollectResult& result = *measured;
  for (const std::string& remark : result.remarks) warn(remark);

  return file.end(result, collecting.exit_code(), request.job, out,
                  {.json = [&] { return as_json(request, result, collecting.seconds()); },
                   .text = [&] { return as_text(request, result, collecting.seconds()); },
                   .sites = request.collect.sites,
                   .interrupted =
                       [&] {
                         return fmt::format("scute: interrupted after {} of {}; {} holds those; {}",
                                            grouped(result.windows),
                                            count_of(result.windows_planned, "window"), request.out,
                                            how_to_continue(call, request, result));
                       }});
}

}  // namespace

Form regressor_collect_form() {
  return form<RegressorCollectRequest>(
      {.kind = ModelKind::regressor,
       .summary = "run windows of features through the float network once, keep exact statistics "
                  "of every site",
       .example = "scute collect tests/golden/regressor/slim.pt --feat-root "
                  "tests/golden/regressor_features --out stats.safetensors"});
}

}  // namespace scute::cli
