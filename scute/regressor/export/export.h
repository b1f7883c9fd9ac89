// A regressor for hardware: memory images, tables, test vectors and a C header, from the very codes
// that the integer regressor computes with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/base/json.h"
#include "scute/regressor/checkpoint.h"

namespace scute {

/// What the manifest says of where things come from.
struct RegressorExportNotes {
  std::string command;
  std::string mode;     ///< "q8.8" or "per-layer"
  std::string windows;  ///< where the test vectors' frames are from
};

/// One file of the folder.
struct ExportedFile {
  std::string name;  ///< below the folder
  std::string text;
  Json about;  ///< its members stand in the manifest, beside name and hash
};

struct RegressorExport {
  std::vector<ExportedFile> files;  ///< the manifest last
  int64_t windows = 0, sites = 0;   ///< of the test vectors
};

/// Everything that is written, the same bytes everywhere. windows: (B, K, Din) floats. Error when
/// integers and shifts cannot compute the model in these formats (as_shifts), or there is no
/// window.
RegressorExport make_regressor_export(const RegressorCheckpoint& checkpoint,
                                      const RegressorFormats& formats, const Tensor& windows,
                                      const RegressorExportNotes& notes);

/// Writes the folder, all of it or nothing, where nothing is or a former export that nobody
/// changed; `replace`: or one that was edited. Nothing else is replaced.
void write_regressor_export(const RegressorExport& files, const std::string& path,
                            const std::string& checkpoint, bool replace);

}  // namespace scute
