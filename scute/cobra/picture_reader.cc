#include "scute/cobra/picture_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"

namespace scute {

PictureReader::PictureReader(const CobraDescription& model, const std::string& folder)
    : model_(model), folder_(folder), paths_(list_pictures(folder)) {}

std::vector<PictureReader::Loaded> PictureReader::next(int64_t count, const Threads& threads) {
  std::vector<Loaded> out;
  const auto not_read = [this] { return std::ssize(paths_) - next_; };
  while (std::ssize(out) < count && not_read() > 0) {
    const int64_t piece = std::min(count - std::ssize(out), not_read());
    std::vector<Loaded> read(static_cast<size_t>(piece));
    std::vector<std::string> problems(static_cast<size_t>(piece)), hashes(problems);
    threads.for_each(piece, [&](int64_t i, int) {
      Loaded& one = read[static_cast<size_t>(i)];
      one.number = next_ + i;
      one.path = paths_[static_cast<size_t>(one.number)];
      try {
        const InputFile file(one.path);
        one.pixels = tower_pixels(model_, read_picture(file));
        hashes[static_cast<size_t>(i)] = file.sha256();
      } catch (const Error& error) {
        problems[static_cast<size_t>(i)] = error.what();
      }
    });
    for (size_t i = 0; i < read.size(); ++i) {
      if (!problems[i].empty()) {
        corrupt_.push_back(problems[i]);
        continue;
      }
      used_.push_back({read[i].path, hashes[i]});
      out.push_back(std::move(read[i]));
    }
    next_ += piece;
  }
  return out;
}

std::vector<PictureReader::Loaded> PictureReader::next_few(int64_t left, const Threads& threads) {
  return next(std::min<int64_t>(left, 2 * threads.count()), threads);
}

void PictureReader::forget(int64_t count) {
  used_.resize(used_.size() - static_cast<size_t>(count));
  forgotten_ += count;
}

void PictureReader::require_one() const {
  if (!used_.empty()) return;
  fail(folder_, "a picture that can be read",
       corrupt_.empty() || forgotten_ > 0
           ? std::string("an interruption")
           : fmt::format("none of {}; the first: {}", listed(), corrupt_.front()));
}

}  // namespace scute
