#include "cli/terminal/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "cli/terminal/color.h"
#include "cli/terminal/listener.h"
#include "cli/terminal/words.h"

namespace scute::cli {
namespace {

constexpr auto kFirst = std::chrono::seconds(2);
constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr auto kPlain = std::chrono::seconds(10);
constexpr int64_t kBar = 24;

}  // namespace

Progress::Progress(std::string title, std::string unit, bool quiet)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      quiet_(quiet),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
}

void Progress::update(int64_t done, int64_t total) {
  if (Listener* heard = listener()) {
    heard->progress(title_, unit_, done, total);
    if (heard->stop) throw Stopped();
    return;
  }
  if (quiet_) return;
  const std::lock_guard lock(guard_);
  if (done <= most_) return;
  most_ = done;
  const auto now = Clock::now();
  if (now - start_ < kFirst) return;
  if (now - last_ < (terminal_ ? Clock::duration(kRedraw) : Clock::duration(kPlain))) return;
  last_ = now;
  const std::string text = line(done, total, std::chrono::duration<double>(now - start_).count());
  drawn_ = terminal_;
  std::fputs(terminal_ ? fmt::format("\r{}\x1b[K", text).c_str() : (text + "\n").c_str(), stderr);
}

std::string Progress::line(int64_t done, int64_t total, double seconds) const {
  const double rate = static_cast<double>(done) / seconds;
  const double left = static_cast<double>(total - done) / rate;
  std::string bar;
  if (terminal_) {
    const auto full = static_cast<size_t>(kBar * done / std::max<int64_t>(total, 1));
    bar = fmt::format(" [{:<{}}]", std::string(full, '#'), kBar);
  }
  return fmt::format("{}{} {}/{} {}, {} a second, {} left", title_, bar, done, total, unit_,
                     significant(rate, 3), duration_text(left));
}

void StepProgress::update(const std::string& title, const std::string& unit, int64_t done,
                          int64_t total) {
  const std::lock_guard lock(guard_);
  if (!bar_ || title != title_) {
    bar_.reset();  // wiped before the next is drawn
    bar_ = std::make_unique<Progress>(title, unit, quiet_);
    title_ = title;
  }
  bar_->update(done, total);
}

void StepProgress::finish() {
  const std::lock_guard lock(guard_);
  bar_.reset();
}

void note(bool quiet, const std::string& line) {
  if (Listener* heard = listener()) return heard->note(line);
  if (!quiet) std::fputs((printable_lines(line) + "\n").c_str(), stderr);
}

void warn(const std::string& words) {
  if (Listener* heard = listener()) return heard->warning(words);
  const std::string line = tinted("scute: warning:", Tint::warning, stderr) + " ";
  std::fputs((line + printable_line(words) + "\n").c_str(), stderr);
}

void warn_of(const BadLines& bad) {
  if (bad.count == 0) return;
  warn(fmt::format("{} left out{}", count_of(bad.count, "bad line"),
                   std::cmp_less(bad.first.size(), bad.count)
                       ? fmt::format("; the first {}:", bad.first.size())
                       : ":"));
  for (const std::string& problem : bad.first) note(false, "  " + problem);
}

}  // namespace scute::cli
