// What is kept of a measurement of Hessians, so that it goes on after its process died.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "scute/language/kept_files.h"
#include "scute/observe/gram.h"

namespace scute {

/// The sums of some windows at each site.
using SiteGrams = std::map<std::string, Gram>;

/// SUM/SITE/triangle F64 for each sum by number: the sums' own memory, which must outlive these.
std::vector<NamedTensor> sum_tensors(const std::map<int64_t, const SiteGrams*>& sums);
/// Of one sum, number 0.
std::vector<NamedTensor> sum_tensors(const SiteGrams& sites);
/// The tensors of such a file by sum and site; Error naming the file when a name is none.
std::map<int64_t, std::map<std::string, Tensor>> sums_of(const SafetensorsFile& file,
                                                         const std::string& path);
/// Error unless the tensor is a triangle.
Gram gram_of(const Tensor& tensor, const std::string& where);
/// Those of all sums of such a file together.
SiteGrams grams_of(const SafetensorsFile& file, const std::string& path);

/// The sums of one measurement, in one pass over its sites after the other: pass-P.safetensors of a
/// finished one, sum-P-K.safetensors of each sum of one that is not. Doubles as they are in memory,
/// so that windows added later give the same bytes as without a pause.
class HessianCheckpoint {
 public:
  /// Errors of KeptFiles. `key`: everything that decides the sums.
  HessianCheckpoint(WorkKeeping how, Json key);

  /// The sum over all windows of a finished pass.
  std::optional<SiteGrams> finished(int64_t pass);
  /// How many of its windows a sum has, and the sum; nothing when none is kept.
  std::optional<std::pair<int64_t, SiteGrams>> begun(int64_t pass, int64_t sum);

  /// A sum has one window more; `together`: sums that are made at once, whose windows all count.
  /// Keeps it when it is time.
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
  bool write(const std::string& stem, int64_t windows, const SiteGrams& sites);
  std::optional<std::pair<int64_t, SiteGrams>> read(const std::string& stem) const;

  KeptFiles files_;
  std::mutex guard_;  ///< of kept_
  std::map<int64_t, Kept> kept_;
};

}  // namespace scute
