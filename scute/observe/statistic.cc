#include "scute/observe/statistic.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "scute/base/error.h"

namespace scute {
namespace {

constexpr uint32_t kPages = 512;          // sign and 8 exponent bits
constexpr uint32_t kNegative = 256;       // first page with the sign set
constexpr uint32_t kNonFinitePage = 255;  // exponent of Inf and NaN
// Files hold counts as signed 64-bit integers.
constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();

void check_length(size_t mine, size_t other, const char* what) {
  if (mine != other) {
    fail(what, fmt::format("the same length in both, {}", mine), std::to_string(other));
  }
}

void merge_maxima(std::vector<float>& into, const std::vector<float>& other) {
  for (size_t i = 0; i < into.size(); ++i) into[i] = std::max(into[i], other[i]);
}

}  // namespace

Histogram::Histogram(int fine) : fine_(fine) {
  if (fine < 1 || fine > 16) fail("histogram", "fine in 1 … 16", std::to_string(fine));
  pages_.resize(kPages);
}

std::vector<uint64_t>& Histogram::page_at(uint32_t page) {
  auto& counts = pages_[page];
  if (counts.empty()) counts.resize(size_t{1} << fine_);
  return counts;
}

void Histogram::check_room(uint64_t more) const {
  if (more > kMost - total_) {
    fail("histogram", "fewer than 2^63 values", fmt::format("{} and {} more", total_, more));
  }
}

void Histogram::add(uint32_t id, uint64_t count) {
  const uint32_t page = id >> fine_;
  if (page >= kPages) {
    fail("histogram", fmt::format("a bucket id below {}", kPages << fine_), std::to_string(id));
  }
  check_room(count);
  if (count == 0) return;
  page_at(page)[id & ((uint32_t{1} << fine_) - 1)] += count;
  total_ += count;
}

void Histogram::add_page(uint32_t page, const uint32_t* counts) {
  if (page >= kPages) fail("histogram", "a page below 512", std::to_string(page));
  const size_t size = size_t{1} << fine_;
  uint64_t sum = 0;
  for (size_t i = 0; i < size; ++i) sum += counts[i];
  if (sum == 0) return;
  check_room(sum);
  auto& into = page_at(page);
  for (size_t i = 0; i < size; ++i) into[i] += counts[i];
  total_ += sum;
}

void Histogram::merge(const Histogram& other) {
  if (other.fine_ != fine_) {
    fail("histogram", fmt::format("fine {} in both", fine_), std::to_string(other.fine_));
  }
  check_room(other.total_);
  for (uint32_t page = 0; page < kPages; ++page) {
    const auto& from = other.pages_[page];
    if (from.empty()) continue;
    auto& into = page_at(page);
    for (size_t i = 0; i < into.size(); ++i) into[i] += from[i];
  }
  total_ += other.total_;
}

uint64_t Histogram::count(uint32_t id) const {
  const uint32_t page = id >> fine_;
  if (page >= kPages || pages_[page].empty()) return 0;
  return pages_[page][id & ((uint32_t{1} << fine_) - 1)];
}

int64_t Histogram::bytes() const {
  size_t counters = 0;
  for (const auto& page : pages_) counters += page.size();
  return static_cast<int64_t>(counters * sizeof(uint64_t) + kPages * sizeof(pages_[0]));
}

std::vector<Histogram::Bucket> Histogram::ascending() const {
  std::vector<Bucket> out;
  // Of the pages of Inf and NaN only the first bucket, Inf, has a place in the order.
  const auto used = [](uint32_t page, size_t size) {
    return page % kNegative == kNonFinitePage ? size_t{1} : size;
  };
  for (uint32_t page = kPages; page-- > kNegative;) {
    const auto& counts = pages_[page];
    for (size_t i = std::min(used(page, counts.size()), counts.size()); i-- > 0;) {
      if (counts[i] != 0) out.push_back({(page << fine_) + static_cast<uint32_t>(i), counts[i]});
    }
  }
  for (uint32_t page = 0; page < kNegative; ++page) {
    const auto& counts = pages_[page];
    const size_t end = std::min(used(page, counts.size()), counts.size());
    for (size_t i = 0; i < end; ++i) {
      if (counts[i] != 0) out.push_back({(page << fine_) + static_cast<uint32_t>(i), counts[i]});
    }
  }
  return out;
}

std::vector<Histogram::Bucket> Histogram::by_id() const {
  std::vector<Bucket> out;
  for (uint32_t page = 0; page < kPages; ++page) {
    const auto& counts = pages_[page];
    for (size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] != 0) out.push_back({(page << fine_) + static_cast<uint32_t>(i), counts[i]});
    }
  }
  return out;
}

Statistic::Statistic(int fine) : histogram(fine) {}
Statistic::Statistic(const Statistic&) = default;
Statistic::Statistic(Statistic&&) noexcept = default;
Statistic& Statistic::operator=(const Statistic&) = default;
Statistic& Statistic::operator=(Statistic&&) noexcept = default;
Statistic::~Statistic() = default;
bool Statistic::operator==(const Statistic&) const = default;

void Statistic::merge(const Statistic& other) {
  if (other.histogram.fine() != histogram.fine() || other.count == 0) {
    histogram.merge(other.histogram);
    samples += other.samples;
    return;
  }
  if (count == 0) {
    const uint64_t before = samples;
    *this = other;
    samples += before;
    return;
  }
  check_length(channel_absmax.size(), other.channel_absmax.size(), "channel_absmax");
  check_length(channel_meanabs.size(), other.channel_meanabs.size(), "channel_meanabs");
  check_length(element_absmax.size(), other.element_absmax.size(), "element_absmax");
  histogram.merge(other.histogram);
  if (other.finite() > 0) {
    min = finite() > 0 ? std::min(min, other.min) : other.min;
    max = finite() > 0 ? std::max(max, other.max) : other.max;
  }
  count += other.count;
  zeros += other.zeros;
  nans += other.nans;
  infs += other.infs;
  bits_or |= other.bits_or;
  samples += other.samples;
  merge_maxima(channel_absmax, other.channel_absmax);
  merge_maxima(channel_meanabs, other.channel_meanabs);
  merge_maxima(element_absmax, other.element_absmax);
}

Statistic statistic_of(std::span<const float> values, int fine) {
  Statistic out(fine);
  for (const float x : values) {
    const auto bits = std::bit_cast<uint32_t>(x);
    out.histogram.add(bits >> (23 - fine), 1);
    out.bits_or |= bits;
    out.zeros += x == 0 ? 1 : 0;
    out.nans += std::isnan(x) ? 1 : 0;
    out.infs += std::isinf(x) ? 1 : 0;
    if (std::isfinite(x)) {
      const bool first = out.finite() == 0;
      out.min = (first ? x : std::min(out.min, x)) + 0.0f;
      out.max = (first ? x : std::max(out.max, x)) + 0.0f;
    }
    ++out.count;
  }
  out.samples = values.empty() ? 0 : 1;
  return out;
}

}  // namespace scute
