// The entries of a zip archive as a model's folder, of either layout, with an index or without:
// described and its tensors taken under our names, or an Error; likewise what lies beside them.
#include <cstddef>
#include <cstdint>
#include <optional>

#include "scute/language/low_bit_check.h"
#include "scute/language/model_folder.h"
#include "scute/language/quantize_options.h"
#include "scute/language/tokenizer_files.h"
#include "tests/fuzz/bounds.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/refusal.h"

namespace scute::fuzz_model_folder {

using scute::fuzz::may_be_refused;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const scute::fuzz::MemoryBound bound(size);
  const scute::fuzz::MemoryFolder folder({data, size});
  std::optional<scute::ModelDescription> model;
  may_be_refused([&] { model = scute::describe_model(folder.path()); });
  if (!model) return 0;
  // What was accepted must hold, so an Error here ends the program.
  model->config.check("fuzz");
  may_be_refused([&] { scute::refuse_foreign_method(*model); });
  may_be_refused([&] {
    const scute::Weights weights = scute::read_weights(*model);
    scute::refuse_foreign_tensors(*model, weights);
    scute::check_low_bit(weights, *model);
  });
  may_be_refused([&] { scute::hash_model(*model); });
  may_be_refused([&] { scute::load_tokenizer(*model); });
  may_be_refused([&] { scute::end_tokens(*model); });
  may_be_refused([&] { scute::read_hybrid(folder / "layers.json", model->config); });
  return 0;
}

}  // namespace scute::fuzz_model_folder
