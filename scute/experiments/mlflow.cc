#include "scute/experiments/mlflow.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>
#include <system_error>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/log_text.h"
#include "scute/experiments/score_json.h"
#include "scute/io/file.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTag = "scute.log";
constexpr size_t kLongest = 6000;  // bytes of a parameter that MLflow takes

/// One line, without what YAML's readers refuse even between quotes: control characters, also
/// U+0080 … U+009F, and U+FFFE, U+FFFF.
std::string one_line(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size() && out.size() < kLongest; ++i) {
    const auto byte = [&](size_t at) {
      return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u;
    };
    const unsigned c = byte(i);
    const bool second = c == 0xC2 && byte(i + 1) >= 0x80 && byte(i + 1) < 0xA0;
    const bool none = c == 0xEF && byte(i + 1) == 0xBF && byte(i + 2) >= 0xBE;
    out += c < 0x20 || c == 0x7F || second || none ? ' ' : text[i];
    i += second ? 1 : none ? 2 : 0;
  }
  return out;
}

/// Quoted: JSON's strings are YAML's double-quoted ones. Bytes that are no UTF-8 become U+FFFD.
std::string yaml(std::string_view text) { return Json(one_line(text)).dump(); }

/// MLflow's names are letters, digits and "_-. /"; without the slash they are file names.
std::string file_name(std::string_view key) {
  std::string out;
  for (const char c : key.substr(0, 200)) {
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
    out += allowed ? c : '_';
  }
  if (out.empty() || out[0] == '.') out.insert(0, "_");
  return out;
}

std::string uri_of(const fs::path& path) {
  std::string out = "file://";
  for (const char c : fs::absolute(path).lexically_normal().string()) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("/_-.~").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

void write_experiment(const fs::path& folder, const std::string& id, const std::string& name) {
  std::string out = fmt::format("artifact_location: {}\n", yaml(uri_of(folder)));
  out += "creation_time: 0\n";
  out += fmt::format("experiment_id: {}\nlast_update_time: 0\nlifecycle_stage: active\nname: {}\n",
                     yaml(id), yaml(name));
  make_folder(folder);
  write_file((folder / "meta.yaml").string(), out);
}

/// The experiment's folder, made when missing; Error when there is one that scute did not make.
void open_experiment(const fs::path& folder, const MlflowExport& experiment) {
  const fs::path tag = folder / "tags" / kTag;
  std::error_code error;
  if (!fs::exists(tag, error) && fs::exists(folder / "meta.yaml", error)) {
    fail(folder.string(), fmt::format("no experiment, or one that scute wrote (tag {})", kTag),
         "another one; --mlflow with another folder leaves it alone");
  }
  make_folder(folder / "tags");
  write_file(tag.string(), "1");
  if (!fs::exists(folder / "meta.yaml", error)) {
    write_experiment(folder, experiment.experiment_id, experiment.experiment_name);
  }
}

std::string run_id(const LogEntry& entry) {
  return sha256(fmt::format("{}\n{}\n{}", entry.id, entry.timestamp, entry.number)).substr(0, 32);
}

/// Names that become the same file name are told apart by a number.
class NamedFiles {
 public:
  explicit NamedFiles(fs::path folder) : folder_(std::move(folder)) { make_folder(folder_); }

  void write(std::string_view key, const std::string& text) {
    const std::string name = file_name(key);
    std::string free = name;
    for (int i = 2; !taken_.insert(free).second; ++i) free = fmt::format("{}_{}", name, i);
    write_file((folder_ / free).string(), text);
  }

 private:
  fs::path folder_;
  std::set<std::string> taken_;
};

void write_numbers(const LogEntry& entry, const fs::path& folder, int64_t time) {
  NamedFiles params(folder / "params"), metrics(folder / "metrics");
  visit_scalars(entry.config, [&](const std::string& key, const Json& value) {
    params.write(key, one_line(value.is_string() ? value.as_string("") : value.dump()));
  });
  const auto metric = [&](std::string_view name, const std::optional<double>& value) {
    if (value) metrics.write(name, fmt::format("{} {} 0\n", time, *value));
  };
  for (const NamedNumber& number : result_numbers(read_score(entry))) {
    metric(number.name, number.value);
  }
  metric("range_reduction_mean", mean_range_reduction(entry));
}

std::string run_name(const LogEntry& entry) {
  const std::string model = text_field(entry.config, {"model"});
  const std::string last = fs::path(model).filename().string();
  return fmt::format("{} {}", entry.number, last.empty() ? model : last);
}

void write_run(const LogEntry& entry, const fs::path& folder, const std::string& experiment,
               int64_t end) {
  for (const char* part : {"artifacts", "tags"}) make_folder(folder / part);
  write_numbers(entry, folder, end);
  NamedFiles tags(folder / "tags");
  tags.write("mlflow.runName", one_line(run_name(entry)));
  tags.write("mlflow.source.name", one_line(entry.command));
  tags.write("mlflow.source.type", "LOCAL");
  tags.write("scute.id", one_line(entry.id));
  tags.write("scute.number", fmt::format("{}", entry.number));
  const std::string id = folder.filename().string();
  std::string meta = fmt::format("artifact_uri: {}\n", yaml(uri_of(folder / "artifacts")));
  meta +=
      fmt::format("end_time: {}\nentry_point_name: ''\nexperiment_id: {}\n", end, yaml(experiment));
  meta += fmt::format("lifecycle_stage: active\nrun_id: {0}\nrun_name: {1}\nrun_uuid: {0}\n",
                      yaml(id), yaml(run_name(entry)));
  meta += "source_name: ''\nsource_type: 4\nsource_version: ''\n";
  meta += fmt::format("start_time: {}\nstatus: 3\ntags: []\nuser_id: scute\n", end);
  write_file((folder / "meta.yaml").string(), meta);
}

}  // namespace

MlflowExport write_mlflow(const std::string& folder, const ExperimentLog& log,
                          const std::vector<const LogEntry*>& entries,
                          const std::function<int64_t(const std::string& time)>& milliseconds) {
  MlflowExport out;
  out.experiment_name = "scute " + fs::path(log.path).stem().string();
  // A decimal number as MLflow's own are: 15 of the name's hash's digits, below 2^60.
  uint64_t number = 0;
  const std::string hash = sha256(out.experiment_name).substr(0, 15);
  std::from_chars(hash.data(), hash.data() + hash.size(), number, 16);
  out.experiment_id = fmt::format("{}", number);
  const fs::path top(folder), experiment = top / out.experiment_id;
  std::error_code error;
  if (!fs::exists(top / "0", error)) write_experiment(top / "0", "0", "Default");
  open_experiment(experiment, out);
  for (const LogEntry* entry : entries) {
    const fs::path run = experiment / run_id(*entry);
    if (fs::exists(run / "meta.yaml", error)) {
      ++out.kept;
      continue;
    }
    write_run(*entry, run, out.experiment_id, milliseconds(entry->timestamp));
    ++out.runs;
  }
  return out;
}

}  // namespace scute
