// Unfinished work that is kept in a folder, so that the same command goes on after its process
// died.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "scute/base/json.h"
#include "scute/io/safetensors.h"

namespace scute {

/// How often unfinished work is kept, and where.
struct WorkKeeping {
  std::string folder;  ///< made when the first file is kept
  /// Since something was kept last, whichever comes first. Without both only what is there is gone
  /// on with.
  std::optional<double> seconds = {};
  std::optional<int64_t> windows = {};
  /// Set: the work is kept as it is after what is being computed, and an Error ends it.
  const std::atomic<bool>* cancelled = nullptr;
  /// Called once, before the first window and after everything that takes long without one; gives
  /// what `cancelled` is from then on. Empty: it stays.
  std::function<const std::atomic<bool>*()> begin = {};
  /// Told what could not be kept or read; the work goes on.
  std::function<void(const std::string& problem)> problem = {};

  /// What lies there and is of other work, or broken, goes; else it is an Error.
  bool drops_others = false;

  bool keeps() const { return seconds || windows; }
  bool is_cancelled() const { return cancelled != nullptr && *cancelled; }
};

/// Seconds of a clock that only goes forward.
double steady_seconds();

/// Files of tensors, each with the hash of its content and with what decides it. From any thread.
class KeptFiles {
 public:
  /// Error when what is in the folder is of other work, naming what differs. What is broken is told
  /// and counts for nothing. `key`: everything that decides what is kept.
  KeptFiles(WorkKeeping how, Json key);

  const WorkKeeping& how() const { return how_; }
  /// Says that what can be interrupted begins.
  void begin();
  /// STEM.safetensors, atomic; whether it is on disk.
  bool write(const std::string& stem, const std::vector<NamedTensor>& tensors, Metadata metadata);
  /// What was kept under that name; nothing when none is, or a broken one.
  std::optional<SafetensorsFile> read(const std::string& stem) const;
  void remove(const std::string& stem) const;
  std::string path(const std::string& stem) const;
  /// Names without their ending, of those that can be read.
  std::vector<std::string> stems() const;
  /// Of what could not be kept or read.
  void tell(const std::string& problem);

 private:
  WorkKeeping how_;
  Json key_;
  std::mutex guard_;              ///< of what is told
  std::set<std::string> broken_;  ///< stems of files that count for nothing
};

/// A whole number from 0 on in a file's metadata; Error naming the file when there is none.
int64_t kept_count(const SafetensorsFile& file, const std::string& name, const std::string& path);

}  // namespace scute
