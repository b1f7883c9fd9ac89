#include "cli/described.h"

#include <fmt/format.h>

#include "cli/terminal/progress.h"

namespace scute::cli {
namespace {

void say_remarks(const std::string& name, const std::vector<std::string>& remarks, bool quiet) {
  for (const std::string& remark : remarks) {
    note(quiet, fmt::format("scute: remark: {}: {}", name, remark));
  }
}

}  // namespace

ModelDescription described(const std::string& folder, bool quiet) {
  ModelDescription out = describe_model(folder);
  say_remarks(out.name, out.remarks, quiet);
  return out;
}

CobraDescription described_cobra(const std::string& folder, bool quiet) {
  CobraDescription out = describe_cobra(folder);
  say_remarks(out.name, out.language.remarks, quiet);
  say_remarks(out.name, out.remarks, quiet);
  return out;
}

RegressorCheckpoint described_regressor(const std::string& path, bool quiet) {
  RegressorCheckpoint out = read_regressor_checkpoint(path);
  say_remarks(path, out.remarks, quiet);
  return out;
}

}  // namespace scute::cli
