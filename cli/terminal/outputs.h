// Files and folders that a verb is about to write.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/terminal/interrupt.h"
#include "scute/io/input.h"
#include "scute/io/output.h"

namespace scute::cli {

/// UsageError unless the name ends in one of `endings`, as the flag's help says. Empty: not given.
void check_ending(const std::string& flag, const std::string& file,
                  const std::vector<std::string>& endings);
/// UsageError when --force is given and none of the outputs that it is about.
void check_force(bool force, const std::vector<std::string>& outputs);

/// UsageError when two of `outputs` are one file, or one of them is an input: that file itself, or
/// in a folder that is read whatever scute did not write, and the files that make it a model. Empty
/// names are none. No --force helps.
void refuse_same_files(const std::vector<std::string>& outputs,
                       const std::vector<std::string>& inputs);

/// A file that a verb writes at its end: claimed when the work begins, so that an unwritable
/// folder, a file that is not to be replaced and another scute at work are found now, not in an
/// hour.
class ClaimedFile {
 public:
  /// Without `force` what is replaced is what scute wrote and nobody changed since; none of
  /// `inputs` (refuse_same_files). `vouched`: as of OutputFile.
  ClaimedFile(const std::string& path, bool force, const std::vector<std::string>& inputs,
              Claim::Before before = Claim::Before::unknown,
              const std::function<bool(const std::string& path)>& vouched = {},
              Claim::Kept kept = Claim::Kept::refused);

  /// Where it is written, under its own name, until publish().
  const std::string& written() const { return file_.written(); }
  const std::string& path() const { return file_.path(); }
  const Claim& claim() const { return file_.claim(); }
  /// Error when an input was changed meanwhile.
  void publish();
  /// Both, of a text.
  void publish(std::string_view text);

 private:
  InputStamps inputs_;
  OutputFile file_;
  ForsakenClaim end_;
};

/// Error now where ClaimedFile would be one, for files that are written, one after the other, at
/// the end of the work.
void check_replaceable(const std::vector<std::string>& files, bool force,
                       const std::vector<std::string>& inputs);

/// Nothing for an empty name.
void claim_if_named(std::optional<ClaimedFile>& file, const std::string& path, bool force,
                    const std::vector<std::string>& inputs);

}  // namespace scute::cli
