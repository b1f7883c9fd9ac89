#include "cli/verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <span>

#include "cli/choose.h"
#include "cli/help.h"
#include "cli/terminal/options.h"
#include "cli/terminal/words.h"
#include "scute/base/names.h"

namespace scute::cli {
namespace {

/// A row a verb, a cell a kind of model; `scute --help` lists them in this order.
std::vector<Verb> make_verbs() {
  return {
      {"demo",
       "the main job on the bundled models: collect, decide, eval, what was found",
       {demo_form()}},
      {"collect",
       "run a model on data once, keep exact statistics of every site",
       {language_collect_form(), cobra_collect_form(), regressor_collect_form()}},
      {"decide", "turn statistics into ranges and scales, without the model", {decide_form()}},
      {"quantize",
       "write a low-bit checkpoint: W8A8, W4A8, W8A16 or W4A16",
       {language_quantize_form(), cobra_quantize_form(), regressor_quantize_form()}},
      {"trace",
       "every static scale of a low-bit model: where it acts, where it comes from",
       {language_trace_form(), cobra_trace_form(), regressor_trace_form()}},
      {"scales",
       "change ranges of a plan or a low-bit model by hand, without calibrating",
       {scales_plan_form(), language_scales_form(), cobra_scales_form(), regressor_scales_form()}},
      {"report",
       "one page with distributions, ranges, heat map, experiments; opens from disk",
       {report_form()}},
      {"export",
       "a GGUF file, a plain checkpoint, or a regressor for hardware",
       {language_export_form(), cobra_export_form(), regressor_export_form()}},
      {"eval",
       "how good a model is, or how far from another: with protocol and standard error",
       {language_eval_form(), cobra_eval_form(), regressor_eval_form()}},
      {"run",
       "one experiment: collect, decide, quantize, score, record; measures only what is new",
       {language_run_form(), cobra_run_form()}},
      {"sweep",
       "every combination of models, rules and bits, each model measured once; ranked",
       {language_sweep_form(), cobra_sweep_form()}},
      {"log",
       "experiments so far: list, filter, show one, compare two, other formats",
       {log_form()}},
      {"sites",
       "list the places that can be observed, or explain a name",
       {language_sites_form(), cobra_sites_form(), regressor_sites_form()}},
      {"merge", "add statistics files into one, as if collected at once", {merge_form()}},
      {"dump",
       "logits and the tensors of chosen sites for given tokens or pictures",
       {language_dump_form(), cobra_dump_form()}},
      {"generate",
       "continue a text, token by token",
       {language_generate_form(), cobra_generate_form()}},
      {"bench",
       "speed and memory on this machine, with a model or random weights",
       {language_bench_form(), cobra_bench_form(), regressor_bench_form()}},
      {"doctor",
       "check machine, model, tokenizer, data; estimate time and memory",
       {language_doctor_form(), cobra_doctor_form(), regressor_doctor_form()}},
  };
}

}  // namespace

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> table = make_verbs();
  return table;
}

const Verb& find_verb(std::string_view name) {
  std::vector<std::string> names;
  for (const Verb& verb : verbs()) {
    if (verb.name == name) return verb;
    names.emplace_back(verb.name);
  }
  throw UsageError(fmt::format("unknown verb \"{}\"{} (scute --help lists them)", name,
                               did_you_mean(name, names)));
}

int run_command(const Arguments& words, Output& out) {
  const Verb& verb = find_verb(words.front());
  const Call call = choose(verb, {words.begin() + 1, words.end()});
  if (call.form != nullptr) return call.form->run(call, out);
  out.write(forms_text(verb));
  return kDone;
}

namespace {

/// The last name of a path; what is none (a glob, a site's name with slashes) as it is.
std::string last_name(std::string_view part) {
  namespace fs = std::filesystem;
  std::error_code unreadable;
  const fs::path path(part);
  const bool known = path.is_absolute() || part.starts_with("./") || part.starts_with("../") ||
                     fs::exists(path, unreadable);
  const std::string name = known ? base_name(part) : "";
  return name.empty() ? std::string(part) : name;
}

/// Of FLAG=PATH and of lists each part.
std::string without_folders(std::string_view word) {
  std::string out;
  while (!word.empty()) {
    const size_t end = std::min(word.find_first_of("=,"), word.size());
    out += last_name(word.substr(0, end));
    if (end < word.size()) out += word[end];
    word.remove_prefix(std::min(end + 1, word.size()));
  }
  return out;
}

/// Flags with a value that say how the work is shared out and kept, not what it is.
constexpr std::string_view kHow[] = {"--shard", "--memory", "--checkpoint-every", "--parts"};

/// Without these flags and their values.
Arguments without(const Arguments& arguments, std::span<const std::string_view> flags) {
  Arguments out;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    const std::string flag = word.starts_with("-") ? flag_name(word) : "";
    if (std::ranges::find(flags, flag) == flags.end()) {
      out.push_back(word);
    } else if (word.find('=') == std::string::npos) {
      ++i;
    }
  }
  return out;
}

}  // namespace

bool Call::gives(std::string_view flag) const {
  for (const FlagInfo& info : form->flags()) {
    if (std::ranges::find(info.names, flag) == info.names.end()) continue;
    return std::ranges::any_of(arguments, [&](const std::string& word) {
      return word.starts_with("-") &&
             std::ranges::find(info.names, flag_name(word)) != info.names.end();
    });
  }
  return false;
}

std::string Call::command() const {
  std::vector<std::string> words{std::string(verb)};
  for (const std::string& word : without(arguments, kHow)) words.push_back(word);
  return shell_command(words);
}

std::string Call::canonical_command() const {
  constexpr std::string_view kWhere[] = {"--threads", "--out", "--output"};
  std::vector<std::string> words{std::string(verb)};
  for (const std::string& word : without(without(arguments, kHow), kWhere)) {
    const std::string flag = word.starts_with("-") ? flag_name(word) : "";
    if (flag == "--force" || flag == "--quiet" || flag == "-q" || flag == "--json") continue;
    words.push_back(without_folders(word));
  }
  return shell_command(words);
}

}  // namespace scute::cli
