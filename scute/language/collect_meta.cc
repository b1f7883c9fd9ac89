#include "scute/language/collect_meta.h"

#include <fmt/format.h>

#include <filesystem>

#include "scute/base/hash.h"
#include "scute/language/calibration.h"

namespace scute {
namespace {

/// The command in canonical form: what influences the result and nothing else, so that the file
/// does not depend on --threads or --out.
std::string canonical_command(const ModelDescription& model, const CollectOptions& o) {
  std::string out = "scute collect " + model.name;
  for (const std::string& path : o.data) {
    out += " --data " + std::filesystem::path(path).filename().string();
  }
  const WindowOptions& w = o.windows;
  out += fmt::format(" --samples {} --seqlen {} --shuffle {} --skip {}", w.samples, w.seqlen,
                     w.shuffle ? std::to_string(*w.shuffle) : "none", w.skip);
  if (w.take) out += fmt::format(" --take {}", *w.take);
  out += fmt::format(" --windows-per-document {} --compute {} --fine {} --state-every {}",
                     w.windows_per_document, o.compute == Compute::f32 ? "f32" : "bf16", o.fine,
                     o.state_every);
  out += o.input.flags();
  if (!o.sites.empty()) out += " --sites '" + o.sites + "'";
  if (o.per_channel) out += " --per-channel";
  if (o.ema) out += fmt::format(" --observer ema --sigma {}", o.sigma);
  return portable_kernels() ? out + " --portable" : out;
}

}  // namespace

Json collection_meta(const ModelDescription& model, const CollectOptions& options,
                     const Windows& windows, int64_t tokens) {
  Json meta = Json::object();
  meta["tool"] = "scute " SCUTE_VERSION;
  meta["model"] = model.name;
  meta["model_sha256"] = hash_model(model);
  meta["tokenizer_sha256"] = hash_tokenizer(model, options.input.tokenizer);
  meta["compute"] = options.compute == Compute::f32 ? "f32" : "bf16";
  meta["instruction_set"] = instruction_set(options.compute);
  meta["observer"] = options.ema ? "ema" : "histogram";
  meta["seqlen"] = options.windows.seqlen;
  meta["state_every"] = options.state_every;
  meta["sites"] = options.sites.empty() ? "* without lm_head:output" : options.sites;
  meta["samples"] = static_cast<int64_t>(windows.windows.size());
  meta["samples_wanted"] = options.windows.samples;
  meta["tokens"] = tokens;
  meta["documents"] = windows.documents;
  meta["short_documents"] = windows.short_documents;
  meta["empty_documents"] = windows.empty_documents;
  meta["shuffle"] =
      options.windows.shuffle ? Json(static_cast<int64_t>(*options.windows.shuffle)) : Json("none");
  meta["windows_sha256"] = hash_windows(windows);
  meta["data"] = Json::array();
  meta["data"].push_back(data_json(options.data, windows, options.input));
  record_input(options.input, windows.bad_lines, meta);
  meta["command"] = canonical_command(model, options);
  return meta;
}

Json collection_key(const std::string& model_sha256, const std::string& tokenizer_sha256,
                    const CollectOptions& options) {
  const WindowOptions& windows = options.windows;
  const auto or_null = [](const auto& value) {
    return value ? Json(static_cast<int64_t>(*value)) : Json();
  };
  Json key;
  key["tool"] = "scute " SCUTE_VERSION;
  key["model"] = model_sha256;
  key["tokenizer"] = tokenizer_sha256;
  key["data"] = Json::array();
  for (const std::string& file : options.data)
    key["data"].push_back(options.input.files->sha256(file));
  key["samples"] = windows.samples;
  key["seqlen"] = windows.seqlen;
  key["shuffle"] = or_null(windows.shuffle);
  key["skip"] = windows.skip;
  key["take"] = or_null(windows.take);
  key["windows_per_document"] = windows.windows_per_document;
  key["sites"] = options.sites;
  key["compute"] = options.compute == Compute::f32 ? "f32" : "bf16";
  key["fine"] = options.fine;
  key["per_channel"] = options.per_channel;
  key["state_every"] = options.state_every;
  // Absent when nothing is unusual, so that statistics kept before are found again.
  if (const std::string flags = options.input.flags(); !flags.empty()) key["input"] = flags;
  if (options.ema) key["ema"] = Json::Array{options.sigma, options.alpha};
  key["instruction_set"] = instruction_set(options.compute);
  return key;
}

}  // namespace scute
