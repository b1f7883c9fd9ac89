// Adds tensors to statistics, fast: what Recorder does at each site, for whoever has no sites.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "scute/kernels/histogram.h"
#include "scute/observe/statistic.h"
#include "scute/tensor/mat_view.h"

namespace scute {

/// What a statistic keeps beside its counts.
struct Vectors {
  bool absmax = false;    ///< channel_absmax
  bool meanabs = false;   ///< channel_meanabs
  bool elements = false;  ///< element_absmax
};
/// What the name of a site of a model asks for: max |x| per element of the state at `ssm_state_act`
/// sites, max |x| per channel around convolutions, and at `….x_conv_out:input` also the largest
/// over the samples of each channel's mean |x|.
Vectors vectors_of(std::string_view site);

/// One per thread; its scratch (512 kB for fine = 8) serves any number of statistics of one `fine`.
class SampleCounter {
 public:
  /// Error when fine is not in [1, 16].
  explicit SampleCounter(int fine);

  /// Adds one sample: counts, extremes and `vectors`. Nothing without values. Error naming the
  /// site, before anything is counted, when its number of channels or of state elements changes.
  void see(std::string_view site, Vectors vectors, MatView<const float> values, Statistic& into);
  /// Adds counts and extremes of a part of a sample; the caller adds to `into.samples`. Error when
  /// the statistic has another `fine`.
  void count(MatView<const float> values, Statistic& into);

 private:
  void add(Vectors vectors, MatView<const float> values, Statistic& into);
  ValueScan count_by_table(Vectors vectors, MatView<const float> values, Statistic& into);
  ValueScan count_straight(Vectors vectors, MatView<const float> values, Statistic& into);
  MatView<const float> side_by_side(MatView<const float> rows);
  void flush(const ValueScan& scan, Histogram& histogram);
  void record_channels(Vectors vectors, MatView<const float> rows, Statistic& into);

  int fine_;
  std::vector<uint32_t> table_;  ///< all zero between calls
  std::vector<float> piece_;     ///< scratch
  std::vector<double> sums_;     ///< scratch: Σ |x| by channel, of one sample
};

}  // namespace scute
