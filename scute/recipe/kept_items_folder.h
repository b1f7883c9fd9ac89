// The folder that the processes of one evaluation write the scores of their items into.
#pragma once

#include <cstdint>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "scute/evaluate/kept_items.h"
#include "scute/io/claim.h"

namespace scute {

/// FOLDER/part-I-of-N.jsonl: a line that names the evaluation, one for each item as it is scored,
/// and a last one, each with the beginning of its own SHA-256. A process that died loses what it
/// had not added yet; a line that is torn or changed counts as none. One process at a time writes a
/// part (scute/io/claim.h).
class KeptItemsFolder {
 public:
  /// `evaluation`: everything that decides the scores. With `shard` it is that part;
  /// else all parts of the folder or, where there is none or the only one of one, that one. Makes
  /// the folder. Error naming the file that is of another evaluation or of another number of parts,
  /// and where all are to be taken, those that are missing or not finished; when another process
  /// writes the part. `before`: of that process, as of a Claim.
  KeptItemsFolder(const std::string& folder, const Json& evaluation, const std::string& command,
                  std::optional<Shard> shard, Claim::Before before = Claim::Before::unknown);
  KeptItemsFolder(const KeptItemsFolder&) = delete;
  KeptItemsFolder& operator=(const KeptItemsFolder&) = delete;
  ~KeptItemsFolder();  ///< adds what is left, as far as that can be written

  /// For the evaluation, as long as this lives.
  const KeptItems& items() const { return items_; }
  /// Nothing when all parts are taken; what they have lost is then scored here.
  const std::optional<Shard>& shard() const { return shard_; }
  const std::string& file() const { return file_; }
  /// Of the part; null when all are taken.
  const Claim* claim() const { return claim_ ? &*claim_ : nullptr; }
  int64_t known() const { return known_; }  ///< items that were there
  /// How long what was scored may wait to be written, seconds or items, whichever comes first;
  /// one second when it is not called.
  void write_every(double seconds, int64_t items) {
    every_ = seconds;
    every_items_ = items;
  }
  /// Adds what is left, and the line that says that the part is finished.
  void finish();

 private:
  /// Whether the file begins as this part of this evaluation; false when it has no whole line that
  /// says so. Error when it says otherwise.
  bool read(const std::string& file, const Json& evaluation, const Shard& shard, bool& finished);
  void take_all(const std::string& folder, const Json& evaluation, int64_t of);
  void tell(const std::string& task, int64_t item, const Json& values);
  void flush();

  std::optional<Shard> shard_;
  std::string file_;
  std::optional<Claim> claim_;
  KeptItems items_;
  int64_t known_ = 0;
  double every_ = 1;
  int64_t every_items_ = std::numeric_limits<int64_t>::max(), lines_ = 0;
  std::mutex guard_;
  std::string waiting_;  ///< lines
  double last_ = 0;      ///< when they were written last, seconds of the steady clock
};

}  // namespace scute
