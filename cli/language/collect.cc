// scute collect: documents through a model once, statistics of every site.
#include <fmt/format.h>

#include <algorithm>

#include <filesystem>

#include "cli/collect_part.h"
#include "cli/collecting.h"
#include "cli/described.h"
#include "cli/form.h"
#include "cli/language/memory.h"
#include "cli/language/quantize_flags.h"
#include "cli/terminal/job.h"
#include "cli/terminal/options.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"
#include "scute/language/collect.h"
#include "scute/language/silent_experts.h"
#include "scute/recipe/statistics_io.h"

namespace scute::cli {
namespace {

struct CollectRequest {
  std::string model, out, observer = "histogram";
  CollectOptions collect;
  bool force = false;
  PartFlags parts;
  Job job;

  void declare(Options& options);
  void check();
  std::string part() const { return part_name(parts.launched); }
};

void CollectRequest::declare(Options& options) {
  options.model(model);
  options.texts(
      "--data", collect.data, "FILE...",
      ".jsonl (a document a line, \"text\" or \"ids\"), .txt (a document a paragraph block) "
      "or .npy (token ids, a document a row)",
      Options::Need::required);
  options.last_reads();
  options.statistics_out(out, Options::Need::required);
  options.force(force);
  parts.declare(options);
  declare_windows(options, collect.windows, "--shuffle,--seed");
  options.sites(collect.sites, "all but lm_head:output");
  options.fine(collect.fine);
  options.per_channel(collect.per_channel);
  options.state_every(collect.state_every);
  options.integer("--save-activations", collect.save_activations, {.least = 0},
                  "keep the first N values a site shows in the first sample, as .npz beside --out");
  options.choice("--observer", observer, {"histogram", "ema"},
                 "ema: also the order-dependent moving average of each sample's percentile");
  options.number("--sigma", collect.sigma, 0, 1, "weight of a new sample in that average");
  options.compute(collect.compute);
  options.text_input(collect.input);
  job.declare_memory(options);
  job.declare(options);
  options.only_with({"--sigma"}, "--observer ema", [this] { return observer == "ema"; });
}

void CollectRequest::check() {
  check_statistics_name(out, parts);
  collect.ema = observer == "ema";
  const char* one_pass = collect.ema                    ? "--observer ema"
                         : collect.save_activations > 0 ? "--save-activations"
                                                        : nullptr;
  if (one_pass != nullptr && (parts.shard() || parts.every.any())) {
    throw UsageError(fmt::format(
        "{}: expected no --shard and no --checkpoint-every beside it, because it is of one pass "
        "from the first sample on; found both",
        one_pass));
  }
}

std::string activations_path(const CollectRequest& request, const std::string& model) {
  const auto folder = std::filesystem::path(request.out).parent_path();
  return (folder / fmt::format("activations_{}_pa1_{}.npz", model, local_time("%Y%m%d_%H%M%S")))
      .string();
}

Json silent_json(const CollectResult& result) {
  Json out = Json::array();
  for (const SilentExperts& silent : result.silent_experts) {
    Json one;
    one["layer"] = silent.layer;
    one["of"] = silent.of;
    one["experts"] = Json::array();
    for (const int64_t expert : silent.experts) one["experts"].push_back(expert);
    one["samples_to_reach_them"] =
        samples_to_reach(result.samples, static_cast<int64_t>(silent.experts.size()));
    out.push_back(std::move(one));
  }
  return out;
}

Json as_json(const CollectRequest& request, const CollectResult& result,
             const std::string& activations, double seconds) {
  Json out;
  out["file"] = request.out;
  out["bytes"] = file_size(request.out);
  out["samples"] = result.samples;
  out["samples_wanted"] = result.samples_wanted;
  out["tokens"] = result.tokens;
  out["documents"] = result.documents;
  out["short_documents"] = result.short_documents;
  out["empty_documents"] = result.empty_documents;
  out["bad_lines"] = result.bad_lines.count;
  out["special_tokens"] = request.collect.input.special_tokens;
  out["sites"] = static_cast<int64_t>(result.statistics.sites.size());
  out["silent_sites"] = array_of(result.silent_sites);
  out["silent_experts"] = silent_json(result);
  out["nonfinite_sites"] = array_of(nonfinite_sites(result.statistics));
  if (!activations.empty()) out["activations"] = activations;
  out["seconds"] = seconds;
  out["tokens_per_second"] = static_cast<double>(result.measured_tokens) / seconds;
  out["interrupted"] = result.interrupted;
  if (request.parts.shard()) out["part"] = part_json(result.statistics);
  if (result.before > 0) out["samples_before"] = result.before;
  return out;
}

/// Fewer samples than wanted: which documents there were, and how to get more windows.
std::string shortage(const CollectResult& result, const WindowOptions& windows) {
  if (result.interrupted || result.samples >= result.samples_wanted) return "";
  const bool all = windows.skip == 0 && !windows.take;
  return fmt::format("           {} for {}: {}; --windows-per-document {} cuts more\n",
                     count_of(all ? result.documents : result.samples, "document"),
                     count_of(result.samples_wanted, "sample"),
                     windows.windows_per_document == 1 ? "all used once" : "all used",
                     windows.windows_per_document * 2);
}

std::string as_text(const CollectRequest& request, const CollectResult& result,
                    const std::string& activations, double seconds) {
  std::string out =
      fmt::format("samples    {} of at most {} tokens, {} tokens in all\n", grouped(result.samples),
                  grouped(request.collect.windows.seqlen), grouped(result.tokens));
  out += part_text(result.statistics, result.before);
  if (!request.parts.shard()) out += shortage(result, request.collect.windows);
  out += fmt::format("documents  {}; {} short of a full window, {} empty\n",
                     grouped(result.documents), result.short_documents, result.empty_documents);
  out += fmt::format("protocol   {}\n", special_tokens_text(request.collect.input));
  out += fmt::format("sites      {}\n", result.statistics.sites.size());
  out += fmt::format(
      "time       {}, {} tokens a second\n", duration_text(seconds),
      grouped(static_cast<int64_t>(static_cast<double>(result.measured_tokens) / seconds)));
  out += fmt::format("file       {}, {}\n", request.out, bytes_text(file_size(request.out)));
  if (!activations.empty()) out += fmt::format("values     {}\n", activations);
  const auto missed = missed_sites(result.silent_sites, request.collect.sites);
  const auto is_steps = [](const std::string& site) { return site.ends_with(":steps"); };
  if (std::ranges::any_of(result.silent_sites, is_steps) &&
      std::ranges::none_of(missed, is_steps)) {
    out += fmt::format("note       no window reached {} tokens: nothing seen at …:steps\n",
                       request.collect.state_every);
  }
  if (request.parts.shard()) return out + nonfinite_text(result.statistics);
  for (const SilentExperts& silent : result.silent_experts) {
    out += fmt::format("WARNING    {}\n", sentence_of(silent, result.samples));
  }
  return out + nonfinite_text(result.statistics);
}

/// What to type to do the rest of the `planned` samples: the same command line, with later flags
/// that count instead.
std::string how_to_continue(const Call& call, const CollectRequest& request,
                            const CollectResult& result, int64_t planned) {
  const WindowOptions& windows = request.collect.windows;
  if (request.collect.ema) {
    return "a moving average cannot be merged with that of the rest: start again";
  }
  if (windows.windows_per_document > 1 || result.empty_documents > 0) {
    return "where documents are empty or give several windows, the rest cannot be told by --skip: "
           "start again";
  }
  const int64_t finished = result.samples;
  Arguments changed{"--skip", fmt::format("{}", windows.skip + finished), "--samples",
                    fmt::format("{}", planned - finished)};
  if (windows.take) {
    changed.insert(changed.end(), {"--take", fmt::format("{}", *windows.take - finished)});
  }
  return to_continue(call, request.out, changed);
}

/// Before the pass: data that hold ids alone need none, and then there may be none.
void check_tokenizer(const ModelDescription& model, const TextInput& input) {
  const auto tokenizer = load_tokenizer(model, input);
  if (!tokenizer) return;
  const std::string doubt = tokenizer_doubt(tokenizer->size(), model.config.vocabulary);
  if (doubt.empty()) return;
  warn(fmt::format("the tokenizer has {} ids, {} {} rows; {}", grouped(tokenizer->size()),
                   model.name, grouped(model.config.vocabulary), doubt));
}

int run(CollectRequest& request, const Call& call, Output& out) {
  std::vector<std::string> inputs = request.collect.data;
  inputs.insert(inputs.end(), {request.model, request.collect.input.tokenizer});
  CollectionOutput file(request.parts, request.out, request.force, inputs);
  request.out = file.path();
  const ModelDescription model = described(request.model, request.job.quiet);

  check_tokenizer(model, request.collect.input);
  const MemoryPlan plan = planned_collection(request.job, model, request.collect, request.out,
                                             request.parts.every.any());
  Collecting collecting(request.job, "samples");
  const auto measured = collecting.measure([&](PassControl how) {
    how.threads = plan.threads;
    how.by_layers = plan.by_layers;
    return collect(model, request.collect, how, file.request());
  });
  if (!measured) return collecting.exit_code();
  const CollectResult& result = *measured;
  warn_of(result.bad_lines);

  std::string activations;
  return file.end(
      result, collecting.exit_code(), request.job, out,
      {.json = [&] { return as_json(request, result, activations, collecting.seconds()); },
       .text = [&] { return as_text(request, result, activations, collecting.seconds()); },
       .sites = request.collect.sites,
       .interrupted =
           [&] {
             const int64_t planned = result.before + collecting.planned();
             return fmt::format("scute: interrupted after {} of {}; {} holds those; {}",
                                grouped(result.samples), count_of(planned, "sample"), request.out,
                                how_to_continue(call, request, result, planned));
           },
       .beside =
           [&] {
             if (result.activations.empty()) return;
             activations = activations_path(request, model.name);
             write_npz(activations, result.activations);
           }});
}

}  // namespace

Form language_collect_form() {
  return form<CollectRequest>(
      {.kind = ModelKind::language,
       .summary =
           "run documents through a language model once, keep exact statistics of every site",
       .example = "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl "
                  "--samples 32 --out stats.safetensors"});
}

}  // namespace scute::cli
