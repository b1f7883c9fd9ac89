// Any bytes as a config.json: refused with an Error, or a model that makes sense and whose scheme
// survives being written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "scute/base/error.h"
#include "scute/language/low_bit_config.h"
#include "scute/language/model_folder.h"
#include "tests/fuzz/bounds.h"

namespace scute::fuzz_model_config {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const scute::fuzz::MemoryBound bound(size);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::optional<scute::ModelDescription> model;
  std::vector<scute::LayerFormats> formats;
  try {
    model = scute::describe_config(scute::Json::parse(text, "fuzz"), "fuzz");
    if (model->low_bit) formats = scute::layers_from_json(model->json.at("scute", ""), "fuzz");
  } catch (const scute::Error&) {
    return 0;
  }
  // What was accepted must hold, so an Error from here on ends the program.
  model->config.check("fuzz");
  if (!model->low_bit) return 0;
  if (static_cast<int64_t>(formats.size()) != model->config.layers) std::abort();
  const scute::Json written = scute::scheme_to_json(model->scheme, formats, "channel");
  if (scute::scheme_from_json(written, "fuzz") != model->scheme) std::abort();
  if (scute::layers_from_json(written, "fuzz") != formats) std::abort();
  return 0;
}

}  // namespace scute::fuzz_model_config
