#include "scute/regressor/collect.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

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

/// Of the sequences that have pieces `before` and none to come: those are counted as they are
/// measured.
void count_non_finite(const FeatureFolder& folder, const std::vector<WindowPiece>& before,
                      const std::vector<WindowPiece>& mine, const Threads& threads,
                      NonFinite& found) {
  std::set<size_t> sequences;
  for (const WindowPiece& piece : before) sequences.insert(piece.sequence);
  for (const WindowPiece& piece : mine) sequences.erase(piece.sequence);
  for (const size_t sequence : sequences) {
    normalized_frames(folder.sequences[sequence], folder.normalization, found, threads);
  }
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
  if (work.was_complete(result)) return result;
  std::vector<WindowPiece> before, mine;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (work.has(static_cast<int64_t>(i))) before.push_back(pieces[i]);
    if (work.takes(static_cast<int64_t>(i))) mine.push_back(pieces[i]);
  }

  result.listed = folder.windows();
  result.remarks = checkpoint.remarks;
  result.remarks.insert(result.remarks.end(), folder.remarks.begin(), folder.remarks.end());
  result.wanted = windows_in(all);
  result.windows_planned = windows_in(before) + windows_in(mine);
  Measurement measurement(sites, {.fine = options.fine, .per_channel = options.per_channel},
                          control, windows_in(mine));
  const auto meta = [&] {
    return regressor_collection_meta(
        checkpoint, options, folder, pieces,
        std::span(all).first(static_cast<size_t>(std::min(options.skip, std::ssize(all)))));
  };
  const int64_t planned = std::ssize(pieces);
  work.begin(measurement, planned, options.fine, meta);
  count_non_finite(folder, before, mine, measurement.threads(), result.found);
  const int64_t measured =
      measure_pieces(build_regressor(checkpoint), folder, mine, measurement, result.found);
  work.add(measured);
  result.pieces = work.finished();
  if (work.finished() == 0 && !mine.empty()) {
    fail("collect", "at least one finished piece", "an interruption");
  }
  result.windows_measured = windows_in(std::span(mine).first(static_cast<size_t>(measured)));
  result.windows = windows_in(before) + result.windows_measured;
  if (!part.shard) pieces.resize(static_cast<size_t>(work.finished()));
  work.finish(result, planned);
  return result;
}

}  // namespace scute
