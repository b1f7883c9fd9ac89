#include "cli/terminal/output.h"

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "scute/base/error.h"

namespace scute::cli {

void Output::write(std::string_view words) {
  if (to_ == To::text) {
    text_.append(words);
    return;
  }
  if (failure_ != 0) return;
  if (std::fwrite(words.data(), 1, words.size(), stdout) != words.size()) failure_ = errno;
}

void Output::write_json(const Json& json) { write(json.dump(1) + "\n"); }

void Output::finish() {
  if (to_ == To::text) return;
  if (failure_ == 0 && std::fflush(stdout) != 0) failure_ = errno;
  if (failure_ == 0 || failure_ == EPIPE) return;
  fail("standard output", "room to write", std::generic_category().message(failure_));
}

Json array_of(const std::vector<std::string>& words) {
  Json out = Json::array();
  for (const std::string& word : words) out.push_back(word);
  return out;
}

}  // namespace scute::cli
