// Why a quantized regressor differs from the float one: layer by layer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "scute/regressor/predict.h"

namespace scute {

/// One factor of a product before and after rounding.
struct RoundingQuality {
  int bits = 0;
  double scale_least = 0, scale_most = 0;  ///< over channels or outputs
  double saturated = 0;  ///< share of |x / scale| > 2^(bits−1) − 1 (asymmetric: out of range)
  double sqnr = 0;       ///< 10·log10(Σ x² / Σ (x − rounded)²), dB; infinite: exact
};

/// How far the quantized network's values at a site are from the float one's.
struct SiteDivergence {
  std::string site;
  double relative = 0;  ///< √(Σ (q − f)² / Σ f²)
  double largest = 0;   ///< max |q − f|
};

/// What rounding costs in one layer.
struct LayerDiagnosis {
  std::string layer;
  RoundingQuality input;  ///< of what the float network has there
  RoundingQuality weight;
};

/// What rounding costs, layer by layer and site by site.
struct RegressorDiagnosis {
  std::vector<LayerDiagnosis> layers;      ///< the rounded ones, in the order tensors reach them
  std::vector<SiteDivergence> divergence;  ///< all sites that both networks show, in that order
  /// The first site that is off by more than `tolerance`, if any.
  std::optional<std::string> first_divergent;
  double tolerance = 0.01;
};

/// How the layers are rounded, from either kind of quantized network.
RegressorRounding rounding_of(const RegressorFormats& formats);

/// Both networks see the same windows, all of the folder's. `tolerance`: of the relative error.
RegressorDiagnosis diagnose(const RegressorCheckpoint& checkpoint, const AnyRegressor& quantized,
                            const RegressorRounding& rounding, const FeatureFolder& folder,
                            double tolerance = 0.01);

/// What it costs to round one layer alone, all else in floats.
struct LayerSensitivity {
  std::string layer;
  int bits = 0;
  PositionErrors errors;
  PositionComparison against_float;
};
/// Every product of the network at 8 and at 16 bits, by integer arithmetic.
std::vector<LayerSensitivity> measure_sensitivity(const RegressorCheckpoint& checkpoint,
                                                  const RegressorStatistics& statistics,
                                                  const RegressorRangeOptions& options,
                                                  const FeatureFolder& folder,
                                                  const Threads& threads,
                                                  const WindowProgress& progress = {});

}  // namespace scute
