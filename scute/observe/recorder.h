// The tap that keeps exact statistics of the sites it is asked for.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scute/kernels/histogram.h"
#include "scute/observe/statistic.h"
#include "scute/tensor/tap.h"

namespace scute {

struct RecorderOptions {
  int fine = 8;              ///< mantissa bits kept, 1 … 16
  bool per_channel = false;  ///< also max |x| per channel, at every site
};

/// One per thread; merge them at the end, in any order: the statistics are the same bytes. Besides
/// the counts it keeps max |x| per element of the state at `ssm_state_act` sites, and at
/// `….x_conv_out:input` the largest over the samples of each channel's mean |x|.
class Recorder : public Tap {
 public:
  /// Wants these sites and no other, by name. Error when fine is out of range or a name comes
  /// twice.
  explicit Recorder(const std::vector<Site>& sites, const RecorderOptions& options = {});

  bool wants(const Site& site) const override;
  /// Error naming the site when it is not wanted, or its number of channels (or of state elements)
  /// changes.
  void see(const Site& site, MatView<const float> values) override;

  /// Error, naming the site, when fine or the recorded vectors differ.
  void merge(const Recorder& other);
  /// What another one took of these sites.
  void merge(std::map<std::string, Statistic> taken);
  /// Of the sites that saw a value.
  const std::map<std::string, Statistic>& statistics() const { return statistics_; }
  /// The same, and begins anew.
  std::map<std::string, Statistic> take() { return std::exchange(statistics_, {}); }
  /// The sites asked for that saw no value, in the order asked for.
  std::vector<std::string> silent_sites() const;

 private:
  enum class Role { plain, conv_out, channels, state };
  static Role role_of(std::string_view site);

  ValueScan count_by_table(MatView<const float> values, Histogram& histogram);
  ValueScan count_straight(MatView<const float> values, Histogram& histogram);
  void flush(const ValueScan& scan, Histogram& histogram);
  void record_channels(Role role, const std::string& name, MatView<const float> values,
                       Statistic& statistic);

  RecorderOptions options_;
  std::vector<std::string> names_;
  std::map<std::string, Role, std::less<>> roles_;
  std::map<std::string, Statistic> statistics_;
  std::vector<uint32_t> table_;  ///< scratch shared by all sites, all zero between calls
  std::vector<double> sums_;     ///< scratch
};

}  // namespace scute
