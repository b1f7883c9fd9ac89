#include "cli/described.h"

#include <fmt/format.h>

#include "cli/terminal/progress.h"

namespace scute::cli {

ModelDescription described(const std::string& folder, bool quiet) {
  ModelDescription out = describe_model(folder);
  for (const std::string& remark : out.remarks) {
    note(quiet, fmt::format("scute: remark: {}: {}", out.name, remark));
  }
  return out;
}

}  // namespace scute::cli
