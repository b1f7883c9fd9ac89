#include "scute/observe/sample_counter.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "scute/base/error.h"

namespace scute {
namespace {

// Below this many values, walking the pages of the table costs more than counting straight into the
// histogram (about 10 µs against 2 ns per value).
constexpr int64_t kSmall = 4096;
// A table beyond 2^(9+12)·4 = 8 MB misses every cache; then counting straight is as fast.
constexpr int kFinestTable = 12;
constexpr uint32_t kInfAndNanPage = 255;
constexpr uint32_t kSignPage = 256;

/// The rows as one when nothing lies between them.
MatView<const float> flattened(MatView<const float> x) {
  return x.stride == x.cols || x.rows == 1 ? MatView<const float>(x.data, 1, x.size()) : x;
}

uint32_t exponent_of(float magnitude) { return std::bit_cast<uint32_t>(magnitude) >> 23 & 255; }

void add_scan(const ValueScan& scan, uint64_t count, Statistic& into) {
  const auto nans = static_cast<uint64_t>(scan.nans), infs = static_cast<uint64_t>(scan.infs);
  if (count > nans + infs) {
    const bool first = into.finite() == 0;
    // Adding +0 turns −0 into +0, so that the order of the values leaves no trace.
    into.min = (first ? scan.min : std::min(into.min, scan.min)) + 0.0f;
    into.max = (first ? scan.max : std::max(into.max, scan.max)) + 0.0f;
  }
  into.count += count;
  into.zeros += static_cast<uint64_t>(scan.zeros);
  into.nans += nans;
  into.infs += infs;
  into.bits_or |= scan.bits_or;
}

void require_length(std::vector<float>& values, int64_t length, std::string_view site) {
  const auto wanted = static_cast<size_t>(length);
  if (values.empty()) values.resize(wanted);
  if (values.size() != wanted) {
    fail(site, fmt::format("{} channels or state elements, as before", values.size()),
         std::to_string(wanted));
  }
}

}  // namespace

Vectors vectors_of(std::string_view site) {
  if (site.ends_with(".x_conv_out:input")) return {.absmax = true, .meanabs = true};
  // A convolution treats each channel alone, and B and C belong to groups: scales per channel cost
  // nothing there.
  for (const char* name : {".conv1d:input", ".x_conv_in:input", ".B_conv_in:input",
                           ".C_conv_in:input", ".B_conv_out:input", ".C_conv_out:input"}) {
    if (site.ends_with(name)) return {.absmax = true};
  }
  const size_t colon = site.rfind(':');
  return {.elements = site.substr(0, colon).ends_with("ssm_state_act")};
}

SampleCounter::SampleCounter(int fine) : fine_(fine) {
  const Histogram check(fine);
  if (fine <= kFinestTable) table_.resize(static_cast<size_t>(bucket_table_size(fine)));
}

void SampleCounter::see(std::string_view site, Vectors vectors, MatView<const float> values,
                        Statistic& into) {
  if (values.size() == 0) return;
  record_vectors(site, vectors, values, into);
  count(values, into);
  into.samples += 1;
}

void SampleCounter::count(MatView<const float> values, Statistic& into) {
  if (into.histogram.fine() != fine_) {
    fail("statistic", fmt::format("fine {}", fine_), std::to_string(into.histogram.fine()));
  }
  if (values.size() == 0) return;
  const MatView<const float> rows = flattened(values);
  const bool small = values.size() < kSmall || table_.empty();
  const ValueScan scan =
      small ? count_straight(rows, into.histogram) : count_by_table(rows, into.histogram);
  add_scan(scan, static_cast<uint64_t>(values.size()), into);
}

/// Scans and counts piece by piece, so that the second look finds the piece in the first-level
/// cache: a tensor of 512 × 3072 values would have left the second-level one.
ValueScan SampleCounter::count_by_table(MatView<const float> x, Histogram& histogram) {
  constexpr int64_t kPiece = 4096;  // 16 kB of values beside about as much of the table
  // A table entry holds up to 2^32 − 1, so the table is emptied before that many values.
  constexpr int64_t kMost = std::numeric_limits<uint32_t>::max() - kPiece;
  ValueScan scan;
  int64_t counted = 0;
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; c += kPiece) {
      const int64_t n = std::min(x.cols - c, kPiece);
      scan.merge(scan_and_count(x.row(r) + c, n, fine_, table_.data()));
      counted += n;
      if (counted >= kMost) {
        flush(scan, histogram);
        counted = 0;
      }
    }
  }
  flush(scan, histogram);
  return scan;
}

ValueScan SampleCounter::count_straight(MatView<const float> x, Histogram& histogram) {
  const int shift = 23 - fine_;
  ValueScan scan;
  for (int64_t r = 0; r < x.rows; ++r) {
    scan.merge(scan_values(x.row(r), x.cols));
    for (int64_t c = 0; c < x.cols; ++c) {
      histogram.add(std::bit_cast<uint32_t>(x.row(r)[c]) >> shift, 1);
    }
  }
  return scan;
}

/// Moves the table into the histogram, looking only at the exponents that occurred.
void SampleCounter::flush(const ValueScan& scan, Histogram& histogram) {
  const size_t size = size_t{1} << fine_;
  const auto move_page = [&](uint32_t page) {
    for (const uint32_t signed_page : {page, page + kSignPage}) {
      uint32_t* counts = table_.data() + signed_page * size;
      histogram.add_page(signed_page, counts);
      std::fill_n(counts, size, 0);
    }
  };
  if (std::isfinite(scan.smallest_nonzero)) {
    const uint32_t last = exponent_of(std::max(std::abs(scan.min), std::abs(scan.max)));
    for (uint32_t page = std::max(exponent_of(scan.smallest_nonzero), 1u); page <= last; ++page) {
      move_page(page);
    }
  }
  move_page(0);
  if (scan.nans + scan.infs > 0) move_page(kInfAndNanPage);
}

void SampleCounter::record_vectors(std::string_view site, Vectors vectors, MatView<const float> x,
                                   Statistic& statistic) {
  if (vectors.absmax) require_length(statistic.channel_absmax, x.cols, site);
  if (vectors.meanabs) require_length(statistic.channel_meanabs, x.cols, site);
  if (vectors.elements) require_length(statistic.element_absmax, x.size(), site);
  if (vectors.absmax) {
    column_absmax(x.data, x.rows, x.cols, x.stride, statistic.channel_absmax.data());
  }
  if (vectors.elements) {
    for (int64_t r = 0; r < x.rows; ++r) {
      column_absmax(x.row(r), 1, x.cols, x.cols, statistic.element_absmax.data() + r * x.cols);
    }
  }
  if (vectors.meanabs) {
    sums_.assign(static_cast<size_t>(x.cols), 0.0);
    column_abssum(x.data, x.rows, x.cols, x.stride, sums_.data());
    for (size_t c = 0; c < sums_.size(); ++c) {
      const auto mean = static_cast<float>(sums_[c] / static_cast<double>(x.rows));
      // A NaN mean leaves the maximum as it was.
      statistic.channel_meanabs[c] = std::max(statistic.channel_meanabs[c], mean);
    }
  }
}

}  // namespace scute
