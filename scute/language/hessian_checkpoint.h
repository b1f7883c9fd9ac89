// What is kept of a measurement of Hessians, so that it goes on after its process died.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "scute/base/json.h"
#include "scute/io/safetensors.h"
#include "scute/observe/gram.h"

namespace scute {

/// The sums of some windows at each site.
using SiteGrams = std::map<std::string, Gram>;

/// .safetensors: SUM/SITE/triangle F64 for each sum by number, with the hash of its content
/// (sealed_tensors.h). Atomic.
void write_sums(const std::string& path, const std::map<int64_t, const SiteGrams*>& sums,
                const Metadata& metadata);
/// The tensors of such a file by sum and site; Error naming the file when a name is none.
std::map<int64_t, std::map<std::string, Tensor>> sums_of(const SafetensorsFile& file,
                                                         const std::string& path);
/// Error unless the tensor is a triangle.
Gram gram_of(const Tensor& tensor, const std::string& where);

/// How often sums are kept, and where.
struct HessianKeeping {
  std::string folder;  ///< made when the first one is kept
  /// Since a sum was kept last, whichever comes first. Without both only what is there is gone on
  /// with.
  std::optional<double> seconds = {};
  std::optional<int64_t> windows = {};  ///< of all sums that are made at once
  /// Set: sums are kept as they are after the windows in work, and an Error ends the measurement.
  const std::atomic<bool>* cancelled = nullptr;
  /// Called once, before the first window and after everything that takes long without one; gives
  /// what `cancelled` is from then on. Empty: it stays.
  std::function<const std::atomic<bool>*()> begin = {};
  /// Told what could not be kept or read; the work goes on.
  std::function<void(const std::string& problem)> problem = {};

  /// What lies there and is of another measurement, or broken, goes; else it is an Error.
  bool drops_others = false;

  bool keeps() const { return seconds || windows; }
};

/// The sums of one measurement, in one pass over its sites after the other: pass-P.safetensors of a
/// finished one, sum-P-K.safetensors of each sum of one that is not. Doubles as they are in memory,
/// so that windows added later give the same bytes as without a pause.
class HessianCheckpoint {
 public:
  /// Error when what is in the folder is of another measurement, naming what differs. `key`:
  /// everything that decides the sums.
  HessianCheckpoint(HessianKeeping how, Json key);

  /// The sum over all windows of a finished pass.
  std::optional<SiteGrams> finished(int64_t pass);
  /// How many of its windows a sum has, and the sum; nothing when none is kept.
  std::optional<std::pair<int64_t, SiteGrams>> begun(int64_t pass, int64_t sum);

  /// A sum has one window more; `together`: sums that are made at once. Keeps it when it is time.
  /// Error when the work is cancelled.
  void add(int64_t pass, int64_t sum, int64_t windows, const SiteGrams& sites, int64_t together);
  /// A sum has all of its windows; a pass has all of its sums.
  void end_sum(int64_t pass, int64_t sum, int64_t windows, const SiteGrams& sites);
  void end_pass(int64_t pass, const SiteGrams& sites);

 private:
  /// When a sum was kept last, in seconds of a steady clock, and how many windows it had.
  struct Kept {
    double time = 0;
    int64_t windows = 0;
  };
  std::string sum_file(int64_t pass, int64_t sum) const;
  std::string pass_file(int64_t pass) const;
  /// Whether it is on disk.
  bool write(const std::string& file, int64_t windows, const SiteGrams& sites);
  std::optional<std::pair<int64_t, SiteGrams>> read(const std::string& file);
  void tell(const std::string& problem);

  HessianKeeping how_;
  Json key_;
  std::mutex guard_;  ///< of kept_ and of what is told
  std::map<int64_t, Kept> kept_;
  std::set<std::string> broken_;  ///< files that count for nothing
};

}  // namespace scute
