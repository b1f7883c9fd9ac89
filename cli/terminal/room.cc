#include "cli/terminal/room.h"

#include <fmt/format.h>

#include <filesystem>

#include "cli/terminal/machine.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/recipe/memory_limit.h"

namespace scute::cli {
namespace {

/// "120.0 MB, 3.1 MB are free on its disk"; "" where there is room, or nobody knows.
std::string lack_of_disk(const std::string& output, int64_t bytes) {
  const int64_t free = disk_free(output_folder(output));
  if (free < 0 || bytes <= free) return "";
  return fmt::format("{}, {} are free on its disk", bytes_text(bytes), bytes_text(free));
}

}  // namespace

std::string output_folder(const std::string& output) {
  const auto folder = std::filesystem::path(output).parent_path();
  return folder.empty() ? "." : folder.string();
}

void warn_of_memory(int64_t bytes) {
  const int64_t available = memory_of_machine().available + peak_memory();
  if (bytes <= available) return;
  warn(fmt::format("this takes about {} of memory, {} are free: --memory {} keeps within less",
                   bytes_text(bytes), bytes_text(available), memory_text(available / 10 * 9)));
}

void warn_of_disk(const std::string& output, int64_t bytes, const std::string& what) {
  const std::string lack = lack_of_disk(output, bytes);
  if (!lack.empty()) warn(fmt::format("{}: {} may take {}", output, what, lack));
}

void require_disk(const std::string& output, int64_t bytes, const std::string& what) {
  const std::string lack = lack_of_disk(output, bytes);
  if (!lack.empty()) fail(output, "room for " + what, lack);
}

}  // namespace scute::cli
