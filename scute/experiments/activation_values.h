// Saved activations: what clipping at any percentile would do to them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace scute {

/// Clipping one array to [−threshold, threshold].
struct AlphaCut {
  double alpha;      ///< share kept, (0, 1]
  double threshold;  ///< inverted-cdf quantile of |x|: the smallest with that share at or below
  double clipped;    ///< measured share of values outside
  double range_reduction;  ///< 1 − range after / range before, of the signed minima and maxima
};

struct ActivationValues {
  std::string site;
  int64_t count = 0;  ///< finite values; minimum, maximum and cuts are those of them
  int64_t nans = 0, infinities = 0;
  double min = 0, max = 0;     ///< 0 without a finite value
  std::vector<AlphaCut> cuts;  ///< as the alphas asked for; empty without a finite value
};

/// Every array of an .npz of activations (f8, f4, f2 or whole numbers), in its order; exact, by
/// sorting. Error on a file that is none, or an alpha outside (0, 1].
std::vector<ActivationValues> read_activation_values(const std::string& path,
                                                     const std::vector<double>& alphas);

/// 0.9995 of "activations_MODEL_pa0.9995_20260101_120000.npz"; empty when the name says none.
std::optional<double> alpha_of_file(const std::string& path);

}  // namespace scute
