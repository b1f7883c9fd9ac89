// The tap that keeps exact statistics of the sites it is asked for.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "scute/observe/sample_counter.h"
#include "scute/observe/statistic.h"
#include "scute/tensor/tap.h"

namespace scute {

/// What a recorder keeps of a value.
struct RecorderOptions {
  int fine = 8;              ///< mantissa bits kept, 1 … 16
  bool per_channel = false;  ///< also max |x| per channel, at every site
};

/// One per thread; merge them at the end, in any order: the statistics are the same bytes. Besides
/// the counts it keeps the vectors that a site's name asks for (vectors_of).
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
  int fine_;
  SampleCounter counter_;
  std::vector<std::string> names_;
  std::map<std::string, Vectors, std::less<>> vectors_;
  std::map<std::string, Statistic> statistics_;
};

}  // namespace scute
