#include "tests/flag_runner.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <sstream>

#include "cli/terminal/options.h"
#include "cli/verbs.h"
#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/base/json.h"
#include "scute/base/random.h"
#include "scute/io/file.h"
#include "scute/io/test_npy.h"
#include "scute/recipe/statistics_io.h"
#include "tests/program.h"

namespace scute {

cli::Arguments words_in(std::string_view line) {
  std::istringstream stream{std::string(line)};
  cli::Arguments out;
  for (std::string word; stream >> word;) {
    std::ranges::replace(word, '~', ' ');
    out.push_back(word);
  }
  return out;
}

namespace {

namespace fs = std::filesystem;

/// What capitals in a row mean; OUT and MADE are folders.
constexpr std::pair<std::string_view, std::string_view> kNames[] = {
    {"LANGUAGE", "tests/golden/mamba1-f32"},
    {"MAMBA2", "tests/golden/mamba2-bf16-sharded"},
    {"HYBRID", SCUTE_FAMILIES "/jamba"},
    {"LOWWORDS", "MADE/low-words"},
    {"LOWCOBRA", "MADE/low-cobra"},
    {"OUTLOW", "OUT/low"},
    {"OUTCOBRA", "OUT/low-cobra"},
    {"OUTREGRESSOR", "OUT/low.pt"},
    {"OUTPLAN", "OUT/plan.json"},
    {"LOW", "MADE/low"},
    {"WORDS", "examples/tiny-mamba1"},
    {"IDS", "MADE/ids.jsonl"},
    {"COBRA", "tests/golden/cobra/model"},
    {"PICTURES", "tests/golden/cobra/pictures"},
    {"REGRESSOR", "tests/golden/regressor/slim.pt"},
    {"FEATURES", "tests/golden/regressor_features"}};

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

/// What says when, how fast and by which words something was made, not what.
bool tells_no_result(std::string_view key) {
  constexpr std::string_view kKeys[] = {"command", "config",  "hashes", "id",
                                        "machine", "version", "meta",   "timestamp",
                                        "timing",  "files",   "recipe", "options"};
  return std::ranges::find(kKeys, key) != std::end(kKeys) ||
         key.find("second") != std::string_view::npos ||
         key.find("sha256") != std::string_view::npos;
}

/// What doctor says of this machine now.
bool is_of_the_moment(const Json& finding) {
  constexpr std::string_view kMoments[] = {"memory", "disk", "time", "peak"};
  const Json* name = finding.find("subject");
  return name != nullptr && name->is_string() &&
         std::ranges::find(kMoments, name->as_string("")) != std::end(kMoments);
}

Json results_of(const Json& json) {
  if (json.is_array()) {
    Json out = Json::array();
    for (const Json& one : json.as_array("")) {
      if (!is_of_the_moment(one)) out.push_back(results_of(one));
    }
    return out;
  }
  if (!json.is_object()) return json;
  Json out = Json::object();
  for (const auto& [key, value] : json.as_object("")) {
    if (!tells_no_result(key)) out[key] = results_of(value);
  }
  return out;
}

/// Which figures there are: they are times.
Json whole_parts(const Json& json) {
  if (json.is_number() && !json.is_int()) return nullptr;
  if (!json.is_object()) return json;
  Json out = Json::object();
  for (const auto& [key, value] : json.as_object("")) out[key] = whole_parts(value);
  return out;
}

/// Lines of JSON without what tells no result; other text as it is.
std::string results_in(const std::string& text) {
  try {
    return results_of(Json::parse(text, "")).dump();
  } catch (const Error&) {
  }
  std::string out, line;
  for (std::istringstream lines(text); std::getline(lines, line);) {
    try {
      out += results_of(Json::parse(line, "")).dump();
    } catch (const Error&) {
      out += line;
    }
    out += "\n";
  }
  return out;
}

/// The tensors of a .safetensors file without its metadata, which holds the command.
std::string tensors_in(const std::string& bytes) {
  uint64_t length = 0;
  std::copy_n(bytes.begin(), 8, reinterpret_cast<char*>(&length));
  Json header = Json::parse(bytes.substr(8, length), "header");
  Json out = Json::object();
  for (const auto& [key, value] : header.as_object("")) {
    if (key != "__metadata__") out[key] = value;
  }
  // What was seen at each site, and a moving average: not how it was asked for.
  if (const Json* metadata = header.find("__metadata__")) {
    if (const Json* sites = metadata->find("sites")) out["sites"] = *sites;
    if (const Json* meta = metadata->find("meta")) {
      const Json parsed = Json::parse(meta->as_string(""), "meta");
      if (const Json* average = parsed.find("ema")) out["ema"] = *average;
    }
  }
  return out.dump() + bytes.substr(8 + length);
}

std::string content_of(const fs::path& file) {
  const std::string bytes = read_text(file.string(), int64_t{1} << 30);
  const std::string end = file.extension().string();
  if (end == ".safetensors") return tensors_in(bytes);
  if (end == ".json" || end == ".jsonl") return results_in(bytes);
  return bytes;
}

/// Times and keys in a name say nothing of what is inside.
std::string name_of(const fs::path& file, const std::string& folder) {
  std::string name = fs::relative(file, folder).string();
  const bool named_by_key = name.starts_with("statistics/") || name.starts_with("items/") ||
                            name.starts_with("activations_");
  if (named_by_key) std::erase_if(name, [](char c) { return std::isxdigit(c) != 0 || c == '_'; });
  return name;
}

/// Thousands of small files, each synced: in memory where the system has such a folder.
std::string in_memory() { return fs::is_directory("/dev/shm") ? "/dev/shm" : ""; }

class Runner {
 public:
  Runner() { make(); }

  Effect run(std::string_view verb, const std::string& line) {
    const TemporaryFolder folder(in_memory());
    if (verb == "scales") copy_for_edits(line, folder);
    cli::Arguments words{std::string(verb)};
    for (std::string word : words_in(line)) {
      for (const auto& [name, path] : kNames) replace_all(word, name, path);
      replace_all(word, "MADE", made_.path());
      replace_all(word, "OUT", folder.path());
      words.push_back(word);
    }
    Effect out;
    cli::Output said(cli::Output::To::text);
    try {
      out.code = cli::run_command(words, said);
    } catch (const cli::UsageError& error) {
      out.code = cli::kWrongUsage;
      out.error = error.what();
    } catch (const std::exception& error) {
      out.code = cli::kFailed;
      out.error = error.what();
    }
    std::string text = said.text();
    replace_all(text, folder.path(), "OUT");
    out.files[""] = verb == "bench" && text.starts_with("{")
                        ? whole_parts(Json::parse(text, "bench")).dump()
                        : results_in(text);
    for (const auto& entry : fs::recursive_directory_iterator(folder.path())) {
      if (!entry.is_regular_file()) continue;
      std::string content = content_of(entry.path());
      replace_all(content, folder.path(), "OUT");
      out.files[name_of(entry.path(), folder.path())] = sha256(content);
    }
    return out;
  }

 private:
  /// What is edited in place, for each run anew.
  void copy_for_edits(const std::string& line, const TemporaryFolder& folder) {
    for (const auto& [word, name] : {std::pair{"OUTLOW", "low"},
                                     {"OUTCOBRA", "low-cobra"},
                                     {"OUTREGRESSOR", "low.pt"},
                                     {"OUTPLAN", "plan.json"}}) {
      if (line.find(word) == std::string::npos) continue;
      fs::copy(made_.path(name), folder.path(name), fs::copy_options::recursive);
    }
  }

  /// Tokenizers of the same ids that cut words into shorter pieces.
  void write_other_tokenizers() {
    for (const auto& [from, to] : {std::pair{"examples/tiny-mamba1", "other.json"},
                                   {"tests/golden/cobra/model/llm", "other-cobra.json"}}) {
      const std::string file = std::string(from) + "/tokenizer.json";
      Json json = Json::parse(read_text(file), file);
      const Json::Array& all = json.at("model", file).at("merges", file).as_array(file);
      const auto half = all.begin() + std::ssize(all) / 20;
      json["model"]["merges"] = Json::Array(all.begin(), half);
      write_file(made_.path(to), json.dump());
    }
  }

  void write_not_finite() {
    StatisticsSet set = read_statistics(made_.path("stats.safetensors"));
    const std::vector<float> values{1, 2, std::numeric_limits<float>::quiet_NaN()};
    set.sites.begin()->second = statistic_of(values);
    write_statistics(made_.path("nan.safetensors"), set);
  }

  /// Under a name without the time.
  void copy_activations() {
    for (const std::string& name : made_.names()) {
      if (name.ends_with(".npz") && name != "activations.npz")
        fs::copy(made_.path(name), made_.path("activations.npz"));
    }
  }

  /// What the forms that come later work on.
  void make() {
    const auto write = [&](const std::string& name, const std::string& text) {
      std::ofstream(made_.path(name)) << text;
    };
    write("short.jsonl",
          "{\"text\": \"The sea was calm and the sky was blue over the old town\"}\n"
          "{\"text\": \"He went down to the harbour, where the boats were waiting\"}\n");
    write("one.jsonl", "{\"text\": \"What is there by the sea?\"}\n");
    write("prompt.txt", "The sea was calm and the sky was blue over the old town");
    write("hybrid.json", R"(["W4A16", "W8A8"])");
    write("config.json", R"({"batches": 1})");
    Random random(3);
    std::string ids, passages, list;
    Tensor array(DType::i32, {24});
    const auto some = [&](int64_t count) {
      std::string out;
      for (int64_t i = 0; i < count; ++i) {
        out += (i == 0 ? "" : ",") + std::to_string(random.below(36));
      }
      return out;
    };
    for (int32_t& id : array.mutable_values<int32_t>()) id = static_cast<int32_t>(random.below(36));
    for (int i = 0; i < 8; ++i) ids += "{\"ids\": [" + some(100) + "]}\n";
    for (int i = 0; i < 6; ++i) {
      passages += "{\"ids\": [" + some(12) + "], \"target\": 11}\n";
    }
    write("ids.jsonl", ids);
    write("passages.jsonl", passages);
    write_npy(made_.path("ids.npy"), array);
    fs::create_directory(made_.path("pictures"));
    fs::copy("tests/golden/cobra/pictures/1_wide.png", made_.path("pictures"));
    for (const char* name : {"features", "bare"}) {
      fs::copy("tests/golden/regressor_features", made_.path(name), fs::copy_options::recursive);
    }
    fs::remove(made_.path("bare/npy/stats_train.npz"));
    write_other_tokenizers();
    for (const auto& [verb, line] : kMade) {
      const Effect made = run(verb, std::string(line));
      EXPECT_EQ(made.code, 0) << "scute " << verb << " " << line << "\n" << made.error;
    }
    write_not_finite();
    copy_activations();
  }

  static const std::vector<std::pair<std::string_view, std::string_view>> kMade;
  TemporaryFolder made_{in_memory()};
};

const std::vector<std::pair<std::string_view, std::string_view>> Runner::kMade{
    {"collect", "LANGUAGE --data IDS --samples 3 --seqlen 80 --out MADE/stats.safetensors"},
    {"collect", "LANGUAGE --data IDS --samples 2 --skip 3 --seqlen 80 --out MADE/more.safetensors"},
    {"collect", "LANGUAGE --data IDS --samples 3 --seqlen 80 --shard 0/1 --out MADE/parts"},
    {"collect", "MAMBA2 --data IDS --samples 3 --seqlen 80 --out MADE/stats2.safetensors"},
    {"decide", "MADE/more.safetensors --policy minmax --out MADE/plan.json"},
    {"quantize", "LANGUAGE --stats MADE/stats.safetensors --out LOW"},
    {"quantize",
     "LANGUAGE --stats MADE/stats.safetensors --gptq --data IDS --seqlen 32 "
     "--save-hessians MADE/hessians.safetensors --out MADE/gptq"},
    {"quantize", "WORDS --w-bits 4 --a-bits 16 --out LOWWORDS"},
    {"collect", "COBRA --images PICTURES --out MADE/cobra.safetensors"},
    {"collect", "COBRA --images PICTURES --sites * --out MADE/cobra-all.safetensors"},
    {"decide", "MADE/cobra-all.safetensors --policy percentile:0.9 --out MADE/cobra-plan.json"},
    {"quantize", "COBRA --stats MADE/cobra-all.safetensors --out LOWCOBRA"},
    {"collect", "REGRESSOR --feat-root FEATURES --out MADE/windows.safetensors"},
    {"decide", "MADE/windows.safetensors --out MADE/windows.json"},
    {"quantize", "REGRESSOR --plan MADE/windows.json --out MADE/low.pt"},
    {"quantize", "REGRESSOR --plan MADE/windows.json --q-proj --out MADE/proj.pt"},
    {"scales", "MADE/plan.json --set *x_proj:input*=3 --out MADE/edited.json"},
    {"scales", "LOW --set *x_proj:input*=3 --out MADE/edited"},
    {"scales", "LOWCOBRA --set projector*=3 --out MADE/edited-cobra"},
    {"scales", "MADE/low.pt --set proj:input*=3 --out MADE/edited.pt"},
    {"run", "LANGUAGE --data IDS --samples 3 --seqlen 80 --log MADE/other.jsonl"},
    {"run", "LANGUAGE --data IDS --samples 3 --seqlen 80 --log MADE/log.jsonl"},
    {"run",
     "LANGUAGE --data IDS --samples 3 --seqlen 80 --policy minmax --save-activations 50 "
     "--log MADE/log.jsonl"},
};

}  // namespace

Effect run_line(std::string_view verb, const std::string& line) {
  static Runner one;
  return one.run(verb, line);
}

}  // namespace scute
