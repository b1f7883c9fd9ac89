#include "scute/regressor/collect_meta.h"

#include <fmt/format.h>

#include <filesystem>
#include <map>

#include "scute/base/hash.h"
#include "scute/base/names.h"
#include "scute/io/file.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

/// The command in canonical form: what influences the result and nothing else, so that the file
/// does not depend on --threads or --out.
std::string canonical_command(const RegressorCheckpoint& checkpoint,
                              const RegressorCollectOptions& o) {
  std::string out = fmt::format(
      "scute collect {} --feat-root {} --calib-target {} --quant-calib-batches {} --batch-size {}",
      base_name(checkpoint.path), base_name(o.features), name_of(o.role), o.batches, o.batch_size);
  if (!o.normalize) out += " --no-normalize";
  if (o.skip > 0) out += fmt::format(" --skip {}", o.skip);
  if (o.take) out += fmt::format(" --take {}", *o.take);
  if (!o.sites.empty()) out += " --sites '" + o.sites + "'";
  out += fmt::format(" --fine {}", o.fine);
  if (o.per_channel) out += " --per-channel";
  return portable_kernels() ? out + " --portable" : out;
}

Json file_json(const std::string& folder, const std::string& file) {
  Json out;
  out["file"] = file;
  out["sha256"] = hash_file((fs::path(folder) / file).string());
  return out;
}

/// {"files": of every sequence of the role, "windows": [[sequence, end], …]}. A window that its
/// sequence lists again, which counts again, has a third number: how often it came before.
Json feature_data(const FeatureFolder& folder, std::span<const WindowPiece> pieces,
                  std::span<const WindowPiece> before) {
  Json out;
  for (const FeatureSequence& sequence : folder.sequences) {
    out["files"].push_back(file_json(folder.path, "json/" + sequence.name + ".json"));
    out["files"].push_back(file_json(folder.path, "npy/" + sequence.name + ".feats.npy"));
  }
  std::map<std::pair<int64_t, int64_t>, int64_t> times;
  const auto count = [&](const WindowPiece& piece, auto&& each) {
    const auto sequence = static_cast<int64_t>(piece.sequence);
    for (const int64_t end : piece.ends) each(sequence, end, times[{sequence, end}]++);
  };
  for (const WindowPiece& piece : before) count(piece, [](int64_t, int64_t, int64_t) {});
  out["windows"] = Json::array();
  for (const WindowPiece& piece : pieces) {
    count(piece, [&](int64_t sequence, int64_t end, int64_t earlier) {
      Json::Array window{sequence, end};
      if (earlier > 0) window.push_back(earlier);
      out["windows"].push_back(std::move(window));
    });
  }
  return out;
}

}  // namespace

Json regressor_collection_meta(const RegressorCheckpoint& checkpoint,
                               const RegressorCollectOptions& options, const FeatureFolder& folder,
                               std::span<const WindowPiece> pieces,
                               std::span<const WindowPiece> before) {
  Json meta;
  int64_t windows = 0;
  for (const WindowPiece& piece : pieces) windows += std::ssize(piece.ends);
  Json data = feature_data(folder, pieces, before);
  const std::string features = hash_features(folder);
  meta["tool"] = "scute " SCUTE_VERSION;
  meta["model"] = base_name(checkpoint.path);
  meta["model_sha256"] = hash_regressor(checkpoint);
  meta["compute"] = "f32";
  meta["instruction_set"] = instruction_set(Compute::f32);
  meta["observer"] = "histogram";
  meta["sites"] = options.sites.empty() ? "*" : options.sites;
  meta["role"] = name_of(options.role);
  meta["samples"] = windows;
  meta["windows_listed"] = folder.windows();
  meta["normalization_sha256"] =
      folder.normalization ? hash_file(folder.normalization->path) : "none";
  meta["features_sha256"] = features;
  meta["windows_sha256"] = sha256(features + data.at("windows", "data").dump());
  meta["data"] = Json::array();
  meta["data"].push_back(std::move(data));
  meta["command"] = canonical_command(checkpoint, options);
  return meta;
}

Json regressor_collection_key(const RegressorCheckpoint& checkpoint,
                              const RegressorCollectOptions& options, const FeatureFolder& folder) {
  Json key;
  key["tool"] = "scute " SCUTE_VERSION;
  key["model"] = hash_regressor(checkpoint);
  key["features"] = hash_features(folder);
  key["normalization"] = folder.normalization ? hash_file(folder.normalization->path) : "none";
  // Names every option.
  key["command"] = canonical_command(checkpoint, options);
  key["instruction_set"] = instruction_set(Compute::f32);
  return key;
}

}  // namespace scute
