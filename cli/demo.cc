// scute demo: the main job on the bundled models, each step the command that does it.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "cli/form.h"
#include "cli/terminal/job.h"
#include "cli/terminal/options.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/recipe/kind.h"

namespace scute::cli {
namespace {

namespace fs = std::filesystem;

struct DemoRequest {
  std::string examples, model_dir, out = "scute-demo";
  Job job;

  void declare(Options& options) {
    options.text("--model-dir", model_dir, "FOLDER", "one model; without it both bundled ones");
    options.last_reads();
    options.text("--examples", examples, "FOLDER",
                 "where text/ and the models are; without it examples/ here or near the program");
    options.last_reads();
    options.text("--out", out, "FOLDER", "where statistics and plans go");
    job.declare(options);
  }
};

/// The folder "examples" here, or beside the folders that hold this program.
std::string find_examples() {
  std::error_code error;
  std::vector<fs::path> candidates{"examples", "../examples"};
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  for (fs::path at = program.parent_path(); at.has_relative_path(); at = at.parent_path()) {
    candidates.push_back(at / "examples");
    candidates.push_back(at / "share/scute/examples");
  }
  for (const fs::path& candidate : candidates) {
    if (fs::exists(candidate / "text" / "calibration.jsonl", error)) return candidate.string();
  }
  fail("demo", "a folder examples/ with text/calibration.jsonl here",
       "none; --examples DIR says where it is");
}

/// Runs verbs, shows each as the command it is, and keeps their JSON answers.
class Steps {
 public:
  Steps(const DemoRequest& request, Output& out) : request_(request), out_(out) {}

  Json run(Arguments words) const {
    say(fmt::format("\n$ {}\n", shell_command(words)));
    const std::string verb = words.front();
    words.push_back("--json");
    if (verb == "collect" || verb == "eval" || verb == "quantize") {
      words.insert(words.end(), {"--threads", fmt::format("{}", request_.job.threads)});
      if (request_.job.quiet) words.push_back("--quiet");
    }
    Output answer(Output::To::text);
    const int code = run_command(words, answer);
    if (code != kDone) {
      fail("demo", fmt::format("success of {}", verb), fmt::format("exit code {}", code));
    }
    return Json::parse(answer.text(), "demo");
  }
  /// Shown at once: the next step takes seconds.
  void say(std::string_view words) const {
    if (request_.job.json) return;
    out_.write(words);
    out_.finish();
  }

 private:
  const DemoRequest& request_;
  Output& out_;
};

/// NaN for null: a standard error that is not known.
double number(const Json& json, std::string_view key) {
  const Json& value = json.at(key, "demo");
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.as_double("demo");
}
int64_t whole(const Json& json, std::string_view key) {
  return json.at(key, "demo").as_int("demo");
}

/// What was found in one model.
struct Found {
  std::string model;
  Json collect, automatic, quamba, eval, quantize, low_bit;
};

/// From the plan to an 8-bit checkpoint, scored beside the float model on the same windows.
void low_bit(const Steps& steps, const DemoRequest& request, const std::string& folder,
             Found& found) {
  const fs::path text = fs::path(request.examples) / "text", out(request.out);
  const std::string checkpoint = (out / (found.model + "-w8a8")).string();
  found.quantize =
      steps.run({"quantize", folder, "--plan", (out / (found.model + "-auto.json")).string(),
                 "--stats", (out / (found.model + ".safetensors")).string(), "--out", checkpoint});
  steps.say(fmt::format("{} of weights, {} in bf16; loaded again and run, the same bits\n",
                        bytes_text(whole(found.quantize, "bytes")),
                        bytes_text(whole(found.quantize, "bytes_bf16"))));
  found.low_bit =
      steps.run({"eval", checkpoint, "--against", folder, "--perplexity",
                 (text / "heldout.txt").string(), "--window", "512", "--max-windows", "64"});
  const Json& against = found.low_bit.at("against", "demo");
  steps.say(fmt::format("perplexity of the 8-bit model over that of the float one: {} ± {}, {}\n",
                        fixed(number(against, "ratio"), 4),
                        fixed(number(against, "standard_error_ratio"), 4),
                        duration_text(number(found.low_bit, "seconds"))));
}

Found one_model(const Steps& steps, const DemoRequest& request, const std::string& folder) {
  const fs::path text = fs::path(request.examples) / "text", out(request.out);
  const std::string name = fs::path(folder).filename().string();
  const std::string statistics = (out / (name + ".safetensors")).string();
  Found found;
  found.model = name;

  const Json c = found.collect = steps.run(
      {"collect", folder, "--data", (text / "calibration.jsonl").string(), "--out", statistics});
  steps.say(fmt::format("{} tokens of {}, {} sites, {}\n", grouped(whole(c, "tokens")),
                        count_of(whole(c, "samples"), "document"), whole(c, "sites"),
                        duration_text(number(c, "seconds"))));
  const auto decide = [&](const char* policy) {
    const Json answer = steps.run({"decide", statistics, "--policy", policy, "--out",
                                   (out / fmt::format("{}-{}.json", name, policy)).string()});
    const Json& s = answer.at("summary", "demo");
    steps.say(fmt::format(
        "mean SQNR {} dB (min-max {} dB); worst {} dB at {}\n", fixed(number(s, "mean_sqnr_db"), 1),
        fixed(number(s, "mean_sqnr_db_minmax"), 1), fixed(number(s, "worst_sqnr_db"), 1),
        s.at("worst_site", "demo").as_string("demo")));
    return s;
  };
  found.automatic = decide("auto");
  found.quamba = decide("quamba");
  found.eval = steps.run({"eval", folder, "--perplexity", (text / "heldout.txt").string(),
                          "--window", "512", "--last-word", (text / "last_word.jsonl").string()});
  const Json& p = found.eval.at("perplexity", "demo");
  const Json& w = found.eval.at("last_word", "demo");
  steps.say(fmt::format("perplexity {} ± {}, last word {} of {}, {}\n",
                        fixed(number(p, "value"), 2), fixed(number(p, "standard_error"), 2),
                        whole(w, "hits"), whole(w, "items"),
                        duration_text(number(found.eval, "seconds"))));
  low_bit(steps, request, folder, found);
  return found;
}

std::string table_of(const std::vector<Found>& all) {
  std::vector<Table::Column> columns{{"", Table::Align::left}};
  for (const Found& found : all) columns.push_back({found.model});
  Table table(columns);
  const auto row = [&](const char* title, const auto& cell) {
    std::vector<std::string> cells{title};
    for (const Found& found : all) cells.push_back(cell(found));
    table.add(std::move(cells));
  };
  const auto decibels = [](const Json& summary, std::string_view key) {
    return fixed(number(summary, key), 1) + " dB";
  };
  row("perplexity of held-out text", [](const Found& f) {
    const Json& p = f.eval.at("perplexity", "demo");
    return fmt::format("{} ± {}", fixed(number(p, "value"), 2),
                       fixed(number(p, "standard_error"), 2));
  });
  row("last word guessed", [](const Found& f) {
    const Json& w = f.eval.at("last_word", "demo");
    return fmt::format("{} % ± {} %", fixed(100 * number(w, "accuracy"), 1),
                       fixed(100 * number(w, "standard_error"), 1));
  });
  row("W8A8 perplexity, × float", [](const Found& f) {
    const Json& a = f.low_bit.at("against", "demo");
    return fmt::format("{} ± {}", fixed(number(a, "ratio"), 4),
                       fixed(number(a, "standard_error_ratio"), 4));
  });
  row("sites observed",
      [](const Found& f) { return fmt::format("{}", whole(f.collect, "sites")); });
  row("8-bit SQNR, mean: min-max",
      [&](const Found& f) { return decibels(f.automatic, "mean_sqnr_db_minmax"); });
  row("  auto", [&](const Found& f) { return decibels(f.automatic, "mean_sqnr_db"); });
  row("  quamba", [&](const Found& f) { return decibels(f.quamba, "mean_sqnr_db"); });
  row("range taken off by auto, mean", [](const Found& f) {
    return fixed(100 * number(f.automatic, "mean_range_reduction"), 1) + " %";
  });
  row("quamba below min-max, at most",
      [&](const Found& f) { return decibels(f.quamba, "worst_loss_db"); });
  row("  which is", [](const Found& f) {
    const std::string site = f.quamba.at("worst_loss_site", "demo").as_string("demo");
    return site.empty() ? "-" : site;
  });
  return table.text();
}

std::string next_steps(const DemoRequest& request, const std::string& model) {
  const fs::path out(request.out);
  const std::string statistics = (out / (model + ".safetensors")).string();
  Table table({{"", Table::Align::left}, {"", Table::Align::left}});
  table.add({"  the table of every site", shell_command({"decide", statistics, "--all"})});
  table.add(
      {"  why each range was chosen", "\"because\" in " + (out / (model + "-auto.json")).string()});
  table.add({"  another policy, in milliseconds",
             shell_command({"decide", statistics, "--policy", "percentile:99.9"})});
  table.add({"  where every 8-bit scale comes from",
             shell_command({"trace", (out / (model + "-w8a8")).string()})});
  table.add(
      {"  the 8-bit model writes", shell_command({"generate", (out / (model + "-w8a8")).string(),
                                                  "--prompt", "The president"})});
  table.add({"  a page to look at",
             shell_command({"report", "--stats", statistics, "--out", "report.html"})});
  table.add({"  default percentile or no clipping?", "scute sweep --help shows the command"});
  table.add({"  your own model and text", "scute doctor MODEL --data FILE"});
  table.add({"", "scute collect MODEL --data FILE --out stats.safetensors"});
  table.add({"  all verbs", "scute --help"});
  return fmt::format("\nStatistics and plans are in {}. What to do next:\n{}", request.out,
                     table.list());
}

Json as_json(const std::vector<Found>& all) {
  Json out;
  out["models"] = Json::array();
  for (const Found& found : all) {
    Json entry;
    entry["model"] = found.model;
    entry["collect"] = found.collect;
    entry["auto"] = found.automatic;
    entry["quamba"] = found.quamba;
    entry["eval"] = found.eval;
    entry["quantize"] = found.quantize;
    entry["low_bit"] = found.low_bit;
    out["models"].push_back(std::move(entry));
  }
  return out;
}

int run(DemoRequest& request, const Call&, Output& out) {
  if (request.examples.empty()) request.examples = find_examples();
  std::vector<std::string> models{request.model_dir};
  if (request.model_dir.empty()) {
    models = {(fs::path(request.examples) / "tiny-mamba1").string(),
              (fs::path(request.examples) / "tiny-mamba2").string()};
  }
  for (const std::string& model : models) kind_of(model);  // an Error when it is none
  make_folder(request.out);
  const Steps steps(request, out);
  std::vector<Found> all;
  for (const std::string& model : models) all.push_back(one_model(steps, request, model));
  request.job.answer(
      out, [&] { return as_json(all); },
      [&] { return "\n" + table_of(all) + next_steps(request, all.front().model); });
  return kDone;
}

}  // namespace

Form demo_form() { return form<DemoRequest>({.example = "scute demo --out scute-demo"}); }

}  // namespace scute::cli
