// The pictures of a folder, in order, as a model's towers see them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/base/threads.h"
#include "scute/cobra/folder.h"

namespace scute {

/// Reads in sorted order; files that cannot be decoded are noted and passed over.
class PictureReader {
 public:
  struct Loaded {
    int64_t number = 0;  ///< among all files of the folder, broken ones too
    std::string path;
    std::vector<Tensor> pixels;  ///< as tower_pixels()
  };

  struct Used {
    std::string path, sha256;  ///< of the bytes that were decoded
  };

  /// Error when the folder has no picture. `model` must live as long as this.
  PictureReader(const CobraDescription& model, const std::string& folder);

  /// The next `count` that can be read, decoded on several threads; fewer at the end.
  std::vector<Loaded> next(int64_t count, const Threads& threads);
  /// Two for each thread and at most `left`: few enough to stop soon, and in memory at once.
  std::vector<Loaded> next_few(int64_t left, const Threads& threads);

  /// The last `count` that were given are not used after all.
  void forget(int64_t count);

  int64_t listed() const { return std::ssize(paths_); }
  /// Not looked at, or forgotten.
  int64_t left() const { return std::ssize(paths_) - next_ + forgotten_; }
  const std::vector<Used>& used() const { return used_; }
  const std::vector<std::string>& corrupt() const { return corrupt_; }  ///< path and reason
  /// Error when none could be read.
  void require_one() const;

 private:
  const CobraDescription& model_;
  std::string folder_;
  std::vector<std::string> paths_, corrupt_;
  std::vector<Used> used_;
  int64_t next_ = 0, forgotten_ = 0;
};

}  // namespace scute
