#include "cli/language/kept_work.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "cli/terminal/words.h"
#include "scute/base/error.h"

namespace scute::cli {

KeptWork::KeptWork(const CheckpointEvery& every, const Claim& claim, bool force)
    : every_(every), claim_(claim), force_(force) {}

std::optional<WorkKeeping> KeptWork::keeping(std::function<const std::atomic<bool>*()> begin) {
  std::error_code none;
  if (!every_.any() && !std::filesystem::exists(claim_.checkpoint(), none)) return std::nullopt;
  return WorkKeeping{.folder = claim_.checkpoint(),
                     .seconds = every_.seconds,
                     .windows = every_.samples,
                     .begin = every_.any() ? std::move(begin) : nullptr,
                     .problem =
                         [this](const std::string& problem) {
                           lost_ = true;
                           warn(problem);
                         },
                     .drops_others = force_};
}

void KeptWork::require_none() const {
  std::error_code none;
  if (force_ || !std::filesystem::exists(claim_.checkpoint(), none)) return;
  fail(claim_.checkpoint(), "no unfinished work where none is gone on with (--force drops it)",
       "Hessians that a quantization with --checkpoint-every kept; the same command goes on there");
}

void KeptWork::tell(int64_t done, int64_t total) {
  total_ = total;
  int64_t before = done_;
  while (before < done && !done_.compare_exchange_weak(before, done)) {
  }
}

void KeptWork::end(int exit_code, const Bar& bar) {
  exit_code_ = exit_code;
  const std::string where =
      lost_ ? fmt::format("not all of them are kept beside {}", claim_.target())
            : fmt::format("a checkpoint beside {} holds those, and the same command goes on",
                          claim_.target());
  note(false, fmt::format("scute: interrupted after {} of {} {}; {}", grouped(done_),
                          grouped(total_), total_ == 1 ? bar.one : bar.several, where));
}

}  // namespace scute::cli
