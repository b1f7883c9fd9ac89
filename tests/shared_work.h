// What tests of parts share.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "scute/io/file.h"
#include "tests/program.h"

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

/// Stops a command as soon as it has something to go on from, by a signal.
inline Ended stopped_by(int signal, const Words& words, const std::string& sign_of_work) {
  Child child(words);
  for (int i = 0; i < 1000 && !std::filesystem::exists(sign_of_work); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  child.send(signal);
  return child.wait();
}

inline std::string bytes(const std::string& file) { return read_text(file, int64_t{1} << 30); }

}  // namespace scute
