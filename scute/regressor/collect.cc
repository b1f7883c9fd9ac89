#include "scute/regressor/collect.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/regressor/collect_meta.h"
#include "scute/regressor/predict.h"

namespace scute {
namespace {

void check(const RegressorCollectOptions& options) {
  require_at_least("--quant-calib-batches", options.batches, 0);
  require_at_least("--batch-size", options.batch_size, 1);
  require_at_least("--skip", options.skip, 0);
  require_at_least("--take", options.take.value_or(1), 1);
}

int64_t windows_in(std::span<const WindowPiece> pieces) {
  int64_t count = 0;
  for (const WindowPiece& piece : pieces) count += std::ssize(piece.ends);
  return count;
}

/// After --skip, at most --take.
std::vector<WindowPiece> without_skipped(const std::vector<WindowPiece>& pieces,
                                         const RegressorCollectOptions& options) {
  const int64_t all = std::ssize(pieces), skipped = std::min(options.skip, all);
  const int64_t count = std::min(options.take.value_or(all), all - skipped);
  if (count == 0) {
    fail("--skip", fmt::format("fewer than {}, the pieces of up to 64 windows that there are", all),
         fmt::format("{}", options.skip));
  }
  const auto first = pieces.begin() + skipped;
  return {first, first + count};
}

}  // namespace

SiteList list_regressor_sites(const RegressorConfig& config) { return RegressorSites(config).list; }

RegressorCollectResult collect_regressor(const RegressorCheckpoint& checkpoint,
                                         const RegressorCollectOptions& options,
                                         const PassControl& control, const PartRequest& part) {
  check(options);
  const std::vector<Site> sites =
      list_regressor_sites(checkpoint.config)
          .match(options.sites.empty() ? "*" : options.sites, "--sites");
  const FeatureFolder folder =
      read_feature_folder(options.features, {.role = options.role,
                                             .features = checkpoint.config.features,
                                             .window = checkpoint.config.window,
                                             .normalize = options.normalize});
  const int64_t most =
      checked_mul(options.batches, options.batch_size, "--quant-calib-batches × --batch-size");
  const std::vector<WindowPiece> all = calibration_pieces(folder, most);
  std::vector<WindowPiece> pieces = without_skipped(all, options);
  PartWork work(part, part.any() ? regressor_collection_key(checkpoint, options, folder) : "");
  RegressorCollectResult result;
  result.before = work.finished();
  if (work.was_complete()) {
    result.statistics = *part.begun;
    result.was_complete = true;
    return result;
  }
  std::vector<WindowPiece> mine;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (work.takes(static_cast<int64_t>(i))) mine.push_back(pieces[i]);
  }

  result.listed = folder.windows();
  result.remarks = checkpoint.remarks;
  result.remarks.insert(result.remarks.end(), folder.remarks.begin(), folder.remarks.end());
  result.wanted = windows_in(all);
  result.windows_planned = windows_in(mine);
  Measurement measurement(sites, {.fine = options.fine, .per_channel = options.per_channel},
                          control, result.windows_planned);
  const auto meta = [&] {
    return regressor_collection_meta(
        checkpoint, options, folder, pieces,
        std::span(all).first(static_cast<size_t>(std::min(options.skip, std::ssize(all)))));
  };
  const int64_t planned = std::ssize(pieces);
  work.begin(measurement, planned, options.fine, meta);
  result.pieces =
      measure_pieces(build_regressor(checkpoint), folder, mine, measurement, result.found);
  work.add(result.pieces);
  if (work.finished() == 0 && !mine.empty()) {
    fail("collect", "at least one finished piece", "an interruption");
  }
  result.windows = windows_in(std::span(mine).first(static_cast<size_t>(result.pieces)));
  if (!part.shard) pieces.resize(static_cast<size_t>(work.finished()));
  result.interrupted = measurement.interrupted();
  result.silent_sites = measurement.silent_sites();
  result.statistics.fine = options.fine;
  result.statistics.sites = measurement.take();
  result.statistics.meta = meta();
  work.mark(result.statistics, planned, result.silent_sites, result.interrupted);
  return result;
}

}  // namespace scute
