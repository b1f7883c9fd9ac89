// Collect for Cobra: pictures and texts through the model once, exact statistics of its buckets and
// of the sites inside them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/cobra/folder.h"
#include "scute/cobra/percentile_config.h"
#include "scute/cobra/picture_texts.h"
#include "scute/observe/statistics_file.h"
#include "scute/recipe/measure.h"
#include "scute/recipe/part.h"

namespace scute {

/// Every option that influences the result; all are recorded in the file.
struct CobraCollectOptions {
  std::string images;  ///< folder
  std::vector<std::string> targets = bucket_names();
  /// Glob: sites besides those of the targets. A target's sites are its bucket and those inside it;
  /// the language model's blocks run only if this names one of theirs.
  std::string sites;
  int64_t batches = 8, batch_size = 4;  ///< at most batches × batch_size pictures
  int64_t max_samples_per_batch = 0;    ///< values of a site; 0: every value is counted
  TextOptions text;
  Compute compute = Compute::f32;
  int fine = 8;
  bool per_channel = false;
  int64_t state_every = 64;
};

/// The statistics, and what the pictures and texts were.
struct CobraCollectResult : Collected {
  int64_t listed = 0;                ///< pictures in the folder
  int64_t pictures = 0;              ///< of the collection, as far as it went
  int64_t measured = 0;              ///< of them, here and now
  int64_t unused = 0;                ///< beyond batches × batch size
  std::vector<std::string> corrupt;  ///< could not be decoded: path and reason
  int64_t text_tokens = 0;           ///< of these pictures
  BadLines bad_lines = {};           ///< of the prompts' file
};

/// The sites that these options ask for. Error naming the nearest when there is none.
std::vector<Site> cobra_collection_sites(const CobraDescription& model,
                                         const CobraCollectOptions& options);

/// The result does not depend on threads or, without max_samples_per_batch, on how pictures are
/// split into batches. Error when no picture can be read. `part`: what is asked of a collection in
/// parts: every picture is decoded, so that all parts know which ones count, and the part's are
/// measured.
CobraCollectResult collect_cobra(const CobraDescription& model, const CobraCollectOptions& options,
                                 const PassControl& control, const PartRequest& part = {});

}  // namespace scute
