// What tests of parts share.
#pragma once

#include <string>
#include <vector>

#include "scute/io/file.h"

namespace scute {

using Words = std::vector<std::string>;

inline Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// A command line that is shared out, of one kind of model.
struct SharedWork {
  const char* name;
  Words words;
};

inline std::string bytes(const std::string& file) { return read_text(file, int64_t{1} << 30); }

}  // namespace scute
