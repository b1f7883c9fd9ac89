// What was seen at one site: exact counts of bit patterns, extremes; mergeable by addition.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace scute {

/// Counts float values in buckets cut from their own bits: sign, 8 exponent bits and the top `fine`
/// bits of the mantissa. Ranks are exact; a value read back is within a factor 1 ± 2^−(fine+1) of
/// the true one (below 2^−126 within 2^−(127+fine)), and equal to it when all values fit the
/// bucket's bits (bf16 data and fine ≥ 7, fp16 and fine ≥ 10). Counts are 64 bit; a page of 2^fine
/// counters is allocated when its sign and exponent is first seen. Merging adds counts, so any
/// order and grouping gives the same histogram.
class Histogram {
 public:
  /// fine in [1, 16]; Error otherwise.
  explicit Histogram(int fine = 8);

  int fine() const { return fine_; }
  /// Adds `count` values of the bucket with this id (the float's top 9 + fine bits). Error, and
  /// nothing added, when the id is out of range or the total would reach 2^63.
  void add(uint32_t id, uint64_t count);
  /// Adds a whole page: counts[i] values of bucket page·2^fine + i, for i below 2^fine. `page` is
  /// the float's top 9 bits.
  void add_page(uint32_t page, const uint32_t* counts);
  /// Error, and nothing added, when fine differs or the total would reach 2^63.
  void merge(const Histogram& other);
  uint64_t count(uint32_t id) const;
  uint64_t total() const { return total_; }
  /// Bytes allocated.
  int64_t bytes() const;

  /// One bucket that is not empty: its id and how many values.
  struct Bucket {
    uint32_t id;
    uint64_t count;
  };
  /// In ascending order of value (−Inf first, −0 and +0 adjacent, NaN left out).
  std::vector<Bucket> ascending() const;
  /// All of them, in ascending order of id.
  std::vector<Bucket> by_id() const;

  bool operator==(const Histogram&) const = default;

 private:
  std::vector<uint64_t>& page_at(uint32_t page);
  void check_room(uint64_t more) const;

  int fine_;
  uint64_t total_ = 0;
  std::vector<std::vector<uint64_t>> pages_;  ///< by sign and exponent; empty until touched
};

/// The statistic of one site.
struct Statistic {
  Histogram histogram;
  uint64_t count = 0;  ///< all values, NaN and Inf included
  uint64_t zeros = 0, nans = 0, infs = 0;
  float min = 0, max = 0;  ///< of the finite values; 0 when there are none
  uint32_t bits_or = 0;    ///< low bits all zero: values sit on bucket edges, read back exactly
  uint64_t samples = 0;    ///< how many tensors were seen

  std::vector<float> channel_absmax;   ///< max |x| per last-dimension channel; may be empty
  std::vector<float> channel_meanabs;  ///< max over samples of a channel's mean |x|; may be empty
  std::vector<float> element_absmax;   ///< max |x| per element of the state; may be empty

  explicit Statistic(int fine = 8);
  Statistic(const Statistic&);
  Statistic(Statistic&&) noexcept;
  Statistic& operator=(const Statistic&);
  Statistic& operator=(Statistic&&) noexcept;
  ~Statistic();
  uint64_t finite() const { return count - nans - infs; }
  /// Whether every value is the lower edge of its bucket, so that reading back is exact.
  bool exact() const { return (bits_or & ((uint32_t{1} << (23 - histogram.fine())) - 1)) == 0; }
  /// Error, and nothing merged, when fine or the vectors' lengths differ.
  void merge(const Statistic& other);
  bool operator==(const Statistic&) const;
};

/// The statistic of values in memory, as one sample: plain loops, no vectors per channel. Recorder
/// gives the same, faster.
Statistic statistic_of(std::span<const float> values, int fine = 8);

}  // namespace scute
