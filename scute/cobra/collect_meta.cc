#include "scute/cobra/collect_meta.h"

#include <fmt/format.h>

#include <filesystem>

#include "scute/base/hash.h"
#include "scute/base/names.h"
#include "scute/data/pictures.h"
#include "scute/io/file.h"

namespace scute {
namespace {

std::string canonical_command(const CobraDescription& model, const CobraCollectOptions& o,
                              int64_t pictures) {
  const bool sampled = o.max_samples_per_batch > 0;
  std::string out =
      fmt::format("scute collect {} --images {} --batches {} --batch-size {} --targets {}",
                  model.name, base_name(o.images), sampled ? o.batches : pictures,
                  sampled ? o.batch_size : 1, joined(o.targets, ","));
  if (!o.sites.empty()) out += " --sites '" + o.sites + "'";
  if (sampled) out += fmt::format(" --max-samples-per-batch {}", o.max_samples_per_batch);
  if (!o.text.prompts.empty()) {
    out += " --prompts " + base_name(o.text.prompts) + o.text.input.flags();
  } else if (o.text.random) {
    out += fmt::format(" --text-len {} --seed {}", o.text.length, o.text.seed);
  } else {
    out += " --no-random-text";
  }
  out += fmt::format(" --compute {} --fine {}", o.compute == Compute::f32 ? "f32" : "bf16", o.fine);
  if (o.per_channel) out += " --per-channel";
  return portable_kernels() ? out + " --portable" : out;
}

Json picture_data(const std::string& folder, std::span<const PictureReader::Used> used) {
  Json data;
  for (const auto& [path, hash] : used) {
    Json file;
    file["file"] = std::filesystem::relative(path, folder).string();
    file["sha256"] = hash;
    data["files"].push_back(std::move(file));
  }
  return data;
}

}  // namespace

Json cobra_collection_meta(const CobraDescription& model, const CobraCollectOptions& options,
                           const CobraCollectResult& result,
                           std::span<const PictureReader::Used> used, const PictureTexts& texts) {
  Json meta;
  meta["tool"] = "scute " SCUTE_VERSION;
  meta["model"] = model.name;
  meta["model_sha256"] = hash_cobra(model);
  meta["tokenizer_sha256"] = hash_tokenizer(model.language, options.text.input.tokenizer);
  meta["compute"] = options.compute == Compute::f32 ? "f32" : "bf16";
  meta["instruction_set"] = instruction_set(options.compute);
  meta["observer"] = options.max_samples_per_batch > 0 ? "sampled histogram" : "histogram";
  meta["state_every"] = options.state_every;
  meta["targets"] = Json::array();
  for (const std::string& target : options.targets) meta["targets"].push_back(target);
  meta["sites"] = options.sites;
  meta["samples"] = result.pictures;
  meta["tokens"] = result.text_tokens;
  meta["pictures_listed"] = result.listed;
  meta["pictures_unused"] = result.unused;
  if (result.interrupted) meta["interrupted"] = true;
  meta["pictures_corrupt"] = std::ssize(result.corrupt);
  meta["text"] = texts.origin();
  if (options.max_samples_per_batch > 0) {
    Json sampling;
    sampling["values_per_batch"] = options.max_samples_per_batch;
    sampling["batch_size"] = options.batch_size;
    sampling["seed"] = static_cast<int64_t>(options.text.seed);
    sampling["how"] = "one value of each of equal pieces of a picture's tensor, extremes included";
    meta["sampling"] = std::move(sampling);
  }
  meta["data"] = Json::array();
  meta["data"].push_back(picture_data(options.images, used));
  meta["command"] = canonical_command(model, options, result.pictures);
  return meta;
}

std::string hash_pictures(const std::string& folder) {
  Sha256 all;
  for (const std::string& path : list_pictures(folder)) {
    all.update(fmt::format("{}  {}\n", hash_file(path),
                           std::filesystem::path(path).lexically_relative(folder).string()));
  }
  return all.hex();
}

Json text_key(const TextOptions& text) {
  Json out;
  out["prompts"] = text.prompts.empty() ? Json() : Json(text.input.files->sha256(text.prompts));
  out["random"] = text.random;
  out["length"] = text.length;
  out["seed"] = static_cast<int64_t>(text.seed);
  if (const std::string flags = text.input.flags(); !flags.empty()) out["input"] = flags;
  return out;
}

Json cobra_collection_key(const std::string& model_sha256, const std::string& tokenizer_sha256,
                          const std::string& pictures_sha256, const CobraCollectOptions& options) {
  Json key;
  key["tool"] = "scute " SCUTE_VERSION;
  key["model"] = model_sha256;
  key["tokenizer"] = tokenizer_sha256;
  key["pictures"] = pictures_sha256;
  key["targets"] = Json::array();
  for (const std::string& target : options.targets) key["targets"].push_back(target);
  key["sites"] = options.sites;
  key["batches"] = options.batches;
  key["batch_size"] = options.batch_size;
  key["max_samples_per_batch"] = options.max_samples_per_batch;
  key["text"] = text_key(options.text);
  key["compute"] = options.compute == Compute::f32 ? "f32" : "bf16";
  key["fine"] = options.fine;
  key["per_channel"] = options.per_channel;
  key["state_every"] = options.state_every;
  key["instruction_set"] = instruction_set(options.compute);
  return key;
}

}  // namespace scute
