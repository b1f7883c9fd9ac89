// How files become token ids, and what was left out of them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/io/input.h"

namespace scute {

/// Of files that hold ids and no header, as numpy.memmap leaves them; little endian.
enum class RawIds { u16, u32, i32, i64 };

/// "u16" and so on; Error naming `where` and the known ones.
RawIds parse_raw_ids(std::string_view name, std::string_view where);

/// How texts become ids.
struct TextInput {
  std::string tokenizer = {};                    ///< file; empty: the model's own
  bool special_tokens = false;                   ///< those that the tokenizer puts around a text
  bool skip_bad_lines = false;                   ///< count them and go on, instead of an Error
  std::optional<RawIds> raw_ids = std::nullopt;  ///< for files without a header
  /// Where texts and ids are read, and hashed; copies read the same files.
  std::shared_ptr<InputFiles> files = std::make_shared<InputFiles>();
  const std::atomic<bool>* cancelled = nullptr;  ///< set: making ids of texts ends with an Error

  /// The flags that say so, each with a blank before it; "" for what is usual. Without the
  /// tokenizer, which has a hash of its own.
  std::string flags() const;
};

/// Lines that were left out.
struct BadLines {
  static constexpr size_t kMostNamed = 20;

  int64_t count = 0;
  std::vector<std::string> first =
      {};  ///< what was wrong with the first kMostNamed, place included

  void add(std::string problem);
  void add(const BadLines& other);
  /// "3 bad lines left out, the first: FILE:2: …"; "" when there is none.
  std::string summary() const;
};

}  // namespace scute
