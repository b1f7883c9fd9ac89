#include "scute/observe/sample_counter.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
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
// Values of a piece: 16 kB of the first-level cache, beside about as much of the table.
constexpr int64_t kPiece = 4096;
// Rows of a block at least: as many as column_absmax() takes at once.
constexpr int64_t kRows = 8;
constexpr uint32_t kInfAndNanPage = 255;
constexpr uint32_t kSignPage = 256;

/// The rows as one when nothing lies between them.
MatView<const float> flattened(MatView<const float> x) {
  return x.stride == x.cols || x.rows == 1 ? MatView<const float>(x.data, 1, x.size()) : x;
}

/// What lies so many values behind one of x, null beyond its end or when `value` is of a copy.
const float* behind(MatView<const float> x, const float* value, int64_t far) {
  const std::less<const float*> before;
  const float* end = x.row(x.rows - 1) + x.cols;
  if (before(value, x.data) || !before(value, end)) return nullptr;
  return end - value > far ? value + far : nullptr;
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

SampleCounter::SampleCounter(int fine) : fine_(fine), piece_(kPiece) {
  const Histogram check(fine);
  if (fine <= kFinestTable) table_.resize(static_cast<size_t>(bucket_table_size(fine)));
}

void SampleCounter::see(std::string_view site, Vectors vectors, MatView<const float> values,
                        Statistic& into) {
  if (values.size() == 0) return;
  if (vectors.absmax) require_length(into.channel_absmax, values.cols, site);
  if (vectors.meanabs) require_length(into.channel_meanabs, values.cols, site);
  if (vectors.elements) require_length(into.element_absmax, values.size(), site);
  add(vectors, values, into);
  into.samples += 1;
}

void SampleCounter::count(MatView<const float> values, Statistic& into) { add({}, values, into); }

void SampleCounter::add(Vectors vectors, MatView<const float> values, Statistic& into) {
  if (into.histogram.fine() != fine_) {
    fail("statistic", fmt::format("fine {}", fine_), std::to_string(into.histogram.fine()));
  }
  if (values.size() == 0) return;
  // Not in pieces: the maxima, as many as values, come in one stream from memory.
  for (int64_t r = 0; vectors.elements && r < values.rows; ++r) {
    column_absmax(values.row(r), 1, values.cols, values.cols,
                  into.element_absmax.data() + r * values.cols);
  }
  if (vectors.meanabs) sums_.assign(static_cast<size_t>(values.cols), 0.0);
  const bool small = values.size() < kSmall || table_.empty();
  const ValueScan scan =
      small ? count_straight(vectors, values, into) : count_by_table(vectors, values, into);
  add_scan(scan, static_cast<uint64_t>(values.size()), into);
  if (!vectors.meanabs) return;
  for (size_t c = 0; c < sums_.size(); ++c) {
    const auto mean = static_cast<float>(sums_[c] / static_cast<double>(values.rows));
    // A NaN mean leaves the maximum as it was.
    into.channel_meanabs[c] = std::max(into.channel_meanabs[c], mean);
  }
}

/// Looks at every piece for all that is asked of it, so that all looks but the first find it in a
/// cache near: a tensor of 512 × 3072 values would have left the second-level one.
ValueScan SampleCounter::count_by_table(Vectors vectors, MatView<const float> x, Statistic& into) {
  // A table entry holds up to 2^32 − 1, so the table is emptied before that many values.
  constexpr int64_t kMost = std::numeric_limits<uint32_t>::max() - kPiece;
  const bool channels = vectors.absmax || vectors.meanabs;
  const MatView<const float> all = channels ? x : flattened(x);
  const int64_t step = std::max(kRows, kPiece / all.cols / kRows * kRows);
  ValueScan scan;
  int64_t counted = 0;
  for (int64_t first = 0; first < all.rows; first += step) {
    const auto block = all.slice_rows(first, std::min(step, all.rows - first));
    record_channels(vectors, block, into);
    const MatView<const float> rows = side_by_side(block);
    for (int64_t r = 0, n = 0; r < rows.rows; ++r) {
      for (int64_t c = 0; c < rows.cols; c += n) {
        n = std::min(rows.cols - c, kPiece);
        const float* values = rows.row(r) + c;
        const float* next = channels            ? behind(all, values, step * all.stride)
                            : c + n < rows.cols ? values + n
                                                : behind(all, values, rows.stride - c);
        scan.merge(scan_and_count(values, n, fine_, table_.data(), next));
        counted += n;
        if (counted >= kMost) {
          flush(scan, into.histogram);
          counted = 0;
        }
      }
    }
  }
  flush(scan, into.histogram);
  return scan;
}

ValueScan SampleCounter::count_straight(Vectors vectors, MatView<const float> x, Statistic& into) {
  const int shift = 23 - fine_;
  ValueScan scan;
  record_channels(vectors, x, into);
  for (int64_t r = 0; r < x.rows; ++r) {
    scan.merge(scan_values(x.row(r), x.cols));
    for (int64_t c = 0; c < x.cols; ++c) {
      into.histogram.add(std::bit_cast<uint32_t>(x.row(r)[c]) >> shift, 1);
    }
  }
  return scan;
}

/// Rows as one when nothing lies between them; narrow ones, of which each would cost a call, as a
/// copy.
MatView<const float> SampleCounter::side_by_side(MatView<const float> rows) {
  if (rows.stride == rows.cols || rows.rows == 1) return flattened(rows);
  if (rows.size() > kPiece) return rows;
  for (int64_t r = 0; r < rows.rows; ++r) {
    std::copy_n(rows.row(r), rows.cols, piece_.data() + r * rows.cols);
  }
  return {piece_.data(), 1, rows.size()};
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

void SampleCounter::record_channels(Vectors vectors, MatView<const float> x, Statistic& into) {
  if (vectors.absmax) column_absmax(x.data, x.rows, x.cols, x.stride, into.channel_absmax.data());
  if (vectors.meanabs) column_abssum(x.data, x.rows, x.cols, x.stride, sums_.data());
}

}  // namespace scute
